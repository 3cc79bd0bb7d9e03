//! A parquet file again, without some of its rows or with other texts in them: every column as it was, whatever its type.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, LargeBinaryArray,
    LargeStringArray, RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow_schema::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::properties::WriterProperties;

use super::ReadError;
use super::parquet::fenced;

/// Rows in a batch: a batch is what is held.
const BATCH_ROWS: usize = 1024;

/// What becomes of a row that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is there, as it was.
    Kept,
    /// It is not.
    Dropped,
    /// It is there, with this text in place of its own.
    Edited(String),
}

/// Writes the rows of the parquet file `from` that `keep` says yes to, in order, to `to`, with the compression of its first
/// column and with its own key-value metadata. Row groups have as many rows as those of `from` at most.
///
/// # Errors
/// The file cannot be read to its end, has another number of rows than `keep` has entries, or `to` cannot be written.
pub fn copy_parquet(from: &Path, to: File, keep: &[bool]) -> Result<File, ReadError> {
    let mut copy = ParquetCopy::new(from, to, "")?;
    for keep in keep.chunks(BATCH_ROWS) {
        copy.push(keep.iter().map(|keep| match keep {
            true => Fate::Kept,
            false => Fate::Dropped,
        }))?;
    }
    copy.finish()
}

/// A copy under way: fates come in the order of the rows, as many at a time as there are. The bytes written do not depend on
/// how many came together. Holds one batch of rows, and the fates of rows up to the next.
pub struct ParquetCopy {
    from: PathBuf,
    text: String,
    reader: ParquetRecordBatchReader,
    writer: ArrowWriter<File>,
    batch: Option<RecordBatch>,
    fates: Vec<Fate>,
}

impl ParquetCopy {
    /// Opens `from` and begins `to`. `text` is the column that [`Fate::Edited`] means, `outer.inner` inside a struct.
    ///
    /// # Errors
    /// Either cannot be opened as what it is to be.
    pub fn new(from: &Path, to: File, text: &str) -> Result<Self, ReadError> {
        let (reader, writer) =
            fenced(|| begin(from, to)).map_err(|problem| fault(from, problem))?;
        Ok(Self {
            from: from.to_owned(),
            text: text.to_owned(),
            reader,
            writer,
            batch: None,
            fates: Vec::new(),
        })
    }

    /// Takes the fates of the next rows.
    ///
    /// # Errors
    /// As [`copy_parquet`]; and where a text is to be written into a column that holds none.
    pub fn push(&mut self, fates: impl IntoIterator<Item = Fate>) -> Result<(), ReadError> {
        self.fates.extend(fates);
        fenced(|| self.write_batches()).map_err(|problem| fault(&self.from, problem))
    }

    /// Ends the copy, after the fate of the last row.
    ///
    /// # Errors
    /// As [`copy_parquet`].
    pub fn finish(mut self) -> Result<File, ReadError> {
        let from = self.from.clone();
        fenced(|| {
            if self.next_batch()?.is_some() {
                return Err("it has more rows than it had a moment ago".to_owned());
            }
            if !self.fates.is_empty() {
                return Err("it has fewer rows than it had a moment ago".to_owned());
            }
            self.writer.into_inner().map_err(|error| error.to_string())
        })
        .map_err(|problem| fault(&from, problem))
    }

    fn next_batch(&mut self) -> Result<Option<&RecordBatch>, String> {
        while self.batch.as_ref().is_none_or(|held| held.num_rows() == 0) {
            match self.reader.next() {
                Some(batch) => self.batch = Some(batch.map_err(|error| error.to_string())?),
                None => return Ok(None),
            }
        }
        Ok(self.batch.as_ref())
    }

