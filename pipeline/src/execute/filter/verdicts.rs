//! What each profile says of each row: a line of JSON a row, gathered file by file and put behind each other.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::report::{FilterFilesError, Report};
use crate::execute::profiles::Said;
use crate::plan::PlannedDataset;

/// Where the verdicts go.
pub(super) struct Verdicts {
    path: PathBuf,
    /// Its name in the folder that is made, if it is to be there.
    pub(super) inside: Option<String>,
}

impl Verdicts {
    pub(super) fn new(path: &Path, out: &Path) -> Result<Self, FilterFilesError> {
        let whole = std::path::absolute(path)?;
        let inside = whole.strip_prefix(std::path::absolute(out)?);
        let inside = inside.ok().and_then(Path::to_str).map(str::to_owned);
        Ok(Self {
            path: whole,
            inside: inside.filter(|inside| !inside.is_empty()),
        })
    }

    /// Puts the verdicts of all files behind each other, in the order of the files, and into their place.
    pub(super) fn gather(
        &self,
        folder: &Path,
        parts: &Path,
        dataset: &PlannedDataset,
        report: &Report,
    ) -> Result<(), FilterFilesError> {
        let aside = parts.join("all");
        let mut all = fs_err::File::create_new(&aside)?;
        for (number, unit) in dataset.units.iter().enumerate() {
            if report.files.contains_key(&unit.files[0].path) {
                let part = parts.join(number.to_string());
                io::copy(&mut fs_err::File::open(&part)?, &mut all)?;
                fs_err::remove_file(&part)?;
            }
        }
        all.sync_all()?;
        drop(all);
        let target = match &self.inside {
            Some(inside) => folder.join(inside),
            None => self.path.clone(),
        };
        if let Some(above) = target.parent() {
            fs_err::create_dir_all(above)?;
        }
        if fs_err::rename(&aside, &target).is_err() {
            // It lies on another disk.
            let mut beside = target.as_os_str().to_owned();
            beside.push(".part");
            fs_err::copy(&aside, &beside)?;
            fs_err::File::open(&beside)?.sync_all()?;
            fs_err::rename(&beside, &target)?;
        }
        if let Some(above) = target.parent() {
            fs_err::File::open(above)?.sync_all()?;
        }
        Ok(())
    }
}

/// A row.
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) row: u64,
}

/// Begins a line of verdicts: the row's own id, or its place.
pub(super) fn write_id(to: &mut Vec<u8>, at: &Place<'_>, id: Option<Value>) {
    let id = id.unwrap_or_else(|| format!("{}#{}", at.file, at.row).into());
    let _ = write!(to, "{{\"id\":{id}");
}

/// `,"c4":{"keep":false,"reason":"c4-few-sentences","values":{"c4-sentences":2},"limit":5}`
pub(super) fn write_verdict(to: &mut Vec<u8>, name: &str, said: &Said) {
    let _ = write!(to, ",{name}:");
    let Err(dropped) = said else {
        to.extend_from_slice(br#"{"keep":true,"values":{}}"#);
        return;
    };
    let _ = write!(
        to,
        r#"{{"keep":false,"reason":"{}","values":{{"#,
        dropped.reason
    );
    match &dropped.measured {
        None => to.push(b'}'),
        Some(measured) => {
            let value = Value::from(measured.value);
            let limit = Value::from(measured.limit);
            let _ = write!(to, "\"{}\":{value}}},\"limit\":{limit}", measured.statistic);
        }
    }
    if let Some(found) = &dropped.found {
        let _ = write!(to, ",\"found\":{}", Value::from(found.as_str()));
    }
    to.push(b'}');
}
