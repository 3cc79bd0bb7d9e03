//! A look at the first rows of a file, so that a wrong field name is an error at once and not a run whose every row is
//! quarantined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{PlannedDataset, Unit};
use crate::read;
use crate::render::{Render, RenderFault};
use crate::written::Problem;

/// Rows that are enough to tell a wrong name from rows that lack a field now and then.
const ROWS: u64 = 20;
/// Bytes of a block: small, since the first few rows are all that is wanted.
const BLOCK_BYTES: usize = 64 << 10;

/// Reads the first rows of the file at `place`, which is the first of `unit`, and says what is wrong if none of them has a
/// field that the render needs. A file that cannot be read is none of its business: the run says so, and goes on.
pub fn look(dataset: &PlannedDataset, unit: &Unit, place: &Path) -> Option<Problem> {
    let file = unit.files.first()?;
    let render = Render::new(&dataset.render).ok()?;
    let mut options = dataset.read.clone();
    options.format = Some(unit.format);
    options.compression = Some(unit.compression);
    options.fields = None;
    options.block_bytes = BLOCK_BYTES;
    let mut source = read::open(place, &options).ok()?;
    let mut rows = 0;
    let mut fields: BTreeSet<String> = BTreeSet::new();
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    let mut whole = true;
    while rows < ROWS
        && let Ok(Some(block)) = source.next_block()
    {
        let decoded = block.decode(&mut |_, row| {
            let Ok(row) = row else { return };
            rows += 1;
            fields.extend(row.keys().cloned());
            match render.render(row) {
                Err(fault @ (RenderFault::MissingField { .. } | RenderFault::WrongType { .. })) => {
                    *faults.entry(fault.to_string()).or_default() += 1
                }
                _ => whole = false,
            }
        });
        if decoded.is_err() {
            return None;
        }
    }
    if rows == 0 || !whole || faults.len() != 1 {
        return None;
    }
    let (fault, _) = faults.pop_first()?;
    let text = fs_err::read_to_string(&dataset.file).unwrap_or_default();
    let config = dataset.name.split_once('/').map(|(_, config)| config);
    let keys = config.and_then(|name| of_config(&text, name));
    let keys: Vec<&str> = match &keys {
        Some(number) => vec!["config", number, "render"],
        None => vec!["render"],
    };
    let message = format!(
        "dataset `{}`, {}: {fault} in all of its first {rows} rows",
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
