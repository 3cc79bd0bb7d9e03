//! The build's tables: every input document with what became of it, every duplicate with its kept twin, and samples of what
//! was not kept.
//!
//! Parquet with zstd, written row group by row group in plan order, so that any tool can ask it anything and equal builds
//! have equal bytes.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    Float32Builder, Float64Builder, StringBuilder, StringDictionaryBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use fs_err::File;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::analysis::signals::Signal;

/// One input document.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DocumentRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its dataset.
    pub dataset: &'a str,
    /// The file it was in.
    pub file: &'a str,
    /// Its row in that file.
    pub file_row: u64,
    /// Bytes of its normalized text.
    pub bytes: u64,
    /// Bytes that were cut from it, if it was kept and something was.
    pub trimmed_bytes: Option<u64>,
    /// `kept`, `dropped`, `duplicate` or `quarantined`.
    pub verdict: &'a str,
    /// Why, unless it was kept.
    pub reason: Option<&'a str>,
    /// Row of the first document of its cluster, if it was compared with others.
    pub cluster: Option<u64>,
    /// Documents in that cluster.
    pub cluster_documents: Option<u32>,
    /// Row of the copy that was kept instead of it.
    pub kept: Option<u64>,
    /// The build whose table has that row, if it is another one.
    pub kept_build: Option<&'a str>,
    /// How alike the two are; 1 for equal texts.
    pub similarity: Option<f32>,
    /// `train`, `val` or `test`.
    pub split: Option<&'a str>,
    /// File of the shard where its first token is.
    pub shard: Option<&'a str>,
    /// Place of that token in the shard.
    pub token: Option<u64>,
    /// Its tokens, end of text included.
    pub tokens: Option<u32>,
    /// Fields of its row that its manifest keeps, as a JSON object.
    pub meta: Option<&'a str>,
    /// Its language, as the model calls it.
    pub language: Option<&'a str>,
    /// How sure that is.
    pub language_score: Option<f32>,
    /// Bytes of its lines in other languages.
    pub other_language_bytes: Option<u64>,
    /// What a classifier says of its quality.
    pub quality_score: Option<f32>,
    /// Statistics that the recipe asks for, in its order; none where one is no number.
    pub signals: &'a [f64],
    /// Personal data that was replaced in it: how many by kind, as a JSON object.
    pub pii: Option<&'a str>,
    /// What the rule found that dropped it: the entry of a list, a name, a value.
    pub evidence: Option<&'a str>,
}

/// Columns that only some builds have in their table of documents: without, it is what it was before there were such.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// Whether the build cuts from its documents.
    pub trims: bool,
    /// Whether it replaces personal data.
    pub pii: bool,
    /// Whether it has rules that say what they found.
    pub evidence: bool,
    /// Statistics of its documents.
    pub signals: Vec<Signal>,
    /// Languages.
    pub language: bool,
    /// Languages of lines.
    pub other_language: bool,
    /// Scores of a classifier.
    pub quality: bool,
}

/// One duplicate.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DuplicateRow<'a> {
    /// Id of the document that was dropped.
    pub dropped: &'a str,
    /// Id of the one that was kept.
    pub kept: &'a str,
    /// The build that it is in, if that is another one.
    pub kept_build: Option<&'a str>,
    /// How alike the two are; 1 for equal texts. Nothing where one of them has no signature.
    pub similarity: Option<f32>,
    /// `exact`, `near` or `url`.
    pub method: &'a str,
    /// Row of the first document of their cluster.
    pub cluster: u64,
    /// Documents in their cluster.
    pub cluster_documents: u32,
}

/// Rows are handed to the writer in batches of this many; row groups have eight of them.
pub(crate) const BATCH_ROWS: usize = 1 << 14;

pub(crate) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(
            ZstdLevel::try_new(3).expect("level 3 exists"),
        ))
        .set_max_row_group_row_count(Some(8 * BATCH_ROWS))
        .set_created_by(format!("andromeda {}", env!("CARGO_PKG_VERSION")))
        .build()
}

