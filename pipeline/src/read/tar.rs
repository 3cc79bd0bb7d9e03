//! Every regular file of a tar archive as one row: `text`, and `path`, the entry's name.
//!
//! The headers are read with the `tar` crate, the archive is walked here: its own iterator keeps a long name or a pax
//! record of any size in memory. Names are data and never become paths. Links, folders and devices are no rows.
//! Compressed entries and archives inside the archive are faults; they are not opened.

use tar::{EntryType, Header, PaxExtensions};

use super::bytes::Bytes;
use super::rows::{Cut, RowBuffer};
use super::text::Texts;
use super::{Projection, ReadError, RowFault};

const RECORD_BYTES: usize = 512;
/// Far above what any file system allows in a path.
const MAX_NAME_BYTES: u64 = 1 << 20;
const ARCHIVES: [&str; 9] = [".xz", ".gz", ".zip", ".zst", ".bz2", ".tar", ".tgz", ".7z", ".lzma"];

pub(super) struct Entries {
    bytes: Bytes,
    projection: Projection,
    /// Names of the rows of the block being gathered.
    names: Vec<Vec<u8>>,
    done: bool,
}

/// What extension headers say of the entry that follows them.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Entries {
    pub(super) fn new(bytes: Bytes, projection: Projection) -> Self {
        Self { bytes, projection, names: Vec::new(), done: false }
    }

    fn fault(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Tar { path: self.bytes.path().to_owned(), offset: self.bytes.offset(), problem: problem.into() }
    }

    /// The next header, or `None` at the end mark.
    fn header(&mut self) -> Result<Option<Header>, ReadError> {
        let mut record = [0; RECORD_BYTES];
        if self.bytes.read_full(&mut record)? < RECORD_BYTES {
            return Err(self.bytes.truncated("a tar archive"));
        }
        if record.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&record);
        let declared = header.cksum().map_err(|error| self.fault(error.to_string()))?;
        // POSIX ustar: the sum of the header's bytes, its own field counted as blanks.
        let sum: u32 = record.iter().enumerate().map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        }).sum();
        if sum != declared {
            return Err(self.fault("checksum does not match; the file is damaged or no tar archive"));
        }
        Ok(Some(header.clone()))
    }

    /// Passes an entry's content to `take` and leaves its padding behind.
    fn pass(&mut self, size: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let mut left = size;
        let padding = size.wrapping_neg() % RECORD_BYTES as u64;
        for (amount, wanted) in [(&mut left, true), (&mut { padding }, false)] {
            while *amount > 0 {
                let piece = self.bytes.fill()?;
                if piece.is_empty() {
                    return Err(self.bytes.truncated("a tar entry"));
                }
                let taken = usize::try_from(*amount).unwrap_or(usize::MAX).min(piece.len());
                if wanted {
                    take(&piece[..taken]);
                }
                self.bytes.consume(taken);
                *amount -= taken as u64;
            }
        }
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        if size > MAX_NAME_BYTES {
            return Err(self.fault(format!("an extension header of {size} bytes")));
        }
        let mut held = Vec::new();
        self.pass(size, &mut |piece| held.extend_from_slice(piece))?;
        Ok(held)
    }

    fn pax(&mut self, size: u64, ahead: &mut Ahead) -> Result<(), ReadError> {
        let held = self.extension(size)?;
        for record in PaxExtensions::new(&held) {
            let record = record.map_err(|error| self.fault(error.to_string()))?;
            match record.key_bytes() {
                b"path" => ahead.name = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let value = record.value().ok().and_then(|value| value.parse().ok());
                    ahead.size = Some(value.ok_or_else(|| self.fault("a pax size that is no number"))?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Cut for Entries {
    type Content = Texts;

    fn next_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError> {
        let mut ahead = Ahead::default();
        while !self.done {
            let Some(header) = self.header()? else {
                self.done = true;
                break;
            };
            let declared = header.entry_size().map_err(|error| self.fault(error.to_string()))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let mut name = self.extension(declared)?;
                    if name.last() == Some(&0) {
                        name.pop();
                    }
                    ahead.name = Some(name);
                }
                EntryType::XHeader => self.pax(declared, &mut ahead)?,
                EntryType::GNULongLink | EntryType::XGlobalHeader => {
                    self.extension(declared)?;
                }
                EntryType::Regular | EntryType::Continuous => {
                    let name = ahead.name.take().unwrap_or_else(|| header.path_bytes().into_owned());
                    let size = ahead.size.take().unwrap_or(declared);
                    // Before ustar a folder was a file with a slash at the end of its name.
                    let folder = name.ends_with(b"/");
                    let nested = is_archive(&name);
                    self.pass(size, &mut |piece| {
                        if !nested && !folder {
                            rows.push(piece);
                        }
                    })?;
                    if folder {
                        continue;
                    }
                    if nested {
                        rows.fail_row(RowFault::NestedArchive { name: String::from_utf8_lossy(&name).into_owned() });
                    } else {
                        rows.end_row();
                    }
                    self.names.push(name);
                    return Ok(true);
                }
                EntryType::GNUSparse => return Err(self.fault("a sparse entry, which is not read")),
                // A link's size field counts no content, whatever it says.
                EntryType::Link | EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Fifo
                | EntryType::Directory => ahead = Ahead::default(),
                _ => {
                    self.pass(ahead.size.take().unwrap_or(declared), &mut |_| {})?;
                    ahead = Ahead::default();
                }
            }
        }
        Ok(false)
    }

    fn content(&mut self, rows: RowBuffer) -> Texts {
        Texts { rows, names: std::mem::take(&mut self.names), projection: self.projection.clone() }
    }
}

fn is_archive(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    ARCHIVES.iter().any(|ending| lower.ends_with(ending.as_bytes()))
}
