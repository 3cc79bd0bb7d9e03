//! Rows of a parquet file: a block is a range of rows of one row group, cut from the metadata alone.
//!
//! The crate that decodes is fenced: sizes and places that the metadata declare are held against the file and against
//! `max-compression-ratio` before anything is allocated for them, and a panic inside the decoder (547 silent differences
//! and 5 panics in 10,000 mutants of sound files, measured) becomes an error. A changed byte inside a page may go
//! unnoticed: the format has no checksum that is always there, so verify the file's sha256 before it is read.
//!
//! Values: strings, and binary that must be UTF-8; integers, floats (those that JSON lacks become null) and booleans;
//! decimals as text; dates, times of day and timestamps as RFC 3339 text, with `Z` where the column is in UTC and without
//! an offset where it names no zone; lists, structs and maps with string keys as arrays and objects.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use serde_json::Value;

use super::error::utf8;
use super::{
    Block, BlockHead, BlockSource, Content, EachRow, Projection, ReadError, ReadOptions, Row,
    RowFault,
};

/// Uncompressed bytes of a row group that are allowed whatever the ratio.
const FREE_BYTES: u64 = 64 << 20;
/// What a row weighs at the least when blocks are cut: a column of one repeated value has almost no bytes.
const MIN_ROW_BYTES: u64 = 16;
/// Writers stop at a million or so; beyond this a block could not be planned.
const MAX_GROUP_ROWS: u64 = 1 << 31;
/// Decoded text to hold at once; from 256 rows on, larger batches are no faster.
const BATCH_BYTES: u64 = 4 << 20;
const MAX_BATCH_ROWS: u64 = 256;
/// What a value weighs beside its text, so that a list of a billion nulls is too long a row.
const VALUE_BYTES: usize = size_of::<Value>();

/// What every block of a file needs.
struct Shared {
    path: PathBuf,
    file_bytes: u64,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    max_row_bytes: usize,
}

/// Consecutive row groups cut into blocks.
pub(super) struct ParquetSource {
    shared: Arc<Shared>,
    groups: Vec<Group>,
    block_bytes: u64,
    next_index: u64,
    group: usize,
    /// Rows of the current group that were handed out.
    done: u64,
    first_row: u64,
    /// A group whose metadata is wrong: the groups before it are handed out first.
    fault: Option<ReadError>,
}

struct Group {
    rows: u64,
    bytes: u64,
}

impl ParquetSource {
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self, ReadError> {
        let fault = |problem: String| ReadError::Parquet {
            path: path.to_owned(),
            problem,
        };
        let io = |source| ReadError::Io {
            path: path.to_owned(),
            offset: 0,
            source,
        };
        let file = File::open(path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let metadata = fenced(|| load(&file)).map_err(fault)?;
        let projection = Projection::new(options.fields.as_deref());
        let schema = metadata.parquet_schema();
        let wanted = schema.root_schema().get_fields().iter().enumerate();
        let wanted = wanted
            .filter(|(_, field)| projection.keeps(field.name()))
            .map(|(index, _)| index);
        let mask = ProjectionMask::roots(schema, wanted);
        for field in metadata.schema().fields() {
            if projection.keeps(field.name())
                && let Some(kind) = unsupported(field.data_type())
            {
                let column = field.name().clone();
                return Err(ReadError::Column {
                    path: path.to_owned(),
                    column,
                    kind: kind.to_string(),
                });
            }
        }
        let shared = Shared {
            path: path.to_owned(),
            file_bytes,
            metadata,
            mask,
            max_row_bytes: options.max_row_bytes,
        };
        let (mut groups, mut fault) = (Vec::new(), None);
        for (index, group) in shared.metadata.metadata().row_groups().iter().enumerate() {
            match shared.check(index, group, options.max_compression_ratio) {
                Ok(group) => groups.push(group),
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        Ok(Self {
            shared: Arc::new(shared),
            groups,
            block_bytes: options.block_bytes as u64,
            next_index: 0,
            group: 0,
            done: 0,
            first_row: 0,
            fault,
        })
    }
}

/// The metadata, with strings as views into the decoded pages: 41 MiB instead of 76 and a sixth faster.
fn load(file: &File) -> Result<ArrowReaderMetadata, String> {
    // The Arrow schema that a writer may embed is a second opinion on the types, and another thing to trust.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain =
        ArrowReaderMetadata::load(file, options.clone()).map_err(|error| error.to_string())?;
    let views = Schema::new(
        plain
            .schema()
            .fields()
            .iter()
            .map(with_views)
            .collect::<Fields>(),
    );
    let options = options.with_schema(Arc::new(views));
    Ok(ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options).unwrap_or(plain))
}

fn with_views(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}

/// Runs foreign code; a panic becomes its message.
pub(super) fn fenced<T>(foreign: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(foreign)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(format!(
            "the decoder failed: {}",
            message.unwrap_or("no message")
        ))
    })
}