pub(crate) type Words = StringDictionaryBuilder<Int32Type>;

pub(crate) fn word() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Writes `documents.parquet`.
pub(crate) struct DocumentsWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    rows: usize,
    id: StringBuilder,
    dataset: Words,
    file: Words,
    file_row: UInt64Builder,
    bytes: UInt64Builder,
    trimmed_bytes: Option<UInt64Builder>,
    language: Option<(Words, Float32Builder)>,
    other_language_bytes: Option<UInt64Builder>,
    quality_score: Option<Float32Builder>,
    verdict: Words,
    reason: Words,
    cluster: UInt64Builder,
    cluster_documents: UInt32Builder,
    kept: UInt64Builder,
    kept_build: Words,
    similarity: Float32Builder,
    split: Words,
    shard: Words,
    token: UInt64Builder,
    tokens: UInt32Builder,
    meta: StringBuilder,
    /// In the tables of builds that replace personal data.
    pii: Option<StringBuilder>,
    evidence: Option<StringBuilder>,
    signals: Vec<Float64Builder>,
}

impl DocumentsWriter {
    /// Creates the file.
    pub(crate) fn create(path: &Path, columns: &Columns) -> Result<Self, ParquetError> {
        let field = |name: &str, kind: DataType, nullable: bool| Field::new(name, kind, nullable);
        let mut fields = vec![
            field("id", DataType::Utf8, false),
            field("dataset", word(), false),
            field("file", word(), false),
            field("file_row", DataType::UInt64, false),
            field("bytes", DataType::UInt64, false),
            field("verdict", word(), false),
            field("reason", word(), true),
            field("cluster", DataType::UInt64, true),
            field("cluster_documents", DataType::UInt32, true),
            field("kept", DataType::UInt64, true),
            field("kept_build", word(), true),
            field("similarity", DataType::Float32, true),
            field("split", word(), true),
            field("shard", word(), true),
            field("token", DataType::UInt64, true),
            field("tokens", DataType::UInt32, true),
            field("meta", DataType::Utf8, true),
        ];
        if columns.trims {
            fields.insert(5, field("trimmed_bytes", DataType::UInt64, true));
        }
        if columns.language {
            fields.push(field("language", word(), true));
            fields.push(field("language_score", DataType::Float32, true));
        }
        if columns.other_language {
            fields.push(field("other_language_bytes", DataType::UInt64, true));
        }
        if columns.quality {
            fields.push(field("quality_score", DataType::Float32, true));
        }
        if columns.pii {
            fields.push(field("pii", DataType::Utf8, true));
        }
        if columns.evidence {
            fields.push(field("evidence", DataType::Utf8, true));
        }
        for signal in &columns.signals {
            fields.push(field(&signal.column(), DataType::Float64, true));
        }
        let schema = Arc::new(Schema::new(fields));
        let file = File::create(path)?;
        Ok(Self {
            writer: ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()))?,
            schema,
            rows: 0,
            signals: columns
                .signals
                .iter()
                .map(|_| Float64Builder::new())
                .collect(),
            id: StringBuilder::new(),
            dataset: Words::new(),
            file: Words::new(),
            file_row: UInt64Builder::new(),
            bytes: UInt64Builder::new(),
            trimmed_bytes: columns.trims.then(UInt64Builder::new),
            language: columns
                .language
                .then(|| (Words::new(), Float32Builder::new())),
            other_language_bytes: columns.other_language.then(UInt64Builder::new),
            quality_score: columns.quality.then(Float32Builder::new),
            verdict: Words::new(),
            reason: Words::new(),
            cluster: UInt64Builder::new(),
            cluster_documents: UInt32Builder::new(),
            kept: UInt64Builder::new(),
            kept_build: Words::new(),
            similarity: Float32Builder::new(),
            split: Words::new(),
            shard: Words::new(),
            token: UInt64Builder::new(),
            tokens: UInt32Builder::new(),
            meta: StringBuilder::new(),
            pii: columns.pii.then(StringBuilder::new),
            evidence: columns.evidence.then(StringBuilder::new),
        })
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &DocumentRow<'_>) -> Result<(), ParquetError> {
        self.id.append_value(row.id);
        self.dataset.append_value(row.dataset);
        self.file.append_value(row.file);
        self.file_row.append_value(row.file_row);
        self.bytes.append_value(row.bytes);
        if let Some(column) = &mut self.trimmed_bytes {
            column.append_option(row.trimmed_bytes);
        }
        if let Some((language, score)) = &mut self.language {
            language.append_option(row.language);
            score.append_option(row.language_score);
        }
        if let Some(column) = &mut self.other_language_bytes {
            column.append_option(row.other_language_bytes);
        }
        if let Some(column) = &mut self.quality_score {
            column.append_option(row.quality_score);
        }
        self.verdict.append_value(row.verdict);
        self.reason.append_option(row.reason);
        self.cluster.append_option(row.cluster);
        self.cluster_documents.append_option(row.cluster_documents);
        self.kept.append_option(row.kept);
        self.kept_build.append_option(row.kept_build);
        self.similarity.append_option(row.similarity);
        self.split.append_option(row.split);
        self.shard.append_option(row.shard);
        self.token.append_option(row.token);
        self.tokens.append_option(row.tokens);
        self.meta.append_option(row.meta);
        if let Some(column) = &mut self.pii {
            column.append_option(row.pii);
        }
        if let Some(column) = &mut self.evidence {
            column.append_option(row.evidence);
        }
        for (column, value) in self.signals.iter_mut().zip(row.signals) {
            column.append_option(Some(*value).filter(|value| !value.is_nan()));
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.id.finish()),
            Arc::new(self.dataset.finish()),
            Arc::new(self.file.finish()),
            Arc::new(self.file_row.finish()),
            Arc::new(self.bytes.finish()),
            Arc::new(self.verdict.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.cluster.finish()),
            Arc::new(self.cluster_documents.finish()),
            Arc::new(self.kept.finish()),
            Arc::new(self.kept_build.finish()),
            Arc::new(self.similarity.finish()),
            Arc::new(self.split.finish()),
            Arc::new(self.shard.finish()),
            Arc::new(self.token.finish()),
            Arc::new(self.tokens.finish()),
            Arc::new(self.meta.finish()),
        ];
        if let Some(column) = &mut self.trimmed_bytes {
            columns.insert(5, Arc::new(column.finish()));
        }
        if let Some((language, score)) = &mut self.language {
            columns.push(Arc::new(language.finish()));
            columns.push(Arc::new(score.finish()));
        }
        if let Some(column) = &mut self.other_language_bytes {
            columns.push(Arc::new(column.finish()));
        }
        if let Some(column) = &mut self.quality_score {
            columns.push(Arc::new(column.finish()));
        }
        for column in [&mut self.pii, &mut self.evidence].into_iter().flatten() {
            columns.push(Arc::new(column.finish()));
        }
        for column in &mut self.signals {
            columns.push(Arc::new(column.finish()));
        }
        self.writer
            .write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Writes the rest, the footer, and syncs.
    pub(crate) fn finish(mut self) -> Result<(), ParquetError> {
        self.flush()?;
        Ok(self.writer.into_inner()?.sync_all()?)
    }
}

