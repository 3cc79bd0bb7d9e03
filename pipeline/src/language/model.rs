//! The bytes of a model: a header as JSON, then the weights, zstd over both.
//!
//! `ANDRLANG`, the version as one byte, the header's bytes as a little-endian `u32`, the header, the tables' weights in its
//! order, one byte each: the whole after the version in one zstd frame.

use serde::{Deserialize, Serialize};

use super::Identifier;
use super::linear::{LANES, MOST_LANGUAGES, Table};
use super::script::SHARED;

const MAGIC: &[u8; 8] = b"ANDRLANG";
const VERSION: u8 = 1;
/// No model is unpacked to more: far beyond any that one would embed.
const MOST_BYTES: usize = 64 << 20;
/// log2 of the most rows of a table.
const MOST_BITS: u32 = 20;

/// Why bytes are no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// They do not begin as one.
    #[error("this is no language model of this program's format, or of a version it does not know")]
    Foreign,
    /// They cannot be unpacked.
    #[error("the language model cannot be unpacked: {0}")]
    Packed(#[from] std::io::Error),
    /// Their header says what cannot be.
    #[error("the header of the language model is damaged: {0}")]
    Header(String),
    /// They are more or fewer than the header says.
    #[error("the language model has {found} bytes of weights where its header says {expected}")]
    Size {
        /// What the header says.
        expected: usize,
        /// What is there.
        found: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    tables: Vec<TableHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableHeader {
    languages: Vec<String>,
    bits: u32,
    step: f32,
    calibration: Vec<f32>,
}

impl Identifier {
    /// Reads a model. Every count is checked before anything is made of it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let packed = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.strip_prefix(&[VERSION]))
            .ok_or(ModelError::Foreign)?;
        let unpacked = zstd::bulk::decompress(packed, MOST_BYTES)?;
        let damaged = |what: &str| ModelError::Header(what.to_owned());
        let (length, rest) = unpacked
            .split_first_chunk::<4>()
            .ok_or_else(|| damaged("it is cut short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, mut weights) = rest
            .split_at_checked(length)
            .ok_or_else(|| damaged("it is cut short"))?;
        let header: Header =
            serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
        if header.tables.len() != SHARED.len() {
            return Err(damaged("it has not one table for each shared script"));
        }
        let mut tables = Vec::new();
        for table in header.tables {
            let languages: Vec<&'static str> = table
                .languages
                .iter()
                .map(|language| known(language).ok_or_else(|| damaged("an unknown language")))
                .collect::<Result<_, _>>()?;
            if languages.is_empty() || languages.len() > MOST_LANGUAGES {
                return Err(damaged("a table has no languages, or too many"));
            }
            if table.bits == 0 || table.bits > MOST_BITS {
                return Err(damaged("a table has no rows, or too many"));
            }
            let sound = |factor: &f32| factor.is_finite() && *factor > 0.0;
            if table.calibration.is_empty()
                || !sound(&table.step)
                || !table.calibration.iter().all(sound)
            {
                return Err(damaged("a calibration is no positive number"));
            }
            let lanes = languages.len().next_multiple_of(LANES);
            let expected = languages.len() << table.bits;
            let (own, others) = weights.split_at_checked(expected).ok_or(ModelError::Size {
                expected,
                found: weights.len(),
            })?;
            weights = others;
            let mut padded = vec![0i8; lanes << table.bits];
            let rows = own.chunks(languages.len());
            for (to, from) in padded.chunks_mut(lanes).zip(rows) {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = from.cast_signed();
                }
            }
            tables.push(Table {
                languages,
                bits: table.bits,
                weights: padded,
                step: table.step,
                calibration: table.calibration,
            });
        }
        if !weights.is_empty() {
            return Err(ModelError::Size {
                expected: 0,
                found: weights.len(),
            });
        }
        Ok(Self { tables })
    }

    /// The bytes of a model, which [`Identifier::read`] reads.
    ///
    /// # Errors
    /// If they cannot be packed, for want of memory.
    pub fn write(&self) -> Result<Vec<u8>, ModelError> {
        let header = Header {
            tables: self
                .tables
                .iter()
                .map(|table| TableHeader {
                    languages: table
                        .languages
                        .iter()
                        .map(|&name| name.to_owned())
                        .collect(),
                    bits: table.bits,
                    step: table.step,
                    calibration: table.calibration.clone(),
                })
                .collect(),
        };
        let header =
            serde_json::to_vec(&header).map_err(|error| ModelError::Header(error.to_string()))?;
        let length = u32::try_from(header.len())
            .map_err(|_| ModelError::Header("it is too long".to_owned()))?;
        let mut unpacked = length.to_le_bytes().to_vec();
        unpacked.extend_from_slice(&header);
        for table in &self.tables {
            for row in table.weights.chunks(table.lanes()) {
                let own = row.iter().take(table.languages.len());
                unpacked.extend(own.map(|weight| weight.cast_unsigned()));
            }
        }
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(zstd::bulk::compress(&unpacked, 19)?);
        Ok(bytes)
    }
}

/// The program's own string of a language's code, for codes of two or three letters that it knows.
fn known(code: &str) -> Option<&'static str> {
    super::train::LANGUAGES
        .iter()
        .flat_map(|languages| languages.iter())
        .copied()
        .find(|language| *language == code)
}
