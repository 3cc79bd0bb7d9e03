//! Texts of files that are named on the command line.

use std::path::PathBuf;

use serde_json::Value;

use super::say;
use crate::plan::{self, FilesOptions};
use crate::read;
use crate::recipe::Recipe;
use crate::screen::safe;
use crate::source::Location;

/// Which fields of a row are wanted.
pub(super) struct Fields<'a> {
    /// The id; a row without is called `file#row`.
    pub id: &'a str,
    /// The text; a row without is passed over.
    pub text: &'a str,
    /// A third one.
    pub other: Option<&'a str>,
}

/// A row.
pub(super) struct Text {
    /// Its id, as its file has it.
    pub id: Value,
    /// Its text.
    pub text: String,
    /// Its third field, if it is a string.
    pub other: Option<String>,
}

/// Calls `each` for every row of files and folders that has a text, in the order of their names.
pub(super) fn each(
    inputs: &[PathBuf],
    fields: &Fields<'_>,
    each: &mut dyn FnMut(Text) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let plan = plan::of_files(&FilesOptions {
        inputs: inputs.to_vec(),
        recipe: Recipe::default(),
        recipe_name: "the command line".to_owned(),
        text: fields.text.to_owned(),
        url: None,
        known_again: false,
    })?;
    let mut without = 0u64;
    for dataset in &plan.datasets {
        for unit in &dataset.units {
            for file in &unit.files {
                let Location::Local { path, .. } = &file.location else {
                    continue;
                };
                let mut options = dataset.read.clone();
                options.format = Some(unit.format);
                options.compression = Some(unit.compression);
                let wanted = [fields.id, fields.text].into_iter().chain(fields.other);
                options.fields = Some(wanted.map(str::to_owned).collect());
                let mut source = read::open(path, &options)?;
                while let Some(block) = source.next_block()? {
                    let mut rows = Vec::new();
                    block.decode(&mut |number, row| rows.push((number, row)))?;
                    for (number, row) in rows {
                        let Some((mut row, Value::String(text))) = row.ok().and_then(|mut row| {
                            let text = row.remove(fields.text)?;
                            Some((row, text))
                        }) else {
                            without += 1;
                            continue;
                        };
                        let own = row.remove(fields.id).filter(|id| !id.is_null());
                        let id = own.unwrap_or_else(|| format!("{}#{number}", file.path).into());
                        let other = fields.other.and_then(|other| row.remove(other));
                        let other = other.and_then(|other| other.as_str().map(str::to_owned));
                        each(Text { id, text, other })?;
                    }
                }
            }
        }
    }
    if without > 0 {
        say(safe(&format!(
            "{without} rows were passed over: they have no string in the field `{}`",
            fields.text
        )));
    }
    Ok(())
}