impl Shared {
    /// Holds what the metadata say of a row group against the file.
    fn check(
        &self,
        index: usize,
        group: &RowGroupMetaData,
        max_ratio: u64,
    ) -> Result<Group, ReadError> {
        let fault = |problem: &str| ReadError::Parquet {
            path: self.path.clone(),
            problem: format!("row group {index}: {problem}"),
        };
        let rows = u64::try_from(group.num_rows())
            .ok()
            .filter(|rows| *rows <= MAX_GROUP_ROWS);
        let rows = rows.ok_or_else(|| fault("an impossible number of rows"))?;
        let mut bytes: u64 = 0;
        let mut compressed: u64 = 0;
        for (leaf, column) in group.columns().iter().enumerate() {
            if !self.mask.leaf_included(leaf) {
                continue;
            }
            let start = column
                .dictionary_page_offset()
                .unwrap_or(column.data_page_offset());
            let place = (
                u64::try_from(start),
                u64::try_from(column.compressed_size()),
            );
            let (Ok(start), Ok(length)) = place else {
                return Err(fault("a column with a negative place or size"));
            };
            if start
                .checked_add(length)
                .is_none_or(|end| end > self.file_bytes)
            {
                return Err(fault("a column outside the file"));
            }
            let size = u64::try_from(column.uncompressed_size());
            bytes = bytes.saturating_add(size.map_err(|_| fault("a column with a negative size"))?);
            compressed = compressed.saturating_add(length);
        }
        if bytes > FREE_BYTES && bytes / max_ratio > compressed {
            return Err(ReadError::Bomb {
                path: self.path.clone(),
                offset: compressed,
                produced: bytes,
                limit: max_ratio,
            });
        }
        Ok(Group {
            rows,
            bytes: bytes.max(rows.saturating_mul(MIN_ROW_BYTES)),
        })
    }

    fn row(&self, batch: &RecordBatch, index: usize) -> Result<Row, RowFault> {
        let mut row = Row::new();
        let mut left = self.max_row_bytes;
        let schema = batch.schema_ref();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let mut read = ReadValue {
                column: field.name(),
                left: &mut left,
                limit: self.max_row_bytes,
            };
            row.insert(field.name().clone(), read.value(column, index)?);
        }
        Ok(row)
    }
}

impl ParquetSource {
    /// The next range of rows, cut so that the blocks of a group weigh the same.
    fn next_range(&mut self) -> Result<Option<Rows>, ReadError> {
        while let Some(group) = self.groups.get(self.group) {
            if self.done >= group.rows {
                (self.group, self.done) = (self.group + 1, 0);
                continue;
            }
            let blocks = group.bytes.div_ceil(self.block_bytes).clamp(1, group.rows);
            let rows = group.rows.div_ceil(blocks).min(group.rows - self.done);
            let range = Rows {
                shared: Arc::clone(&self.shared),
                group: self.group,
                start: self.done,
                rows,
                row_bytes: group.bytes / group.rows,
            };
            self.done += rows;
            return Ok(Some(range));
        }
        self.fault.take().map_or(Ok(None), Err)
    }

    /// Where in the file the blocks stand that `takes` says yes to: of the first row group every column, of others those that
    /// are read.
    pub(super) fn extents(
        mut self,
        takes: &dyn Fn(u64) -> bool,
    ) -> Result<Vec<Range<u64>>, ReadError> {
        let (mut groups, mut number) = (BTreeSet::new(), 0);
        while let Some(rows) = self.next_range()? {
            if takes(number) {
                groups.insert(rows.group);
            }
            number += 1;
        }
        let metadata = self.shared.metadata.metadata();
        let mut extents = Vec::new();
        for group in groups {
            for (leaf, column) in metadata.row_group(group).columns().iter().enumerate() {
                if group > 0 && !self.shared.mask.leaf_included(leaf) {
                    continue;
                }
                // What `check` asked of the columns that are read holds for the others too, or they have no place.
                let start = column
                    .dictionary_page_offset()
                    .unwrap_or(column.data_page_offset());
                let length = u64::try_from(column.compressed_size()).unwrap_or(0);
                if let Ok(start) = u64::try_from(start) {
                    let end = start.saturating_add(length).min(self.shared.file_bytes);
                    extents.push(start..end.max(start));
                }
            }
        }
        Ok(extents)
    }

