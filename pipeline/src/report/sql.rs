//! SQL over a build: its tables and what its manifest says, through polars.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use andromeda_format::{Build, Count, FormatError, Manifest};
use polars::prelude::{
    AnyValue, Column, DataFrame, IntoLazy, LazyFrame, NamedFrom, PlRefPath, PolarsError, Series,
};
use polars::sql::SQLContext;
use serde_json::Value;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The folder is no build.
    #[error(transparent)]
    Build(#[from] FormatError),
    /// The query is wrong, or a table could not be read.
    #[error("{0}")]
    Query(String),
}

impl From<PolarsError> for SqlError {
    fn from(error: PolarsError) -> Self {
        Self::Query(error.to_string())
    }
}

/// What a query found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows: of each column a value.
    pub rows: Vec<Vec<Value>>,
}

/// A table that queries may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub name: &'static str,
    /// What a row of it is.
    pub about: &'static str,
    /// Its columns and their types.
    pub columns: Vec<(String, String)>,
}

/// Tables that are files of the build, with what a row is. `row` numbers the rows of each from 0.
const FILES: [(&str, &str); 4] = [
    (
        "documents",
        "a document that was read, and what became of it",
    ),
    ("duplicates", "a document that was dropped for a copy of it"),
    ("rejects", "a sample of what was not kept, with its text"),
    (
        "contamination",
        "a passage of an evaluation set in a document",
    ),
];

struct Tables {
    context: SQLContext,
    frames: Vec<(&'static str, &'static str, LazyFrame)>,
}

impl Tables {
    fn of(folder: &Path) -> Result<Self, SqlError> {
        let build = Build::open(folder)?;
        let mut frames = Vec::new();
        for (name, about) in FILES {
            let path = folder.join(format!("{name}.parquet"));
            if path.is_file() {
                let path = path
                    .to_str()
                    .ok_or_else(|| SqlError::Query(format!("{} is no UTF-8", path.display())))?;
                let frame = LazyFrame::scan_parquet(PlRefPath::new(path), Default::default())?;
                frames.push((name, about, frame.with_row_index("row", None)));
            }
        }
        let manifest = build.manifest();
        let of_manifest: [(_, _, DataFrame); 3] = [
            ("datasets", "a dataset of the build", datasets(manifest)?),
            (
                "funnel",
                "what became of a dataset's documents, and why",
                funnel(manifest)?,
            ),
            ("shards", "a file of tokens", shards(manifest)?),
        ];
        for (name, about, frame) in of_manifest {
            frames.push((name, about, frame.lazy()));
        }
        let context = SQLContext::new();
        for (name, _, frame) in &frames {
            context.register(name, frame.clone());
        }
        Ok(Self { context, frames })
    }
}

/// The tables of the build in `folder`.
///
/// # Errors
/// It is no build, or one of its tables cannot be read.
pub fn tables(folder: &Path) -> Result<Vec<TableInfo>, SqlError> {
    Tables::of(folder)?
        .frames
        .into_iter()
        .map(|(name, about, mut frame)| {
            let schema = frame.collect_schema()?;
            let columns = schema
                .iter()
                .map(|(name, kind)| (name.to_string(), kind.to_string()))
                .collect();
            Ok(TableInfo {
                name,
                about,
                columns,
            })
        })
        .collect()
}

/// Asks the build in `folder`. The whole answer is held in memory; tables are streamed from their files.
///
/// # Errors
/// It is no build, one of its tables cannot be read, or the query is wrong.
pub fn query(folder: &Path, query: &str) -> Result<Answer, SqlError> {
    let mut tables = Tables::of(folder)?;
    // The engine has places that it takes to be unreachable: a query must not end the program.
    let frame = catch_unwind(AssertUnwindSafe(|| {
        tables.context.execute(query)?.collect()
    }))
    .map_err(|_| {
        SqlError::Query("the engine gave up on it; put it in simpler words".to_owned())
    })??;
    let columns: Vec<&Column> = frame.columns().iter().collect();
    let mut answer = Answer {
        columns: columns
            .iter()
            .map(|column| column.name().to_string())
            .collect(),
        rows: Vec::with_capacity(frame.height()),
    };
    for row in 0..frame.height() {
        let values = columns.iter().map(|column| Ok(value(&column.get(row)?)));
        answer.rows.push(values.collect::<Result<_, SqlError>>()?);
    }
    Ok(answer)
}