/// Writes `duplicates.parquet`.
pub(crate) struct DuplicatesWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    rows: usize,
    dropped: StringBuilder,
    kept: StringBuilder,
    kept_build: Words,
    similarity: Float32Builder,
    method: Words,
    cluster: UInt64Builder,
    cluster_documents: UInt32Builder,
}

impl DuplicatesWriter {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> Result<Self, ParquetError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("dropped", DataType::Utf8, false),
            Field::new("kept", DataType::Utf8, false),
            Field::new("kept_build", word(), true),
            Field::new("similarity", DataType::Float32, true),
            Field::new("method", word(), false),
            Field::new("cluster", DataType::UInt64, false),
            Field::new("cluster_documents", DataType::UInt32, false),
        ]));
        Ok(Self {
            writer: ArrowWriter::try_new(
                File::create(path)?,
                Arc::clone(&schema),
                Some(properties()),
            )?,
            schema,
            rows: 0,
            dropped: StringBuilder::new(),
            kept: StringBuilder::new(),
            kept_build: Words::new(),
            similarity: Float32Builder::new(),
            method: Words::new(),
            cluster: UInt64Builder::new(),
            cluster_documents: UInt32Builder::new(),
        })
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &DuplicateRow<'_>) -> Result<(), ParquetError> {
        self.dropped.append_value(row.dropped);
        self.kept.append_value(row.kept);
        self.kept_build.append_option(row.kept_build);
        self.similarity.append_option(row.similarity);
        self.method.append_value(row.method);
        self.cluster.append_value(row.cluster);
        self.cluster_documents.append_value(row.cluster_documents);
        self.rows += 1;
        if self.rows == BATCH_ROWS {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.dropped.finish()),
            Arc::new(self.kept.finish()),
            Arc::new(self.kept_build.finish()),
            Arc::new(self.similarity.finish()),
            Arc::new(self.method.finish()),
            Arc::new(self.cluster.finish()),
            Arc::new(self.cluster_documents.finish()),
        ];
        self.writer
            .write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Writes the rest, the footer, and syncs.
    pub(crate) fn finish(mut self) -> Result<(), ParquetError> {
        self.flush()?;
        Ok(self.writer.into_inner()?.sync_all()?)
    }
}