    fn place(&mut self, rows: u64) -> (u64, u64) {
        let place = (self.next_index, self.first_row);
        self.next_index += 1;
        self.first_row += rows;
        place
    }
}

impl BlockSource for ParquetSource {
    fn next_block(&mut self) -> Result<Option<Block>, ReadError> {
        let Some(range) = self.next_range()? else {
            return Ok(None);
        };
        let (index, first_row) = self.place(range.rows);
        Ok(Some(Block {
            index,
            first_row,
            content: Box::new(range),
        }))
    }

    fn skip_block(&mut self) -> Result<Option<BlockHead>, ReadError> {
        Ok(self.next_block()?.map(|block| block.head()))
    }
}

/// A range of rows of one row group.
struct Rows {
    shared: Arc<Shared>,
    group: usize,
    start: u64,
    rows: u64,
    row_bytes: u64,
}

/// A file that keeps the first thing the operating system refused: the decoder's own errors tell it as text, in which a
/// failing disk and a damaged page are alike.
struct Watched {
    file: File,
    refused: Arc<Mutex<Option<io::Error>>>,
}

impl Watched {
    fn note<T>(&self, result: ParquetResult<T>) -> ParquetResult<T> {
        result.inspect_err(|error| {
            if let ParquetError::External(error) = error
                && let Some(error) = error.downcast_ref::<io::Error>()
            {
                refuse(&self.refused, error);
            }
        })
    }
}

fn refuse(refused: &Mutex<Option<io::Error>>, error: &io::Error) {
    // A file that ends too soon is no refusal.
    if error.kind() != io::ErrorKind::UnexpectedEof {
        let copy = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(copy);
    }
}

impl Length for Watched {
    fn len(&self) -> u64 {
        Length::len(&self.file)
    }
}

impl ChunkReader for Watched {
    type T = WatchedRead<<File as ChunkReader>::T>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(WatchedRead {
            read: self.note(self.file.get_read(start))?,
            refused: Arc::clone(&self.refused),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.note(self.file.get_bytes(start, length))
    }
}

struct WatchedRead<R> {
    read: R,
    refused: Arc<Mutex<Option<io::Error>>>,
}

impl<R: Read> Read for WatchedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read
            .read(buffer)
            .inspect_err(|error| refuse(&self.refused, error))
    }
}

impl Rows {
    fn reader(
        &self,
        refused: &Arc<Mutex<Option<io::Error>>>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, String>>, String> {
        let shared = &self.shared;
        let told = |error: io::Error| {
            refuse(refused, &error);
            error.to_string()
        };
        let file = File::open(&shared.path).map_err(told)?;
        if file.metadata().map_err(told)?.len() != shared.file_bytes {
            return Err("the file has changed since it was opened".to_owned());
        }
        let file = Watched {
            file,
            refused: Arc::clone(refused),
        };
        let count = |rows: u64| usize::try_from(rows).map_err(|error| error.to_string());
        let batch = (BATCH_BYTES / self.row_bytes.max(1)).clamp(1, MAX_BATCH_ROWS);
        let (start, rows, batch) = (count(self.start)?, count(self.rows)?, count(batch)?);
        let mut reader = fenced(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, shared.metadata.clone())
                .with_projection(shared.mask.clone())
                .with_row_groups(vec![self.group])
                .with_batch_size(batch)
                .with_offset(start)
                .with_limit(rows)
                .build()
                .map_err(|error| error.to_string())
        })?;
        Ok(std::iter::from_fn(move || {
            fenced(|| reader.next().transpose().map_err(|error| error.to_string())).transpose()
        }))
    }
}

