//! A safetensors file of somebody else's, read a tensor at a time.
//!
//! The layout: 8 bytes with the length of the header, the least significant first; the header, an object of
//! `{dtype, shape, data_offsets}` by name; the numbers, which the tensors share without a gap and without a rest.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::integrity;
use crate::error::{Error, Result};

/// The largest header that the format allows.
const LARGEST_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    F32,
    F16,
    Bf16,
    /// Of another kind, of so many bytes each; not read.
    Other(u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

#[derive(Debug)]
struct Entry {
    numbers: Numbers,
    dtype: String,
    shape: Vec<u64>,
    /// In the file.
    start: u64,
    bytes: u64,
}

/// An opened file whose header is sound.
#[derive(Debug)]
pub(super) struct TensorFile {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl TensorFile {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no header, or says what its file does not hold.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bad = |problem: String| integrity(path, problem);
        let mut file = fs_err::File::open(path).map_err(Error::io("opening the tensors"))?;
        let length = file
            .metadata()
            .map_err(Error::io("opening the tensors"))?
            .len();
        let mut eight = [0; 8];
        if length < 8 {
            return Err(bad("too short for a safetensors file".to_owned()));
        }
        file.read_exact(&mut eight)
            .map_err(Error::io("reading the tensors"))?;
        let header = u64::from_le_bytes(eight);
        if header > LARGEST_HEADER || header > length - 8 {
            return Err(bad(format!(
                "its header would be {header} bytes of {length}: no safetensors file, or one cut off"
            )));
        }
        let mut bytes = Vec::new();
        let read = (&mut file).take(header).read_to_end(&mut bytes);
        read.map_err(Error::io("reading the tensors"))?;
        let written: BTreeMap<String, Value> = serde_json::from_slice(&bytes)
            .map_err(|error| bad(format!("its header is no JSON object: {error}")))?;
        let (start, room) = (8 + header, length - 8 - header);
        let mut entries = BTreeMap::new();
        for (name, value) in written.into_iter().filter(|(name, _)| name != METADATA) {
            let entry = entry(value, start, room)
                .map_err(|problem| bad(format!("tensor {name:?}: {problem}")))?;
            entries.insert(name, entry);
        }
        // Names given twice leave a gap, since one of them is not here.
        let mut places: Vec<(u64, u64)> = entries.values().map(|at| (at.start, at.bytes)).collect();
        places.sort_unstable();
        let end = places.iter().try_fold(start, |end, &(next, bytes)| {
            (next == end).then_some(end + bytes)
        });
        if end != Some(length) {
            return Err(bad(
                "its tensors do not lie one after the other up to its end".to_owned(),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether a tensor is of this shape and of numbers that can be read.
    pub(super) fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let entry = self.entry(name)?;
        let same = entry
            .shape
            .iter()
            .copied()
            .eq(shape.iter().map(|&n| n as u64));
        if !same || matches!(entry.numbers, Numbers::Other(_)) {
            return Err(integrity(
                &self.path,
                format!(
                    "tensor {name:?} is {} {:?}, its config.json asks for F32, F16 or BF16 {shape:?}",
                    entry.dtype, entry.shape
                ),
            ));
        }
        Ok(())
    }

    /// The numbers of a tensor that was checked.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>> {
        let entry = self.entry(name)?;
        let mut file = fs_err::File::open(&self.path).map_err(Error::io("opening the tensors"))?;
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(entry.start))
            .and_then(|_| file.take(entry.bytes).read_to_end(&mut bytes));
        read.map_err(Error::io("reading the tensors"))?;
        if bytes.len() as u64 != entry.bytes {
            return Err(integrity(&self.path, "it became shorter".to_owned()));
        }
        let pairs = |bytes: &[u8], single: fn(u16) -> f32| {
            let (words, _) = bytes.as_chunks::<2>();
            words
                .iter()
                .map(|word| single(u16::from_le_bytes(*word)))
                .collect()
        };
        Ok(match entry.numbers {
            Numbers::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
            Numbers::Bf16 => pairs(&bytes, |bits| f32::from_bits(u32::from(bits) << 16)),
            Numbers::F16 => pairs(&bytes, half),
            Numbers::Other(_) => Vec::new(),
        })
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let entry = self.entries.get(name);
        entry.ok_or_else(|| integrity(&self.path, format!("it has no tensor {name:?}")))
    }
}

fn entry(value: Value, start: u64, room: u64) -> Result<Entry, String> {
    let Written {
        dtype,
        shape,
        data_offsets: [first, end],
    } = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let numbers = match dtype.as_str() {
        "F32" => Numbers::F32,
        "F16" => Numbers::F16,
        "BF16" => Numbers::Bf16,
        "F64" | "I64" | "U64" => Numbers::Other(8),
        "I32" | "U32" => Numbers::Other(4),
        "I16" | "U16" => Numbers::Other(2),
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" => Numbers::Other(1),
        _ => return Err(format!("numbers of kind {dtype:?} are not known")),
    };
    let each = match numbers {
        Numbers::F32 => 4,
        Numbers::F16 | Numbers::Bf16 => 2,
        Numbers::Other(bytes) => bytes,
    };
    let bytes = shape
        .iter()
        .try_fold(each, |product: u64, &n| product.checked_mul(n));
    let lies = end.checked_sub(first).filter(|_| end <= room);
    if lies.is_none() || bytes != lies {
        return Err(format!(
            "{dtype} {shape:?} does not lie at {first} to {end} of {room} bytes"
        ));
    }
    Ok(Entry {
        numbers,
        dtype,
        shape,
        start: start + first,
        bytes: end - first,
    })
}

/// A number of half precision (IEEE 754: sign, 5 bits of exponent, 10 of fraction), which single precision has all of.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        // So many times 2^-24, which is exact.
        0 => fraction as f32 * 2f32.powi(-24),
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 1);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<TensorFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        std::fs::write(&path, bytes).unwrap();
        TensorFile::open(&path)
    }

    #[test]
    fn headers_that_do_not_fit_their_file_are_refused() {
        let whole = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
        let opened = open(&file(whole, 8)).unwrap();
        opened.check("a", &[2, 1]).unwrap();
        for shape in [&[1, 2][..], &[2], &[]] {
            assert_eq!(opened.check("a", shape).unwrap_err().exit_code(), 30);
        }
        assert!(opened.check("b", &[2, 1]).is_err());
        let entry = |text: &str| format!("{{\"a\":{text}}}");
        let at = |shape: &str, offsets: &str| {
            entry(&format!(
                "{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}"
            ))
        };
        for (header, data) in [
            (whole.to_owned(), 7),
            (whole.to_owned(), 9),
            (at("[2]", "[0,7]"), 8),
            (at("[2]", "[8,0]"), 8),
            (at("[2]", "[4,12]"), 12),
            (at("[2]", "[0,18446744073709551615]"), 8),
            (at("[2]", "[18446744073709551608,18446744073709551615]"), 8),
            (at("[4611686018427387905]", "[0,4]"), 4),
            (at("[4294967296,4294967296,4294967296]", "[0,0]"), 0),
            (at("[-2]", "[0,8]"), 8),
            (at("[2]", "[0]"), 8),
            (entry("{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}"), 8),
            (entry("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}"), 8),
            (entry("[]"), 0),
            ("[]".to_owned(), 0),
            ("{".to_owned(), 0),
            // The same bytes for two names, and one name twice.
            (
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#.to_owned(),
                4,
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#.to_owned(),
                8,
            ),
        ] {
            let error = open(&file(&header, data)).unwrap_err();
            assert_eq!(error.exit_code(), 30, "{header}: {error}");
        }
        let mut long = file(whole, 8);
        for length in [u64::MAX, 1 << 63, LARGEST_HEADER + 1, 200, 0] {
            long[..8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(open(&long).unwrap_err().exit_code(), 30, "{length}");
        }
        for cut in 0..8 + whole.len() {
            assert!(open(&file(whole, 8)[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn half_precision_is_read_exactly() {
        // IEEE 754 binary16: the smallest, the largest below one, the largest, those that have a name.
        for (bits, value) in [
            (0x0000, 0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x3bff, 0.999_511_7),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan() && half(0x7c01).is_nan());
        assert_eq!(half(0x8000).to_bits(), (-0.0f32).to_bits());
    }
}
