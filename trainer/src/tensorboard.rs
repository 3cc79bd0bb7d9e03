//! TensorBoard's event file of a run: the numbers of `metrics.jsonl` and the samples, for whoever watches runs there.
//!
//! A file is records as `TFRecord` frames them: length (u64), its masked CRC-32C, the bytes, their masked CRC-32C, all little-endian.
//! The bytes are a protocol buffer `Event` (tensorflow/core/util/event.proto), of which few fields are needed. Records stand in the
//! order of steps, so a resumed run cuts off what came after its checkpoint and goes on.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Name of the folder in a run's folder.
pub const FOLDER: &str = "tensorboard";
/// TensorBoard takes for its own what has `tfevents` in its name.
const FILE: &str = "events.out.tfevents.0.andromeda";
/// What the first record of a file says.
const VERSION: &str = "brain.Event:2";
/// A longer record is none of ours: the longest is a sample's.
const LONGEST_RECORD: u64 = 1 << 26;

/// The open file.
#[derive(Debug)]
pub struct Events {
    file: fs_err::File,
}

impl Events {
    /// Opens the file of `run` and keeps the records up to `step`.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(run: &Path, step: u64) -> Result<Self> {
        let path = path(run);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder).map_err(Error::io("creating the events' folder"))?;
        }
        let file = fs_err::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(Error::io("opening the events"))?;
        let mut reader = BufReader::new(&file);
        let mut kept = 0;
        // What is torn or damaged belongs to steps that are made again, or ends what can be read of the file anyhow.
        while let Some(event) = record(&mut reader).map_err(Error::io("reading the events"))? {
            match step_of(&event) {
                Some(of) if of <= step => kept += event.len() as u64 + 16,
                _ => break,
            }
        }
        file.set_len(kept)
            .map_err(Error::io("cutting the events"))?;
        let mut events = Self { file };
        if kept == 0 {
            let version = Field::Bytes(VERSION.as_bytes());
            events.append(0, &[(3, version)])?;
        }
        Ok(events)
    }

    /// Appends numbers after `step` steps, each under its tag.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, number) in scalars {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what TensorBoard draws is in single precision"
            )]
            let number = *number as f32;
            let value = message(&[(1, Field::Bytes(tag.as_bytes())), (2, Field::Float(number))]);
            put(&mut summary, 1, Field::Bytes(&value));
        }
        self.append(step, &[(5, Field::Bytes(&summary))])
    }

    /// Appends a text after `step` steps.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<()> {
        const STRING: u64 = 7;
        let plugin = message(&[(1, Field::Bytes(b"text"))]);
        let metadata = message(&[(1, Field::Bytes(&plugin))]);
        let one = message(&[(1, Field::Varint(1))]);
        let shape = message(&[(2, Field::Bytes(&one))]);
        let tensor = message(&[
            (1, Field::Varint(STRING)),
            (2, Field::Bytes(&shape)),
            (8, Field::Bytes(text.as_bytes())),
        ]);
        let value = message(&[
            (1, Field::Bytes(tag.as_bytes())),
            (8, Field::Bytes(&tensor)),
            (9, Field::Bytes(&metadata)),
        ]);
        let summary = message(&[(1, Field::Bytes(&value))]);
        self.append(step, &[(5, Field::Bytes(&summary))])
    }

    /// Makes sure that all records are on disk; before a checkpoint is published.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(Error::io("writing the events"))
    }

    fn append(&mut self, step: u64, fields: &[(u64, Field<'_>)]) -> Result<()> {
        let mut event = message(&[(1, Field::Double(seconds()))]);
        if step > 0 {
            put(&mut event, 2, Field::Varint(step));
        }
        for (number, field) in fields {
            put(&mut event, *number, *field);
        }
        self.file
            .write_all(&framed(&event))
            .map_err(Error::io("writing the events"))
    }
}

/// Where the event file of the run at `run` lies.
pub fn path(run: &Path) -> PathBuf {
    run.join(FOLDER).join(FILE)
}

#[expect(
    clippy::disallowed_methods,
    reason = "when a number was measured is a part of what TensorBoard shows; nothing else is made of it"
)]
fn seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// A value of a protocol buffer's field.
#[derive(Debug, Clone, Copy)]
enum Field<'a> {
    Varint(u64),
    Double(f64),
    Float(f32),
    Bytes(&'a [u8]),
}

