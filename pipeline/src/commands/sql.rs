//! `andromeda sql`.

use std::path::Path;

use serde_json::{Map, Value};

use super::{print, print_json, table};
use crate::cli::SqlForm;
use crate::exit::Usage;
use crate::report::sql::{self, Answer, SqlError, TableInfo};
use crate::screen::safe;

/// Prints the answer of a query, or the tables where there is none.
pub(super) fn run(folder: &Path, query: Option<&str>, form: SqlForm) -> anyhow::Result<()> {
    let Some(query) = query else {
        for TableInfo {
            name,
            about,
            columns,
        } in sql::tables(folder)?
        {
            print(format!("{name}: {about}"))?;
            let columns: Vec<String> = columns
                .iter()
                .map(|(name, kind)| format!("{name} {kind}"))
                .collect();
            print(format!("    {}", safe(&columns.join(", "))))?;
        }
        return Ok(());
    };
    let answer = sql::query(folder, query).map_err(|error| match error {
        SqlError::Query(problem) => anyhow::Error::from(Usage(format!(
            "the query has no answer: {problem}\n  hint: `andromeda sql {}` shows the tables and their columns",
            folder.display()
        ))),
        other @ SqlError::Build(_) => other.into(),
    })?;
    match form {
        SqlForm::Table => print(shown(&answer)),
        SqlForm::Csv => csv(&answer),
        SqlForm::Json => answer.rows.iter().try_for_each(|row| {
            let cells = answer.columns.iter().cloned().zip(row.iter().cloned());
            print_json(&cells.collect::<Map<String, Value>>())
        }),
    }
}

/// A value without quotation marks; long texts cut, and all of it on one line.
fn cell(value: &Value, most: usize) -> String {
    let whole = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut line: String = safe(&whole).replace(['\n', '\t'], " ");
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn shown(answer: &Answer) -> String {
    const MOST: usize = 80;
    let head: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = answer
        .rows
        .iter()
        .map(|row| row.iter().map(|value| cell(value, MOST)).collect())
        .collect();
    table(&head, &rows)
}

fn csv(answer: &Answer) -> anyhow::Result<()> {
    let mut to = csv::Writer::from_writer(Vec::new());
    to.write_record(&answer.columns)?;
    for row in &answer.rows {
        to.write_record(row.iter().map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }))?;
    }
    let bytes = to.into_inner().map_err(|error| error.into_error())?;
    print(String::from_utf8_lossy(&bytes).trim_end_matches('\n'))
}
