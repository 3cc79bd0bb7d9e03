//! Rows of evaluation sets: JSON lines (also gzip), JSON with a list in it, and CSV without a header. The trainer reads no parquet;
//! `andromeda rows --of NAME` of the pipeline brings a hub's files as JSON lines, at the same paths.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use regex::Regex;
use serde_json::Value;

use super::{Row, Task};
use crate::error::{Error, Result};

/// The largest evaluation sets are some tens of megabytes; anything larger is something else.
const LARGEST_BYTES: u64 = 1 << 30;

/// A file of an evaluation set, and the part of the task that its path names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Name of the part, as a subject of MMLU; empty where a task has none.
    pub part: String,
    /// The file.
    pub path: PathBuf,
}

/// The files under `data` of the first of `patterns` that any file is like, in order of parts and paths; none if there are none. `*`
/// stands for anything in a name, `{part}` for the name of a part.
///
/// # Errors
/// A folder cannot be read.
pub fn find(data: &Path, patterns: &[String]) -> Result<Vec<Found>> {
    for pattern in patterns {
        let mut found = vec![Found {
            part: String::new(),
            path: data.to_owned(),
        }];
        for component in pattern.split('/') {
            found = below(found, component)?;
        }
        found.sort();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// That no file under `data` is like any of `patterns`, where `what` of `task` should be.
pub(super) fn missing(task: &Task, data: &Path, patterns: &[String], what: &str) -> Error {
    let shown = data.display();
    let looked: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("  {shown}/{pattern}"))
        .collect();
    let name = &task.name;
    // A set is had whole, a config of a dataset or not.
    let set = task.benchmark.split('/').next().unwrap_or_default();
    let there = if data.is_dir() {
        ""
    } else {
        ", which is no folder"
    };
    Error::Usage(format!(
        "task {name}: {what} are not in {shown}{there}; looked for\n{}\n\
         hint: `andromeda rows --of {set} --out {shown}` brings them, if the catalogue has {set}; or name another folder with --data",
        looked.join("\n")
    ))
}

fn below(folders: Vec<Found>, component: &str) -> Result<Vec<Found>> {
    if !component.contains(['*', '{']) {
        let joined = folders.into_iter().map(|found| Found {
            path: found.path.join(component),
            ..found
        });
        return Ok(joined.filter(|found| found.path.exists()).collect());
    }
    let pattern = regex::escape(component)
        .replace(r"\*", ".*")
        .replace(r"\{part\}", "(?<part>.+)");
    let pattern = Regex::new(&format!("^{pattern}$"))
        .map_err(|error| Error::Usage(format!("{component:?} is no pattern of files: {error}")))?;
    let mut matching = Vec::new();
    for folder in folders {
        if !folder.path.is_dir() {
            continue;
        }
        for entry in
            fs_err::read_dir(&folder.path).map_err(Error::io("looking for evaluation sets"))?
        {
            let entry = entry.map_err(Error::io("looking for evaluation sets"))?;
            let name = entry.file_name();
            let Some(captures) = name.to_str().and_then(|name| pattern.captures(name)) else {
                continue;
            };
            let part = captures.name("part").map(|part| part.as_str().to_owned());
            matching.push(Found {
                part: part.unwrap_or_else(|| folder.part.clone()),
                path: entry.path(),
            });
        }
    }
    Ok(matching)
}

/// The rows of a file, in its order.
///
/// # Errors
/// The file cannot be read, or a line is no row.
pub(super) fn read(task: &Task, path: &Path) -> Result<Vec<Row>> {
    let what = || format!("reading {}", path.display());
    let file = fs_err::File::open(path).map_err(Error::io(what()))?;
    let name = path.to_string_lossy();
    let wrong = |problem: String| Error::Integrity {
        path: path.to_owned(),
        problem,
    };
    let mut plain: Box<dyn Read> = if name.ends_with(".gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let name = name.trim_end_matches(".gz");
    let mut bounded = BufReader::new(plain.by_ref().take(LARGEST_BYTES));
    if name.ends_with(".csv") {
        return csv_rows(bounded, task).map_err(wrong);
    }
    let mut rows = Vec::new();
    if name.ends_with(".json") {
        let mut bytes = Vec::new();
        bounded.read_to_end(&mut bytes).map_err(Error::io(what()))?;
        let whole: Value =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let list = task
            .rows
            .as_ref()
            .map_or(Some(&whole), |rows| whole.get(rows));
        for (index, row) in list
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            let row = row.as_object().cloned();
            rows.push(row.ok_or_else(|| wrong(format!("row {} is no object", index + 1)))?);
        }
    } else {
        for (index, line) in bounded.lines().enumerate() {
            let line = line.map_err(Error::io(what()))?;
            if line.trim().is_empty() {
                continue;
            }
            let row = serde_json::from_str(&line);
            rows.push(
                row.map_err(|error| wrong(format!("line {} is no row: {error}", index + 1)))?,
            );
        }
    }
    if rows.is_empty() {
        return Err(wrong("it has no rows".to_owned()));
    }
    Ok(rows)
}

fn csv_rows(file: impl Read, task: &Task) -> Result<Vec<Row>, String> {
    let columns = task
        .columns
        .as_ref()
        .ok_or("the task does not say the columns of a CSV file")?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file);
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| error.to_string())?;
        if record.len() != columns.len() {
            return Err(format!(
                "record {} has {} fields, not {}",
                index + 1,
                record.len(),
                columns.len()
            ));
        }
        let mut row = Row::new();
        for (column, value) in columns.iter().zip(&record) {
            // Columns of one name make a list.
            match row.get_mut(column) {
                None if columns.iter().filter(|other| *other == column).count() == 1 => {
                    row.insert(column.clone(), value.into());
                }
                None => {
                    row.insert(column.clone(), vec![value].into());
                }
                Some(list) => {
                    if let Some(list) = list.as_array_mut() {
                        list.push(value.into());
                    }
                }
            }
        }
        rows.push(row);
    }
    Ok(rows)
}