impl Content for Rows {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.rows.saturating_mul(self.row_bytes)).unwrap_or(usize::MAX)
    }

    fn decode(&self, first_row: u64, each: &mut EachRow<'_>) -> Result<(), ReadError> {
        let mut next = first_row;
        let end = first_row + self.rows;
        let refused: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let fault = |next: u64, problem: String| {
            let refused = refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            match refused {
                Some(source) => ReadError::Io {
                    path: self.shared.path.clone(),
                    offset: 0,
                    source,
                },
                None => ReadError::ParquetRows {
                    path: self.shared.path.clone(),
                    row_group: self.group,
                    rows: next..end,
                    problem,
                },
            }
        };
        for batch in self
            .reader(&refused)
            .map_err(|problem| fault(next, problem))?
        {
            let batch = batch.map_err(|problem| fault(next, problem))?;
            for index in 0..batch.num_rows() {
                if next == end {
                    return Err(fault(next, "more rows than the metadata say".to_owned()));
                }
                // Only our reading of the arrays is inside the fence: a panic of `each` is the caller's own.
                let row = fenced(|| Ok(self.shared.row(&batch, index)));
                each(next, row.map_err(|problem| fault(next, problem))?);
                next += 1;
            }
        }
        if next < end {
            return Err(fault(next, "fewer rows than the metadata say".to_owned()));
        }
        Ok(())
    }
}

/// The first type in a column that [`ReadValue`] does not read.
fn unsupported(kind: &DataType) -> Option<&DataType> {
    match kind {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Date32
        | DataType::Time32(TimeUnit::Millisecond)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => None,
        DataType::List(item) => unsupported(item.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .find_map(|field| unsupported(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields)
                if fields.len() == 2 && fields[0].data_type() == &DataType::Utf8 =>
            {
                unsupported(fields[1].data_type())
            }
            _ => Some(kind),
        },
        _ => Some(kind),
    }
}

/// Turns Arrow values of one row into JSON values, within the bytes that a row may have.
struct ReadValue<'a> {
    column: &'a str,
    left: &'a mut usize,
    limit: usize,
}