fn message(fields: &[(u64, Field<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, field) in fields {
        put(&mut bytes, *number, *field);
    }
    bytes
}

/// Appends a field: its number and wire type, then its value.
fn put(to: &mut Vec<u8>, number: u64, field: Field<'_>) {
    let key = number << 3;
    match field {
        Field::Varint(value) => {
            varint(to, key);
            varint(to, value);
        }
        Field::Double(value) => {
            varint(to, key | 1);
            to.extend_from_slice(&value.to_le_bytes());
        }
        Field::Bytes(value) => {
            varint(to, key | 2);
            varint(to, value.len() as u64);
            to.extend_from_slice(value);
        }
        Field::Float(value) => {
            varint(to, key | 5);
            to.extend_from_slice(&value.to_le_bytes());
        }
    }
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// Reads a varint off the front.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The step of an event, 0 where it has none; none where the bytes are no event.
fn step_of(mut event: &[u8]) -> Option<u64> {
    let mut step = 0;
    while !event.is_empty() {
        let key = take_varint(&mut event)?;
        let skipped = match key & 7 {
            0 => {
                let value = take_varint(&mut event)?;
                if key >> 3 == 2 {
                    step = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut event)?).ok()?,
            5 => 4,
            _ => return None,
        };
        event = event.get(skipped..)?;
    }
    Some(step)
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(&length).to_le_bytes());
    record.extend_from_slice(bytes);
    record.extend_from_slice(&masked(bytes).to_le_bytes());
    record
}

/// The next record; none at the end and where what follows is not whole.
fn record(reader: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let Some(length) = checked(reader, 8)? else {
        return Ok(None);
    };
    let length = <[u8; 8]>::try_from(length).map_or(u64::MAX, u64::from_le_bytes);
    if length > LONGEST_RECORD {
        return Ok(None);
    }
    checked(reader, length)
}

/// So many bytes with their checksum after them, if they are there and it is theirs.
fn checked(reader: &mut impl Read, length: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut bytes)?;
    let mut sum = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut sum)?;
    let right = bytes.len() as u64 == length && sum == masked(&bytes).to_le_bytes();
    Ok(right.then_some(bytes))
}

/// The checksum of a record: a CRC turned by 15 bits and with a constant added, since a CRC over bytes that hold CRCs is weak.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected, as in RFC 3720.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut first = 0;
    while index < table.len() {
        let mut crc: u32 = first;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[index] = crc;
        index += 1;
        first += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // RFC 3720, B.4, and the check value of CRC-32/ISCSI.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // The frame of the record that every file of TensorBoard begins with is 24 bytes long: `masked_crc32c` of its length as
        // `tensorboard` 2.21 writes it.
        let mut length = [0; 8];
        length[0] = 24;
        assert_eq!(masked(&length).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    /// The bytes of the records of a run, without their times.
    fn records(run: &Path) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(path(run)).unwrap();
        let mut reader = bytes.as_slice();
        let mut records = Vec::new();
        while let Some(record) = record(&mut reader).unwrap() {
            // Field 1, eight bytes.
            assert_eq!(record[0], 9);
            records.push(record[9..].to_vec());
        }
        assert!(reader.is_empty());
        records
    }

    #[test]
    fn records_are_the_protocol_buffers_of_the_format() {
        let run = tempfile::tempdir().unwrap();
        let mut events = Events::open(run.path(), 0).unwrap();
        events.scalars(300, &[("a", 1.5), ("b", -2.0)]).unwrap();
        events.text(300, "t", "é").unwrap();
        let records = records(run.path());
        assert_eq!(records[0], b"\x1a\x0dbrain.Event:2");
        // Step 300; a summary of two values: tag, single-precision number.
        let scalars =
            b"\x10\xac\x02\x2a\x14\x0a\x08\x0a\x01a\x15\0\0\xc0\x3f\x0a\x08\x0a\x01b\x15\0\0\0\xc0";
        assert_eq!(records[1], scalars);
        // A value with a tag, a tensor of one string and the name of the plugin that shows it.
        let text = b"\x10\xac\x02\x2a\x1d\x0a\x1b\x0a\x01t\x42\x0c\x08\x07\x12\x04\x12\x02\x08\x01\x42\x02\xc3\xa9\x4a\x08\x0a\x06\x0a\x04text";
        assert_eq!(records[2], text);
    }

    #[test]
    fn what_came_after_the_checkpoint_is_cut_off_and_damage_ends_the_file() {
        let write = |events: &mut Events, steps: std::ops::RangeInclusive<u64>| {
            for step in steps {
                events.scalars(step, &[("loss", step as f64)]).unwrap();
            }
        };
        let (whole, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&mut Events::open(whole.path(), 0).unwrap(), 1..=5);
        write(&mut Events::open(run.path(), 0).unwrap(), 1..=5);
        write(&mut Events::open(run.path(), 3).unwrap(), 4..=5);
        assert_eq!(records(whole.path()), records(run.path()));
        // A torn end.
        let bytes = std::fs::read(path(run.path())).unwrap();
        for torn in 1..40 {
            std::fs::write(path(run.path()), &bytes[..bytes.len() - torn]).unwrap();
            write(&mut Events::open(run.path(), 3).unwrap(), 4..=5);
            assert_eq!(records(whole.path()), records(run.path()));
        }
        // A bit that is another one, in the second step's record, ends what is kept. The version's record has 40 bytes.
        let mut damaged = bytes.clone();
        damaged[40 + (bytes.len() - 40) / 5 + 20] ^= 4;
        std::fs::write(path(run.path()), &damaged).unwrap();
        drop(Events::open(run.path(), 5).unwrap());
        assert_eq!(records(run.path()), records(whole.path())[..2]);
        // What is no event file is begun anew.
        std::fs::write(path(run.path()), b"nothing of the kind, but long enough").unwrap();
        drop(Events::open(run.path(), 5).unwrap());
        assert_eq!(records(run.path()).len(), 1);
    }
}