fn value(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => (*value).into(),
        AnyValue::String(value) => (*value).into(),
        AnyValue::StringOwned(value) => value.as_str().into(),
        AnyValue::Float32(value) => float(f64::from(*value)),
        AnyValue::Float64(value) => float(*value),
        AnyValue::UInt8(value) => (*value).into(),
        AnyValue::UInt16(value) => (*value).into(),
        AnyValue::UInt32(value) => (*value).into(),
        AnyValue::UInt64(value) => (*value).into(),
        AnyValue::Int8(value) => (*value).into(),
        AnyValue::Int16(value) => (*value).into(),
        AnyValue::Int32(value) => (*value).into(),
        AnyValue::Int64(value) => (*value).into(),
        AnyValue::List(series) => series.iter().map(|inner| self::value(&inner)).collect(),
        // Words of a dictionary, dates and the like as they are shown.
        other => other
            .get_str()
            .map_or_else(|| other.to_string(), str::to_owned)
            .into(),
    }
}

/// JSON has no word for what is no number.
fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

fn words<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> Column {
    Series::new(name.into(), values.collect::<Vec<&str>>()).into()
}

fn numbers(name: &str, values: impl Iterator<Item = u64>) -> Column {
    Series::new(name.into(), values.collect::<Vec<u64>>()).into()
}

fn datasets(manifest: &Manifest) -> Result<DataFrame, PolarsError> {
    let all = || manifest.datasets.iter();
    DataFrame::new_infer_height(vec![
        words("name", all().map(|dataset| dataset.name.as_str())),
        words("tier", all().map(|dataset| dataset.tier.as_str())),
        words("kind", all().map(|dataset| dataset.kind.as_str())),
        words("licence", all().map(|dataset| dataset.licence.as_str())),
        words("source", all().map(|dataset| dataset.source.as_str())),
        words("revision", all().map(|dataset| dataset.revision.as_str())),
        numbers("files", all().map(|dataset| dataset.files.len() as u64)),
        numbers(
            "documents",
            all().map(|dataset| dataset.funnel.documents_in),
        ),
        numbers("kept", all().map(|dataset| dataset.funnel.kept.documents)),
        numbers(
            "tokens",
            all().map(|dataset| dataset.splits.values().map(|split| split.tokens).sum()),
        ),
    ])
}

fn funnel(manifest: &Manifest) -> Result<DataFrame, PolarsError> {
    let mut rows: Vec<(&str, &str, &str, Count)> = Vec::new();
    for dataset in &manifest.datasets {
        let funnel = &dataset.funnel;
        rows.push((&dataset.name, "kept", "", funnel.kept));
        let groups = [
            ("quarantined", &funnel.quarantined),
            ("dropped", &funnel.dropped),
            ("duplicate", &funnel.duplicates),
            ("trimmed", &funnel.trimmed),
        ];
        for (verdict, counts) in groups {
            rows.extend(
                counts.iter().map(|(reason, count)| {
                    (dataset.name.as_str(), verdict, reason.as_str(), *count)
                }),
            );
        }
    }
    DataFrame::new_infer_height(vec![
        words("dataset", rows.iter().map(|row| row.0)),
        words("verdict", rows.iter().map(|row| row.1)),
        words("reason", rows.iter().map(|row| row.2)),
        numbers("documents", rows.iter().map(|row| row.3.documents)),
        numbers("bytes", rows.iter().map(|row| row.3.bytes)),
    ])
}

fn shards(manifest: &Manifest) -> Result<DataFrame, PolarsError> {
    let all = || {
        let splits = manifest.splits.iter();
        splits
            .flat_map(|(split, entry)| entry.shards.iter().map(move |shard| (split.name(), shard)))
    };
    DataFrame::new_infer_height(vec![
        words("file", all().map(|(_, shard)| shard.file.as_str())),
        words("split", all().map(|(split, _)| split)),
        numbers("tokens", all().map(|(_, shard)| shard.tokens)),
        numbers("documents", all().map(|(_, shard)| shard.documents)),
        numbers("bytes", all().map(|(_, shard)| shard.bytes)),
        words("sha256", all().map(|(_, shard)| shard.sha256.as_str())),
    ])
}
