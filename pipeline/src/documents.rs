//! Reading a build's table of documents: what became of any of them.

mod contamination;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use fs_err::File;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::Serialize;

pub use contamination::{Contamination, contaminations};

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is no table of documents.
    #[error(
        "{file} cannot be read as a table of documents ({what}); `andromeda verify` tells whether it is damaged"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// Its number.
    pub row: u64,
    /// Its id.
    pub id: String,
    /// Its dataset.
    pub dataset: String,
    /// The file it was in.
    pub file: String,
    /// Its row in that file.
    pub file_row: u64,
    /// Bytes of its normalized text.
    pub bytes: u64,
    /// Bytes that were cut from it, since they stood before; in builds that trim.
    pub trimmed_bytes: Option<u64>,
    /// `kept`, `dropped`, `duplicate` or `quarantined`.
    pub verdict: String,
    /// Why, unless it was kept.
    pub reason: Option<String>,
    /// Row of the first document of its cluster.
    pub cluster: Option<u64>,
    /// Documents in that cluster.
    pub cluster_documents: Option<u32>,
    /// Row of the copy that was kept instead of it.
    pub kept: Option<u64>,
    /// The build whose table has that row, if it is another one.
    pub kept_build: Option<String>,
    /// How alike the two are.
    pub similarity: Option<f32>,
    /// Its split.
    pub split: Option<String>,
    /// File of the shard where its first token is.
    pub shard: Option<String>,
    /// Place of that token in the shard.
    pub token: Option<u64>,
    /// Its tokens.
    pub tokens: Option<u32>,
    /// Fields of its row that its manifest keeps (`[render] meta`), as a JSON object.
    pub meta: Option<String>,
    /// Personal data that was replaced in it: how many by kind, as a JSON object; in builds that do.
    pub pii: Option<String>,
    /// What the rule found that dropped it, where it says so: the entry of a list, a name, a value.
    pub evidence: Option<String>,
    /// Its language; in builds whose profile asks for it, as are the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How sure that is, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language_score: Option<f32>,
    /// Bytes of its lines in other languages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_language_bytes: Option<u64>,
    /// What a classifier says of its quality, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_score: Option<f32>,
}

fn open(
    folder: &Path,
    columns: Option<&[&str]>,
) -> Result<(ParquetRecordBatchReader, PathBuf), TableError> {
    let path = folder.join("documents.parquet");
    let damaged = |error: parquet::errors::ParquetError| TableError::Damaged {
        file: path.clone(),
        what: error.to_string(),
    };
    let file = File::open(&path)?.into_file();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
    };
    Ok((
        builder
            .with_projection(mask)
            .with_batch_size(8192)
            .build()
            .map_err(damaged)?,
        path.clone(),
    ))
}

/// Calls `each` for every document whose id satisfies `wanted`, with its row and all of its columns, until it says stop.
fn scan(
    folder: &Path,
    wanted: &dyn Fn(u64, &str) -> bool,
    each: &mut dyn FnMut(Document) -> bool,
) -> Result<(), TableError> {
    let (reader, path) = open(folder, None)?;
    let damaged = |what: String| TableError::Damaged {
        file: path.clone(),
        what,
    };
    let mut first = 0u64;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let ids = words(&batch, "id").ok_or_else(|| damaged("it has no column id".to_owned()))?;
        for i in 0..batch.num_rows() {
            if wanted(first + i as u64, ids.value(i)) {
                let document = row(&batch, i, first + i as u64)
                    .ok_or_else(|| damaged("a column is missing".to_owned()))?;
                if !each(document) {
                    return Ok(());
                }
            }
        }
        first += batch.num_rows() as u64;
    }
    Ok(())
}

/// The documents called `query`; if there is none, those whose id contains it; at most `most`. The bool says whether there
/// were more.
pub fn find(folder: &Path, query: &str, most: usize) -> Result<(Vec<Document>, bool), TableError> {
    let mut exact = Vec::new();
    scan(folder, &|_, id| id == query, &mut |document| {
        exact.push(document);
        exact.len() < most
    })?;
    if !exact.is_empty() {
        return Ok((exact, false));
    }
    let mut some = Vec::new();
    scan(folder, &|_, id| id.contains(query), &mut |document| {
        some.push(document);
        some.len() <= most
    })?;
    let more = some.len() > most;
    some.truncate(most);
    Ok((some, more))
}

/// The documents of some rows.
pub fn at(folder: &Path, rows: &[u64]) -> Result<BTreeMap<u64, Document>, TableError> {
    let mut found = BTreeMap::new();
    if rows.is_empty() {
        return Ok(found);
    }
    let rows = std::collections::BTreeSet::from_iter(rows);
    scan(folder, &|row, _| rows.contains(&row), &mut |document| {
        found.insert(document.row, document);
        found.len() < rows.len()
    })?;
    Ok(found)
}

