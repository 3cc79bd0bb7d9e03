//! A look at the first rows of a file, so that a wrong field name is an error at once and not a run whose every row is
//! quarantined.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Plan, PlannedDataset, Unit};
use crate::read::{self, ReadError, ReadOptions, Row};
use crate::render::{Render, RenderFault};
use crate::source::Location;
use crate::written::{Problem, Problems};

/// The first rows of a file, those that can be read: `most` at most, from blocks so small that a large file costs no more
/// than a small one.
pub fn first_rows(place: &Path, options: &ReadOptions, most: usize) -> Result<Vec<Row>, ReadError> {
    let mut options = options.clone();
    options.block_bytes = BLOCK_BYTES;
    let mut source = read::open(place, &options)?;
    let mut rows = Vec::new();
    while rows.len() < most
        && let Some(block) = source.next_block()?
    {
        block.decode(&mut |_, row| rows.extend(row.ok()))?;
    }
    rows.truncate(most);
    Ok(rows)
}

/// Rows that are enough to tell a wrong name from rows that lack a field now and then.
const ROWS: usize = 20;
/// Bytes of a block: small, since the first few rows are all that is wanted.
const BLOCK_BYTES: usize = 64 << 10;

/// Looks at a dataset whose files are on this machine; others are looked at when they have come.
pub(super) fn at_local(dataset: &PlannedDataset) -> Option<Problem> {
    let unit = dataset.units.iter().find(|unit| !unit.is_group())?;
    match &unit.files.first()?.location {
        Location::Local { path, .. } => look(dataset, unit, path),
        _ => None,
    }
}

impl Plan {
    /// Looks at the first rows of one file of every dataset. `places` are where the files are: by dataset, unit, file.
    ///
    /// # Errors
    /// What is wrong with each dataset whose rows lack a field that its render needs, and the fields that they have.
    pub fn look(&self, places: &[Vec<Vec<PathBuf>>]) -> Result<(), Problems> {
        let looked = self
            .datasets
            .iter()
            .zip(places)
            .filter_map(|(dataset, places)| {
                let mut units = dataset.units.iter().zip(places);
                let (unit, places) = units.find(|(unit, _)| !unit.is_group())?;
                look(dataset, unit, places.first()?)
            });
        let problems: Vec<Problem> = looked.collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
        }
    }
}

/// Reads the first rows of the file at `place`, which is the first of `unit`, and says what is wrong if none of them has a
/// field that the render needs. A file that cannot be read is none of its business: the run says so, and goes on.
fn look(dataset: &PlannedDataset, unit: &Unit, place: &Path) -> Option<Problem> {
    let file = unit.files.first()?;
    let render = Render::new(&dataset.render).ok()?;
    let mut options = dataset.read.clone();
    options.format = Some(unit.format);
    options.compression = Some(unit.compression);
    options.fields = None;
    let rows = first_rows(place, &options, ROWS).ok()?;
    let count = rows.len();
    let fields: BTreeSet<String> = rows.iter().flat_map(|row| row.keys().cloned()).collect();
    let empty: BTreeSet<String> = rows
        .iter()
        .flatten()
        .filter(|(_, value)| value.is_null())
        .map(|(name, _)| name.clone())
        .collect();
    let faults: BTreeSet<String> = rows
        .into_iter()
        .map(|row| {
            let mut documents = render.render_all(row).into_iter();
            match documents.next() {
                // A field that is there and has no value yet may have one later.
                Some(Err(RenderFault::MissingField { field }))
                    if field
                        .split('.')
                        .next()
                        .is_some_and(|top| empty.contains(top)) =>
                {
                    String::new()
                }
                Some(Err(
                    fault @ (RenderFault::MissingField { .. } | RenderFault::WrongType { .. }),
                )) if documents.all(|document| document.is_err()) => fault.to_string(),
                _ => String::new(),
            }
        })
        .collect();
    // One fault, in every row: an odd row, or rows that lack now this and now that, are for the run to count.
    let fault = faults
        .first()
        .filter(|fault| faults.len() == 1 && !fault.is_empty())?;
    let text = fs_err::read_to_string(&dataset.file).unwrap_or_default();
    let config = dataset.name.split_once('/').map(|(_, config)| config);
    let keys = config.and_then(|name| of_config(&text, name));
    let keys: Vec<&str> = match &keys {
        Some(number) => vec!["config", number, "render"],
        None => vec!["render"],
    };
    let message = format!(
        "dataset `{}`, {}: {fault} in all of its first {count} rows",
        dataset.name, file.path
    );
    let problem = match Problem::at(&dataset.file, &text, &keys, message.clone()) {
        Problem { place: None, .. } => Problem::at(&dataset.file, &text, &["render"], message),
        found => found,
    };
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    Some(problem.hint(format!(
        "its fields are {}; name one of them in [render]",
        fields.join(", ")
    )))
}

/// The number of the config with this name.
fn of_config(text: &str, name: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let configs = table.get("config")?.as_array()?;
    let number = configs
        .iter()
        .position(|config| config.get("name").and_then(toml::Value::as_str) == Some(name))?;
    Some(number.to_string())
}