/// A sample of what was not kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RejectRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its dataset.
    pub dataset: &'a str,
    /// The file it was in.
    pub file: &'a str,
    /// Its row in that file.
    pub file_row: u64,
    /// Its row in the table of documents.
    pub document: u64,
    /// Why it was not kept.
    pub reason: &'a str,
    /// The values that caused it.
    pub evidence: Option<&'a str>,
    /// The beginning of its text; nothing where the row is no document.
    pub text: Option<&'a str>,
}

/// Writes `rejects.parquet`: few rows, so all of them at once.
pub(crate) struct RejectsWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    id: StringBuilder,
    dataset: Words,
    file: Words,
    file_row: UInt64Builder,
    document: UInt64Builder,
    reason: Words,
    evidence: StringBuilder,
    text: StringBuilder,
}

impl RejectsWriter {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> Result<Self, ParquetError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("dataset", word(), false),
            Field::new("file", word(), false),
            Field::new("file_row", DataType::UInt64, false),
            Field::new("document", DataType::UInt64, false),
            Field::new("reason", word(), false),
            Field::new("evidence", DataType::Utf8, true),
            Field::new("text", DataType::Utf8, true),
        ]));
        Ok(Self {
            writer: ArrowWriter::try_new(
                File::create(path)?,
                Arc::clone(&schema),
                Some(properties()),
            )?,
            schema,
            id: StringBuilder::new(),
            dataset: Words::new(),
            file: Words::new(),
            file_row: UInt64Builder::new(),
            document: UInt64Builder::new(),
            reason: Words::new(),
            evidence: StringBuilder::new(),
            text: StringBuilder::new(),
        })
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &RejectRow<'_>) -> Result<(), ParquetError> {
        self.id.append_value(row.id);
        self.dataset.append_value(row.dataset);
        self.file.append_value(row.file);
        self.file_row.append_value(row.file_row);
        self.document.append_value(row.document);
        self.reason.append_value(row.reason);
        self.evidence.append_option(row.evidence);
        self.text.append_option(row.text);
        Ok(())
    }

    /// Writes the rows, the footer, and syncs.
    pub(crate) fn finish(mut self) -> Result<(), ParquetError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.id.finish()),
            Arc::new(self.dataset.finish()),
            Arc::new(self.file.finish()),
            Arc::new(self.file_row.finish()),
            Arc::new(self.document.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.evidence.finish()),
            Arc::new(self.text.finish()),
        ];
        self.writer
            .write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        Ok(self.writer.into_inner()?.sync_all()?)
    }
}