/// The documents of the largest clusters of at least two, most documents first, then by their first document's row; the
/// documents of each in the order of their rows.
pub fn largest_clusters(folder: &Path, most: usize) -> Result<Vec<Vec<Document>>, TableError> {
    let (reader, path) = open(folder, Some(&["cluster", "cluster_documents"]))?;
    let damaged = |what: &str| TableError::Damaged {
        file: path.clone(),
        what: what.to_owned(),
    };
    // Sizes and first rows, smallest size first.
    let mut largest: std::collections::BTreeSet<(u32, std::cmp::Reverse<u64>)> =
        std::collections::BTreeSet::new();
    let mut first = 0u64;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(&error.to_string()))?;
        let roots = batch.column_by_name("cluster");
        let roots = roots.and_then(|column| column.as_primitive_opt::<UInt64Type>().cloned());
        let sizes = batch.column_by_name("cluster_documents");
        let sizes = sizes.and_then(|column| column.as_primitive_opt::<UInt32Type>().cloned());
        let (Some(roots), Some(sizes)) = (roots, sizes) else {
            return Err(damaged("it has no clusters"));
        };
        for (row, (root, size)) in (first..).zip(roots.iter().zip(&sizes)) {
            if let (Some(root), Some(size)) = (root, size)
                && root == row
                && size > 1
            {
                largest.insert((size, std::cmp::Reverse(root)));
                if largest.len() > most {
                    largest.pop_first();
                }
            }
        }
        first += batch.num_rows() as u64;
    }
    let order: BTreeMap<u64, usize> = largest
        .iter()
        .rev()
        .enumerate()
        .map(|(place, (_, root))| (root.0, place))
        .collect();
    let mut clusters = vec![Vec::new(); order.len()];
    let (reader, path) = open(folder, None)?;
    let damaged = |what: String| TableError::Damaged {
        file: path.clone(),
        what,
    };
    let mut first = 0u64;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let roots = batch
            .column_by_name("cluster")
            .and_then(|column| column.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| damaged("it has no clusters".to_owned()))?;
        for (i, root) in roots.iter().enumerate() {
            if let Some(place) = root.and_then(|root| order.get(&root)) {
                let document = row(&batch, i, first + i as u64)
                    .ok_or_else(|| damaged("a column is missing".to_owned()))?;
                clusters[*place].push(document);
            }
        }
        first += batch.num_rows() as u64;
    }
    Ok(clusters)
}

/// The ids of some rows.
pub fn ids_of(folder: &Path, rows: &[u64]) -> Result<BTreeMap<u64, String>, TableError> {
    let mut found = BTreeMap::new();
    if rows.is_empty() {
        return Ok(found);
    }
    let rows = std::collections::BTreeSet::from_iter(rows.iter().copied());
    let (reader, path) = open(folder, Some(&["id"]))?;
    let damaged = |what: String| TableError::Damaged {
        file: path.clone(),
        what,
    };
    let mut first = 0u64;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let ids = words(&batch, "id").ok_or_else(|| damaged("it has no column id".to_owned()))?;
        let end = first + batch.num_rows() as u64;
        for row in rows.range(first..end) {
            let at = usize::try_from(row - first).expect("within a batch");
            found.insert(*row, ids.value(at).to_owned());
        }
        first = end;
    }
    Ok(found)
}

fn words(batch: &RecordBatch, name: &str) -> Option<StringArray> {
    batch.column_by_name(name)?.as_string_opt::<i32>().cloned()
}

/// A string of a column, which may be one of numbers of strings; the inner `None` where it is null.
fn word_at(batch: &RecordBatch, name: &str, i: usize) -> Option<Option<String>> {
    let column = batch.column_by_name(name)?;
    if column.is_null(i) {
        return Some(None);
    }
    let text = match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary_opt()?;
            let key = *dictionary.normalized_keys().get(i)?;
            dictionary
                .values()
                .as_string_opt::<i32>()?
                .value(key)
                .to_owned()
        }
        _ => column.as_string_opt::<i32>()?.value(i).to_owned(),
    };
    Some(Some(text))
}

fn row(batch: &RecordBatch, i: usize, row: u64) -> Option<Document> {
    let word = |name: &str| word_at(batch, name, i);
    let long = |name: &str| -> Option<Option<u64>> {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<UInt64Type>()?;
        Some(column.is_valid(i).then(|| column.value(i)))
    };
    let short = |name: &str| -> Option<Option<u32>> {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<UInt32Type>()?;
        Some(column.is_valid(i).then(|| column.value(i)))
    };
    let share = |name: &str| -> Option<Option<f32>> {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<Float32Type>()?;
        Some(column.is_valid(i).then(|| column.value(i)))
    };
    Some(Document {
        row,
        id: word("id")??,
        dataset: word("dataset")??,
        file: word("file")??,
        file_row: long("file_row")??,
        bytes: long("bytes")??,
        trimmed_bytes: match batch.column_by_name("trimmed_bytes") {
            Some(_) => long("trimmed_bytes")?,
            None => None,
        },
        verdict: word("verdict")??,
        reason: word("reason")?,
        cluster: long("cluster")?,
        cluster_documents: short("cluster_documents")?,
        kept: long("kept")?,
        kept_build: word("kept_build")?,
        similarity: share("similarity")?,
        split: word("split")?,
        shard: word("shard")?,
        token: long("token")?,
        tokens: short("tokens")?,
        meta: word("meta")?,
        pii: word("pii").flatten(),
        evidence: word("evidence").flatten(),
        language: word("language").flatten(),
        language_score: share("language_score").flatten(),
        other_language_bytes: long("other_language_bytes").flatten(),
        quality_score: share("quality_score").flatten(),
    })
}
