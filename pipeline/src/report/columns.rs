//! A build's tables by column, a batch at a time.

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use fs_err::File;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::documents::TableError;

/// A table that is being read.
pub struct Table {
    reader: ParquetRecordBatchReader,
    file: PathBuf,
    columns: Vec<String>,
}

/// Some rows of it.
pub struct Batch<'a> {
    batch: RecordBatch,
    file: &'a Path,
}

impl Table {
    /// Opens the table `name` of the build in `folder` for some of its columns, or for all.
    ///
    /// # Errors
    /// It cannot be read, or is no Parquet file.
    pub fn open(folder: &Path, name: &str, columns: Option<&[&str]>) -> Result<Self, TableError> {
        let path = folder.join(name);
        let damaged = |error: parquet::errors::ParquetError| TableError::Damaged {
            file: path.clone(),
            what: error.to_string(),
        };
        let file = File::open(&path)?.into_file();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let schema = builder.schema();
        let all = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let mask = match columns {
            None => ProjectionMask::all(),
            Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
        };
        let reader = builder.with_projection(mask).with_batch_size(8192);
        Ok(Self {
            reader: reader.build().map_err(damaged)?,
            file: path,
            columns: all,
        })
    }

    /// Whether the table has a column, read or not.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// Calls `each` with the number of the first row of every batch, and the batch.
    ///
    /// # Errors
    /// The file is damaged, or `each` says so.
    pub fn for_each(
        self,
        each: &mut dyn FnMut(u64, &Batch<'_>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let mut first = 0;
        for batch in self.reader {
            let batch = batch.map_err(|error| TableError::Damaged {
                file: self.file.clone(),
                what: error.to_string(),
            })?;
            let rows = batch.num_rows() as u64;
            each(
                first,
                &Batch {
                    batch,
                    file: &self.file,
                },
            )?;
            first += rows;
        }
        Ok(())
    }
}

/// A column of words: texts, or a dictionary of them.
pub struct Words {
    values: StringArray,
    /// Places in `values`; `None` where the column is the values.
    keys: Option<Vec<Option<usize>>>,
}

impl Words {
    /// The word of a row, if it has one.
    pub fn get(&self, row: usize) -> Option<&str> {
        let at = match &self.keys {
            None => row,
            Some(keys) => keys.get(row).copied().flatten()?,
        };
        (at < self.values.len() && self.values.is_valid(at)).then(|| self.values.value(at))
    }
}

/// A column of numbers.
pub struct Numbers<T>(Vec<Option<T>>);

impl<T: Copy> Numbers<T> {
    /// The number of a row, if it has one.
    pub fn get(&self, row: usize) -> Option<T> {
        self.0.get(row).copied().flatten()
    }
}

impl Batch<'_> {
    /// Rows in it.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn missing(&self, column: &str) -> TableError {
        TableError::Damaged {
            file: self.file.to_path_buf(),
            what: format!("it has no column {column} of the type it should have"),
        }
    }

    /// A column of words.
    ///
    /// # Errors
    /// There is none of that name and type.
    pub fn words(&self, name: &str) -> Result<Words, TableError> {
        let missing = || self.missing(name);
        let column = self.batch.column_by_name(name).ok_or_else(missing)?;
        if let Some(values) = column.as_string_opt::<i32>() {
            let values = values.clone();
            return Ok(Words { values, keys: None });
        }
        let dictionary = column.as_any_dictionary_opt().ok_or_else(missing)?;
        let values = dictionary.values().as_string_opt::<i32>();
        let values = values.ok_or_else(missing)?.clone();
        // A dictionary without values has no keys to normalize.
        let keys = if values.is_empty() {
            vec![None; column.len()]
        } else {
            let keys = dictionary.normalized_keys().into_iter().enumerate();
            keys.map(|(row, key)| column.is_valid(row).then_some(key))
                .collect()
        };
        Ok(Words {
            values,
            keys: Some(keys),
        })
    }

    /// A column of 64-bit numbers.
    ///
    /// # Errors
    /// There is none of that name and type.
    pub fn longs(&self, name: &str) -> Result<Numbers<u64>, TableError> {
        let column = self.batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let column = column.ok_or_else(|| self.missing(name))?;
        Ok(Numbers(column.iter().collect()))
    }

    /// A column of 32-bit numbers.
    ///
    /// # Errors
    /// There is none of that name and type.
    pub fn shorts(&self, name: &str) -> Result<Numbers<u32>, TableError> {
        let column = self.batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<UInt32Type>());
        let column = column.ok_or_else(|| self.missing(name))?;
        Ok(Numbers(column.iter().collect()))
    }

    /// A column of 64-bit floating-point numbers.
    ///
    /// # Errors
    /// There is none of that name and type.
    pub fn doubles(&self, name: &str) -> Result<Numbers<f64>, TableError> {
        let column = self.batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Float64Type>());
        let column = column.ok_or_else(|| self.missing(name))?;
        Ok(Numbers(column.iter().collect()))
    }

    /// A column of 32-bit floating-point numbers.
    ///
    /// # Errors
    /// There is none of that name and type.
    pub fn floats(&self, name: &str) -> Result<Numbers<f32>, TableError> {
        let column = self.batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Float32Type>());
        let column = column.ok_or_else(|| self.missing(name))?;
        Ok(Numbers(column.iter().collect()))
    }
}
