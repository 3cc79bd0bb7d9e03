//! Parquet: a row a document, `<split>-NNNNN.parquet`.
//!
//! Columns: `ids` (list of u16 or u32), `dataset`, `row` (of the build's `documents.parquet`), `split`, and `masked`, the ranges of
//! ids that carry no loss, as structs of `start` and `end`. Words are
//! plain strings, since the library `datasets` takes no dictionaries.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use andromeda_format::{FileEntry, Split, TokenWidth};
use arrow_array::builder::{
    ArrayBuilder as _, ListBuilder, StringBuilder, StructBuilder, UInt16Builder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Fields, Schema};

use super::ExportError;
use super::walk::{Sink, Whole};
use crate::execute::tables::{BATCH_ROWS, properties};
use crate::publish::HashedFile;

/// Tokens of a file at most, but where a single document has more.
const FILE_TOKENS: u64 = 1 << 28;
/// Tokens that are held before they are written as a row group.
const GROUP_TOKENS: usize = 1 << 22;

enum Ids {
    U16(ListBuilder<UInt16Builder>),
    U32(ListBuilder<UInt32Builder>),
}

impl Ids {
    fn held(&self) -> usize {
        match self {
            Self::U16(list) => list.values_ref().len(),
            Self::U32(list) => list.values_ref().len(),
        }
    }
}

/// Writes the files of a split.
pub(super) struct Rows<'a> {
    folder: PathBuf,
    split: Split,
    datasets: Vec<&'a str>,
    schema: Arc<Schema>,
    writer: Option<ArrowWriter<HashedFile>>,
    files: Vec<FileEntry>,
    /// Tokens in the open file, those that are held among them.
    tokens: u64,
    rows: usize,
    ids: Ids,
    /// Ids of the document that is under way: it may belong into another file.
    document: Vec<u32>,
    dataset: StringBuilder,
    row: UInt64Builder,
    name: StringBuilder,
    masked: ListBuilder<StructBuilder>,
}

impl<'a> Rows<'a> {
    pub(super) fn create(
        folder: &Path,
        split: Split,
        width: TokenWidth,
        datasets: Vec<&'a str>,
    ) -> Self {
        let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let (ids, id) = match width {
            TokenWidth::U16 => (
                Ids::U16(ListBuilder::new(UInt16Builder::new())),
                DataType::UInt16,
            ),
            TokenWidth::U32 => (
                Ids::U32(ListBuilder::new(UInt32Builder::new())),
                DataType::UInt32,
            ),
        };
        let span = Fields::from(vec![
            Field::new("start", DataType::UInt32, false),
            Field::new("end", DataType::UInt32, false),
        ]);
        let schema = Schema::new(vec![
            Field::new("ids", list(id), false),
            Field::new("dataset", DataType::Utf8, false),
            Field::new("row", DataType::UInt64, false),
            Field::new("split", DataType::Utf8, false),
            Field::new("masked", list(DataType::Struct(span.clone())), false),
        ]);
        Self {
            folder: folder.to_path_buf(),
            split,
            datasets,
            schema: Arc::new(schema),
            writer: None,
            files: Vec::new(),
            tokens: 0,
            rows: 0,
            ids,
            document: Vec::new(),
            dataset: StringBuilder::new(),
            row: UInt64Builder::new(),
            name: StringBuilder::new(),
            masked: ListBuilder::new(StructBuilder::from_fields(span, 0)),
        }
    }

    pub(super) fn finish(mut self) -> Result<Vec<FileEntry>, ExportError> {
        self.close()?;
        Ok(self.files)
    }

    fn file_name(&self) -> String {
        format!("{}-{:05}.parquet", self.split.name(), self.files.len())
    }

    /// Writes the rows that are held, as a row group.
    fn flush(&mut self) -> Result<(), ExportError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let ids: ArrayRef = match &mut self.ids {
            Ids::U16(list) => Arc::new(list.finish()),
            Ids::U32(list) => Arc::new(list.finish()),
        };
        let columns: Vec<ArrayRef> = vec![
            ids,
            Arc::new(self.dataset.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.name.finish()),
            Arc::new(self.masked.finish()),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(::parquet::errors::ParquetError::from)?;
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let file = HashedFile::create(&self.folder.join(self.file_name()))?;
                ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(properties()))?
            }
        };
        writer.write(&batch)?;
        writer.flush()?;
        self.writer = Some(writer);
        Ok(())
    }

    fn close(&mut self) -> Result<(), ExportError> {
        self.flush()?;
        self.tokens = 0;
        if let Some(writer) = self.writer.take() {
            let name = self.file_name();
            self.files.push(writer.into_inner()?.finish(&name)?);
        }
        Ok(())
    }
}

impl Sink for Rows<'_> {
    fn ids(&mut self, ids: &[u32]) -> Result<(), ExportError> {
        self.document.extend_from_slice(ids);
        Ok(())
    }

    fn end(&mut self, document: &Whole<'_>) -> Result<(), ExportError> {
        let too_long = || ExportError::TooLong {
            row: document.row,
            tokens: document.tokens,
            most: i32::MAX.unsigned_abs().into(),
        };
        i32::try_from(document.tokens).map_err(|_| too_long())?;
        if self.tokens > 0 && self.tokens + document.tokens > FILE_TOKENS {
            self.close()?;
        } else if self.rows == BATCH_ROWS
            || self.rows > 0 && self.ids.held() + self.document.len() > GROUP_TOKENS
        {
            self.flush()?;
        }
        match &mut self.ids {
            Ids::U16(list) => {
                let ids = self.document.drain(..);
                list.values().extend(ids.map(|id| u16::try_from(id).ok()));
                list.append(true);
            }
            Ids::U32(list) => {
                list.values().append_slice(&self.document);
                list.append(true);
                self.document.clear();
            }
        }
        let dataset = self.datasets.get(document.source as usize);
        self.dataset
            .append_value(dataset.copied().unwrap_or_default());
        self.row.append_value(document.row);
        self.name.append_value(self.split.name());
        for span in document.masked {
            let spans = self.masked.values();
            for (field, token) in [span.start, span.end].into_iter().enumerate() {
                let token = u32::try_from(token).map_err(|_| too_long())?;
                if let Some(builder) = spans.field_builder::<UInt32Builder>(field) {
                    builder.append_value(token);
                }
            }
            spans.append(true);
        }
        self.masked.append(true);
        self.tokens += document.tokens;
        self.rows += 1;
        Ok(())
    }
}