impl ReadValue<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), RowFault> {
        let cost = bytes.saturating_add(VALUE_BYTES);
        match self.left.checked_sub(cost) {
            Some(left) => {
                *self.left = left;
                Ok(())
            }
            None => {
                // What remains of the row is not counted: it may be without end.
                let bytes = (self.limit - *self.left).saturating_add(cost) as u64;
                Err(RowFault::RowTooLong {
                    bytes,
                    limit: self.limit,
                })
            }
        }
    }

    fn invalid(&self, problem: &'static str) -> RowFault {
        RowFault::InvalidValue {
            column: self.column.to_owned(),
            problem,
        }
    }

    fn text(&mut self, bytes: &[u8]) -> Result<Value, RowFault> {
        self.spend(bytes.len())?;
        Ok(utf8(bytes)?.into())
    }

    fn moment(&self, unit: TimeUnit, value: i64, zone: bool) -> Result<Value, RowFault> {
        let written = write_moment(value, unit, zone);
        written
            .map(Value::String)
            .ok_or_else(|| self.invalid("a timestamp outside the years 0 to 9999"))
    }

    fn value(&mut self, array: &ArrayRef, at: usize) -> Result<Value, RowFault> {
        if array.is_null(at) {
            self.spend(0)?;
            return Ok(Value::Null);
        }
        match array.data_type() {
            DataType::Utf8View => return self.text(array.as_string_view().value(at).as_bytes()),
            DataType::Utf8 => return self.text(array.as_string::<i32>().value(at).as_bytes()),
            DataType::BinaryView => return self.text(array.as_binary_view().value(at)),
            DataType::Binary => return self.text(array.as_binary::<i32>().value(at)),
            DataType::FixedSizeBinary(_) => {
                return self.text(array.as_fixed_size_binary().value(at));
            }
            _ => self.spend(0)?,
        }
        Ok(match array.data_type() {
            DataType::Boolean => array.as_boolean().value(at).into(),
            DataType::Int8 => number::<Int8Type>(array, at).into(),
            DataType::Int16 => number::<Int16Type>(array, at).into(),
            DataType::Int32 => number::<Int32Type>(array, at).into(),
            DataType::Int64 => number::<Int64Type>(array, at).into(),
            DataType::UInt8 => number::<UInt8Type>(array, at).into(),
            DataType::UInt16 => number::<UInt16Type>(array, at).into(),
            DataType::UInt32 => number::<UInt32Type>(array, at).into(),
            DataType::UInt64 => number::<UInt64Type>(array, at).into(),
            DataType::Float16 => number::<Float16Type>(array, at).to_f64().into(),
            DataType::Float32 => f64::from(number::<Float32Type>(array, at)).into(),
            DataType::Float64 => number::<Float64Type>(array, at).into(),
            DataType::Decimal128(..) => array
                .as_primitive::<Decimal128Type>()
                .value_as_string(at)
                .into(),
            DataType::Decimal256(..) => array
                .as_primitive::<Decimal256Type>()
                .value_as_string(at)
                .into(),
            DataType::Date32 => {
                let date = write_date(i64::from(number::<Date32Type>(array, at)));
                date.ok_or_else(|| self.invalid("a date outside the years 0 to 9999"))?
                    .into()
            }
            DataType::Time32(_) => {
                let value = i64::from(number::<Time32MillisecondType>(array, at));
                self.time(value, TimeUnit::Millisecond)?
            }
            DataType::Time64(TimeUnit::Nanosecond) => self.time(
                number::<Time64NanosecondType>(array, at),
                TimeUnit::Nanosecond,
            )?,
            DataType::Time64(_) => self.time(
                number::<Time64MicrosecondType>(array, at),
                TimeUnit::Microsecond,
            )?,
            DataType::Timestamp(unit, zone) => {
                let value = match unit {
                    TimeUnit::Second => number::<TimestampSecondType>(array, at),
                    TimeUnit::Millisecond => number::<TimestampMillisecondType>(array, at),
                    TimeUnit::Microsecond => number::<TimestampMicrosecondType>(array, at),
                    TimeUnit::Nanosecond => number::<TimestampNanosecondType>(array, at),
                };
                self.moment(*unit, value, zone.is_some())?
            }
            DataType::List(_) => {
                let items = array.as_list::<i32>().value(at);
                let items = (0..items.len()).map(|item| self.value(&items, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            DataType::Struct(_) => Value::Object(self.object(array.as_struct(), at)?),
            DataType::Map(..) => {
                let entries = array.as_map().value(at);
                let mut object = Row::new();
                for entry in 0..entries.len() {
                    let Value::String(key) = self.value(entries.column(0), entry)? else {
                        return Err(self.invalid("a map key that is null"));
                    };
                    object.insert(key, self.value(entries.column(1), entry)?);
                }
                Value::Object(object)
            }
            // The types that are left were refused when the file was opened.
            _ => Value::Null,
        })
    }

    fn time(&self, value: i64, unit: TimeUnit) -> Result<Value, RowFault> {
        let day = per_second(unit) * SECONDS_A_DAY;
        let valid = (0..day).contains(&value);
        let text =
            valid.then(|| write_time(value / per_second(unit), value % per_second(unit), unit));
        text.map(Value::String)
            .ok_or_else(|| self.invalid("a time of day beyond 24 hours"))
    }

    fn object(&mut self, array: &StructArray, at: usize) -> Result<Row, RowFault> {
        let mut object = Row::new();
        for (field, column) in array.fields().iter().zip(array.columns()) {
            object.insert(field.name().clone(), self.value(column, at)?);
        }
        Ok(object)
    }
}

fn number<T: ArrowPrimitiveType>(array: &ArrayRef, at: usize) -> T::Native {
    array.as_primitive::<T>().value(at)
}

const SECONDS_A_DAY: i64 = 86_400;

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn write_moment(value: i64, unit: TimeUnit, zone: bool) -> Option<String> {
    let seconds = value.div_euclid(per_second(unit));
    let date = write_date(seconds.div_euclid(SECONDS_A_DAY))?;
    let time = write_time(
        seconds.rem_euclid(SECONDS_A_DAY),
        value.rem_euclid(per_second(unit)),
        unit,
    );
    Some(format!("{date}T{time}{}", if zone { "Z" } else { "" }))
}

fn write_time(seconds: i64, fraction: i64, unit: TimeUnit) -> String {
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let digits = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    // Most timestamps of data sets are whole seconds in a column of milliseconds.
    if fraction == 0 {
        format!("{hour:02}:{minute:02}:{second:02}")
    } else {
        format!("{hour:02}:{minute:02}:{second:02}.{fraction:0digits$}")
    }
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn write_date(days: i64) -> Option<String> {
    let days = days.checked_add(719_468)?;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder};
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int32Array, MapArray, StringArray, Time64MicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, UInt8Array,
    };
    use parquet::basic::Compression as Codec;

    use super::super::tests::{Folder, parquet_of, rows, rows_with, shown};
    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap()
    }

    fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        parquet_of(&[batch(columns)], Codec::SNAPPY)
    }

    #[test]
    fn what_the_system_refuses_is_told_from_damage() {
        let folder = Folder::new();
        let bytes = file(vec![(
            "a",
            Arc::new(StringArray::from(vec!["x"; 100])) as ArrayRef,
        )]);
        let place = folder.write("x.parquet", &bytes);
        let options = ReadOptions::default();
        let block = ParquetSource::open(&place, &options)
            .unwrap()
            .next_block()
            .unwrap()
            .unwrap();
        std::fs::remove_file(&place).unwrap();
        let error = block.decode(&mut |_, _| {}).unwrap_err();
        assert!(error.is_io(), "{error}");
        // A descriptor that may not be read from stands for a disk that fails half way.
        folder.write("x.parquet", &bytes);
        let refused: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let watched = Watched {
            file: File::options().append(true).open(&place).unwrap(),
            refused: Arc::clone(&refused),
        };
        watched.get_bytes(0, 10).unwrap_err();
        assert_eq!(
            refused.lock().unwrap().take().unwrap().raw_os_error(),
            Some(9)
        );
        let mut read = watched.get_read(0).unwrap();
        read.read(&mut [0; 4]).unwrap_err();
        assert!(refused.lock().unwrap().take().is_some());
        // The end of the file is not the system's fault.
        let watched = Watched {
            file: File::open(&place).unwrap(),
            refused: Arc::clone(&refused),
        };
        watched.get_bytes(0, bytes.len() + 1).unwrap_err();
        assert!(refused.lock().unwrap().is_none());
    }

    #[test]
    fn values_of_every_kind_become_json() {
        let mut list = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
        list.values().append_value([Some("x"), None]);
        list.values().append_value([Some("y"); 0]);
        list.append(true);
        list.append(false);
        let names: ArrayRef = Arc::new(StringArray::from(vec!["n", "m"]));
        let mut counts = ListBuilder::new(Int32Builder::new());
        counts.append_value([Some(1), Some(2)]);
        counts.append_null();
        let counts: ArrayRef = Arc::new(counts.finish());
        let strukt = StructArray::try_from(vec![("name", names), ("count", counts)]).unwrap();
        let map =
            MapArray::new_from_strings(["k"].into_iter(), &Int32Array::from(vec![7]), &[0, 1, 1])
                .unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "binary",
                Arc::new(BinaryArray::from(vec![Some("é".as_bytes()), None])),
            ),
            ("bool", Arc::new(BooleanArray::from(vec![true, false]))),
            (
                "date",
                Arc::new(Date32Array::from(vec![Some(-1), Some(11_016)])),
            ),
            (
                "decimal",
                Arc::new(
                    Decimal128Array::from(vec![12_345, -5])
                        .with_precision_and_scale(10, 2)
                        .unwrap(),
                ),
            ),
            ("float", Arc::new(Float64Array::from(vec![1.5, f64::NAN]))),
            (
                "half",
                Arc::new(Float32Array::from(vec![0.5, f32::INFINITY])),
            ),
            ("list", Arc::new(list.finish())),
            ("map", Arc::new(map)),
            ("small", Arc::new(UInt8Array::from(vec![Some(255), None]))),
            ("struct", Arc::new(strukt)),
            (
                "text",
                Arc::new(StringArray::from(vec![
                    Some("a longer text than a view holds inline"),
                    Some(""),
                ])),
            ),
            (
                "time",
                Arc::new(Time64MicrosecondArray::from(vec![3_723_000_001, 0])),
            ),
            (
                "utc",
                Arc::new(
                    TimestampMillisecondArray::from(vec![1_556_197_074_000, -1])
                        .with_timezone("UTC"),
                ),
            ),
            (
                "when",
                Arc::new(TimestampNanosecondArray::from(vec![
                    1,
                    1_700_000_000_000_000_000,
                ])),
            ),
        ];
        let expected = [
            concat!(
                r#"{"binary":"é","bool":true,"date":"1969-12-31","decimal":"123.45","float":1.5,"half":0.5,"#,
                r#""list":[["x",null],[]],"map":{"k":7},"small":255,"struct":{"count":[1,2],"name":"n"},"#,
                r#""text":"a longer text than a view holds inline","time":"01:02:03.000001","#,
                r#""utc":"2019-04-25T12:57:54Z","when":"1970-01-01T00:00:00.000000001"}"#
            ),
            concat!(
                r#"{"binary":null,"bool":false,"date":"2000-02-29","decimal":"-0.05","float":null,"half":null,"#,
                r#""list":null,"map":{},"small":null,"struct":{"count":null,"name":"m"},"#,
                r#""text":"","time":"00:00:00","#,
                r#""utc":"1969-12-31T23:59:59.999Z","when":"2023-11-14T22:13:20"}"#
            ),
        ];
        assert_eq!(shown(&rows("x.parquet", &file(columns))), expected);
    }

    #[test]
    fn values_that_cannot_be_text_are_faults_of_their_row() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "bytes",
                Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"a", b"b"])),
            ),
            ("date", Arc::new(Date32Array::from(vec![0, i32::MAX, 1]))),
        ];
        let expected = [
            "invalid-utf-8",
            "invalid-value",
            r#"{"bytes":"b","date":"1970-01-02"}"#,
        ];
        assert_eq!(shown(&rows("x.parquet", &file(columns))), expected);
    }

    #[test]
    fn a_dictionary_bomb_is_too_long_a_row() {
        let mut list = ListBuilder::new(StringBuilder::new());
        let text = "x".repeat(10_000);
        list.append_value(vec![Some(text.as_str()); 5000]);
        list.append_value([Some("y")]);
        let bytes = file(vec![("list", Arc::new(list.finish()))]);
        assert!(bytes.len() < 100_000);
        let options = ReadOptions {
            max_row_bytes: 1 << 20,
            ..ReadOptions::default()
        };
        assert_eq!(
            shown(&rows_with("x.parquet", &bytes, &options)),
            ["row-too-long", r#"{"list":["y"]}"#]
        );
    }

    #[test]
    fn blocks_are_ranges_of_rows_known_from_the_metadata() {
        let texts = StringArray::from_iter_values((0..20).map(|n| format!("{n}").repeat(1000)));
        let bytes = file(vec![("text", Arc::new(texts))]);
        let folder = Folder::new();
        let path = folder.write("x.parquet", &bytes);
        let options = ReadOptions {
            block_bytes: 400,
            ..ReadOptions::default()
        };
        let mut source = open_source(&path, &options);
        let mut heads = Vec::new();
        while let Some(head) = source.skip_block().unwrap() {
            heads.push(head);
        }
        // Three row groups of at most seven rows.
        assert!(heads.len() > 3);
        assert_eq!(heads.iter().map(|head| head.rows).sum::<u64>(), 20);
        assert!(
            heads.iter().any(|head| head.first_row == 7)
                && heads.iter().any(|head| head.first_row == 14)
        );
    }

    fn open_source(path: &Path, options: &ReadOptions) -> ParquetSource {
        ParquetSource::open(path, options).unwrap()
    }

    #[test]
    fn a_file_that_changed_or_is_cut_is_named_with_its_rows() {
        let folder = Folder::new();
        let texts = StringArray::from_iter_values((0..20).map(|n| format!("{n}").repeat(100)));
        let bytes = file(vec![("text", Arc::new(texts))]);
        let path = folder.write("x.parquet", &bytes);
        let mut source = open_source(&path, &ReadOptions::default());
        let block = source.next_block().unwrap().unwrap();
        folder.write("x.parquet", &bytes[1..]);
        let error = block.decode(&mut |_, _| {}).unwrap_err().to_string();
        assert!(
            error.contains("row group 0, rows 0 to 7") && error.contains("changed"),
            "{error}"
        );
        let (_, error) = folder.read("x.parquet", b"PAR1", &ReadOptions::default());
        assert!(matches!(error, Some(ReadError::Parquet { .. })));
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        // Python: datetime.date(...).toordinal() - 719163.
        for (days, date) in [
            (0, "1970-01-01"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
            (19_782, "2024-02-29"),
        ] {
            assert_eq!(write_date(days).as_deref(), Some(date));
        }
        for days in [i64::MIN, i64::MAX, 2_932_897, -719_529] {
            assert_eq!(write_date(days), None);
        }
    }
}