    fn write_batches(&mut self) -> Result<(), String> {
        while !self.fates.is_empty() {
            let rows = self.next_batch()?.map(RecordBatch::num_rows);
            let rows = rows.ok_or("it has fewer rows than it had a moment ago")?;
            if rows > self.fates.len() {
                break;
            }
            let Some(batch) = self.batch.take() else {
                break;
            };
            let mut fates: Vec<Fate> = self.fates.drain(..rows).collect();
            let mask: BooleanArray = fates.iter().map(|f| Some(*f != Fate::Dropped)).collect();
            let mut kept = arrow_select::filter::filter_record_batch(&batch, &mask)
                .map_err(|error| error.to_string())?;
            fates.retain(|fate| *fate != Fate::Dropped);
            if fates.iter().any(|fate| *fate != Fate::Kept) {
                kept = edited(&kept, &self.text, &fates)?;
            }
            if kept.num_rows() > 0 {
                self.writer
                    .write(&kept)
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

fn fault(path: &Path, problem: String) -> ReadError {
    ReadError::Parquet {
        path: path.to_owned(),
        problem,
    }
}

fn begin(from: &Path, to: File) -> Result<(ParquetRecordBatchReader, ArrowWriter<File>), String> {
    let file = File::open(from).map_err(|error| error.to_string())?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let metadata = builder.metadata();
    let groups = metadata.row_groups();
    let compression = groups.first().and_then(|group| group.columns().first());
    let mut properties = WriterProperties::builder()
        .set_key_value_metadata(metadata.file_metadata().key_value_metadata().cloned());
    if let Some(column) = compression {
        properties = properties.set_compression(column.compression());
    }
    let largest = groups.iter().map(|group| group.num_rows()).max();
    let largest = largest.and_then(|rows| usize::try_from(rows).ok());
    properties = properties.set_max_row_group_row_count(largest.filter(|rows| *rows > 0));
    let schema = builder.schema().clone();
    let reader = builder
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| error.to_string())?;
    let writer = ArrowWriter::try_new(to, schema, Some(properties.build()))
        .map_err(|error| error.to_string())?;
    Ok((reader, writer))
}

/// The rows with other texts in the column `path`.
fn edited(batch: &RecordBatch, path: &str, fates: &[Fate]) -> Result<RecordBatch, String> {
    let (top, rest) = path
        .split_once('.')
        .map_or((path, None), |(a, b)| (a, Some(b)));
    let mut columns = batch.columns().to_vec();
    let at = batch.schema_ref().index_of(top);
    let at = at.map_err(|_| format!("it has no column {top}"))?;
    columns[at] = with_texts(&columns[at], path, rest, fates)?;
    RecordBatch::try_new(batch.schema(), columns).map_err(|error| error.to_string())
}

fn with_texts(
    array: &ArrayRef,
    path: &str,
    rest: Option<&str>,
    fates: &[Fate],
) -> Result<ArrayRef, String> {
    if let Some(rest) = rest {
        let (name, rest) = rest
            .split_once('.')
            .map_or((rest, None), |(a, b)| (a, Some(b)));
        let outer = array.as_struct_opt();
        let outer = outer.ok_or_else(|| format!("the text of {path} is not in a struct"))?;
        let (fields, mut columns, nulls) = outer.clone().into_parts();
        let at = fields.find(name).map(|(at, _)| at);
        let at = at.ok_or_else(|| format!("it has no column {path}"))?;
        columns[at] = with_texts(&columns[at], path, rest, fates)?;
        let outer = StructArray::try_new(fields, columns, nulls);
        return Ok(Arc::new(outer.map_err(|error| error.to_string())?));
    }
    // Each row's own value, or its new one.
    macro_rules! values {
        ($array:expr, $new:expr) => {{
            let own = $array;
            fates.iter().enumerate().map(move |(row, fate)| match fate {
                Fate::Edited(text) => Some($new(text)),
                Fate::Kept | Fate::Dropped => own.is_valid(row).then(|| own.value(row)),
            })
        }};
    }
    Ok(match array.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from_iter(values!(
            array.as_string::<i32>(),
            String::as_str
        ))),
        DataType::LargeUtf8 => Arc::new(LargeStringArray::from_iter(values!(
            array.as_string::<i64>(),
            String::as_str
        ))),
        DataType::Utf8View => Arc::new(StringViewArray::from_iter(values!(
            array.as_string_view(),
            String::as_str
        ))),
        DataType::Binary => Arc::new(BinaryArray::from_iter(values!(
            array.as_binary::<i32>(),
            String::as_bytes
        ))),
        DataType::LargeBinary => Arc::new(LargeBinaryArray::from_iter(values!(
            array.as_binary::<i64>(),
            String::as_bytes
        ))),
        DataType::BinaryView => Arc::new(BinaryViewArray::from_iter(values!(
            array.as_binary_view(),
            String::as_bytes
        ))),
        other => {
            return Err(format!(
                "the column {path} has type {other}, in which a text cannot be changed: write it as a column of strings"
            ));
        }
    })
}
