//! Megatron's indexed datasets, `X.bin` and `X.idx`; [`crate::export`] has the layout. A document is the sequences between two entries
//! of the list of documents, one after another.

use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::build::BuildWriter;
use super::ids::{IdFile, IdType, PIECE};
use super::{ImportError, Input};
use crate::export::megatron::{HEAD as HEAD_BYTES, MAGIC};

const HEAD: u64 = HEAD_BYTES as u64;

/// `X.bin` and `X.idx` of either, or of `X`.
pub(super) fn pair(path: &Path) -> (PathBuf, PathBuf) {
    let ending = path.extension().and_then(|ending| ending.to_str());
    if matches!(ending, Some("bin" | "idx")) {
        return (path.with_extension("bin"), path.with_extension("idx"));
    }
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    (with(".bin"), with(".idx"))
}

/// One array of the index, read from its beginning.
struct Array {
    file: BufReader<fs_err::File>,
}

impl Array {
    fn at(path: &Path, offset: u64) -> Result<Self, ImportError> {
        let mut file = fs_err::File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            file: BufReader::with_capacity(1 << 16, file),
        })
    }

    fn i32(&mut self) -> Result<i32, ImportError> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn i64(&mut self) -> Result<i64, ImportError> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes)?;
        Ok(i64::from_le_bytes(bytes))
    }
}

/// Hands the documents of a pair of files on. `said` is the type of ids that a person said, if one did.
pub(super) fn read(
    path: &Path,
    said: Option<IdType>,
    input: &Input<'_>,
    to: &mut BuildWriter<'_>,
) -> Result<(), ImportError> {
    let (bin, idx) = pair(path);
    let wrong = |what: String| ImportError::damaged(&idx, what);
    let mut head = [0u8; HEAD_BYTES];
    let mut file = fs_err::File::open(&idx)?;
    let length = file.metadata()?.len();
    if length < HEAD {
        return Err(wrong(format!(
            "it is {length} bytes long, and the head alone has {HEAD}"
        )));
    }
    file.read_exact(&mut head)?;
    if &head[..9] != MAGIC {
        return Err(wrong(
            "it does not begin as an index of Megatron's does".to_owned(),
        ));
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    if number(9) != 1 {
        return Err(wrong(format!("it has version {}; 1 is known", number(9))));
    }
    let kind = match head[17] {
        1 => IdType::U8,
        3 => IdType::I16,
        4 => IdType::I32,
        5 => IdType::I64,
        8 => IdType::U16,
        code => {
            return Err(wrong(format!(
                "its ids have type {code}, which is none of 1 (u8), 3 (i16), 4 (i32), 5 (i64), 8 (u16)"
            )));
        }
    };
    if let Some(said) = said.filter(|said| *said != kind) {
        return Err(wrong(format!(
            "its ids are {}, not {}; leave out --dtype",
            kind.name(),
            said.name()
        )));
    }
    let (sequences, entries) = (number(18), number(26));
    // In 128 bits, so that no declared count overflows.
    let arrays = u128::from(HEAD) + u128::from(sequences) * 12 + u128::from(entries) * 8;
    if arrays + u128::from(sequences) == u128::from(length) && sequences > 0 {
        return Err(wrong(
            "its sequences have modes: it is of several modalities, of which text alone is known here"
                .to_owned(),
        ));
    }
    if arrays != u128::from(length) || entries == 0 {
        return Err(wrong(format!(
            "it is {length} bytes long, where {sequences} sequences and {entries} entries of documents take {arrays}"
        )));
    }
    let mut ids = IdFile::open(&bin, kind, input.vocab_size)?;
    let width = kind.bytes() as u64;
    let mut lengths = Array::at(&idx, HEAD)?;
    let mut places = Array::at(&idx, HEAD + 4 * sequences)?;
    let mut documents = Array::at(&idx, HEAD + 12 * sequences)?;
    if documents.i64()? != 0 {
        return Err(wrong(
            "its first document does not begin at sequence 0".to_owned(),
        ));
    }
    let mut piece = Vec::new();
    // The next sequence, and its first token.
    let (mut sequence, mut at) = (0u64, 0u64);
    for document in 1..entries {
        input.go_on()?;
        let end = documents.i64()?;
        let end = u64::try_from(end)
            .ok()
            .filter(|end| (sequence..=sequences).contains(end));
        let end = end.ok_or_else(|| {
            wrong(format!(
                "document {} does not end at a sequence from {sequence} to {sequences}",
                document - 1
            ))
        })?;
        let first = at;
        while sequence < end {
            let length = u64::try_from(lengths.i32()?)
                .map_err(|_| wrong(format!("sequence {sequence} has a length below 0")))?;
            if places.i64()? != i64::try_from(at * width).unwrap_or(-1) {
                return Err(wrong(format!(
                    "sequence {sequence} does not begin where the one before it ends, at byte {}",
                    at * width
                )));
            }
            if length > ids.tokens() - at {
                return Err(wrong(format!(
                    "sequence {sequence} of {length} tokens goes beyond the end of {}, which has {} tokens",
                    bin.display(),
                    ids.tokens()
                )));
            }
            let stop = at + length;
            while at < stop {
                let count = usize::try_from(stop - at).map_or(PIECE, |left| left.min(PIECE));
                ids.read(count, &mut piece)?;
                to.ids(&piece, None)?;
                at += count as u64;
            }
            sequence += 1;
        }
        if at == first {
            to.empty();
        } else {
            to.end()?;
        }
    }
    if sequence != sequences {
        return Err(wrong(format!(
            "its documents have {sequence} of its {sequences} sequences"
        )));
    }
    if at != ids.tokens() {
        return Err(wrong(format!(
            "its sequences have {at} tokens, and {} has {}",
            bin.display(),
            ids.tokens()
        )));
    }
    Ok(())
}
