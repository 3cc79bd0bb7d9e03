//! A parquet file again, without some of its rows: every column as it was, whatever its type.

use std::fs::File;
use std::path::Path;

use arrow_array::{BooleanArray, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use super::ReadError;
use super::parquet::fenced;

/// Rows in a batch: a batch is what is held.
const BATCH_ROWS: usize = 1024;

/// Writes the rows of the parquet file `from` that `keep` says yes to, in order, to `to`, with the compression of its first
/// column and with its own key-value metadata. Row groups have as many rows as those of `from` at most.
///
/// # Errors
/// The file cannot be read to its end, has another number of rows than `keep` has entries, or `to` cannot be written.
pub fn copy_parquet(from: &Path, to: File, keep: &[bool]) -> Result<File, ReadError> {
    fenced(|| copy(from, to, keep)).map_err(|problem| ReadError::Parquet {
        path: from.to_owned(),
        problem,
    })
}

fn copy(from: &Path, to: File, keep: &[bool]) -> Result<File, String> {
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
    let mut writer = ArrowWriter::try_new(to, schema, Some(properties.build()))
        .map_err(|error| error.to_string())?;
    let mut at = 0;
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|error| error.to_string())?;
        let end = at + batch.num_rows();
        let of_batch = keep
            .get(at..end)
            .ok_or("it has more rows than it had a moment ago")?;
        at = end;
        let mask = BooleanArray::from(of_batch.to_vec());
        let kept = arrow_select::filter::filter_record_batch(&batch, &mask)
            .map_err(|error| error.to_string())?;
        if kept.num_rows() > 0 {
            writer.write(&kept).map_err(|error| error.to_string())?;
        }
    }
    if at != keep.len() {
        return Err("it has fewer rows than it had a moment ago".to_owned());
    }
    writer.into_inner().map_err(|error| error.to_string())
}
