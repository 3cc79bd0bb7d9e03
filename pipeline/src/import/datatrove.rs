//! datatrove's token files: `X.ds` with ids, `X.ds.index` with the end of each document in tokens as u64, and where there is loss to
//! mask, `X.ds.loss` with a byte a token, 1 where it carries loss. `X.ds.metadata`, if there is one, begins with the tokenizer's name
//! and the bytes of an id, and has the number of tokens in its second line (`pipeline/tokens/tokenizer.py` of huggingface/datatrove).

use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::build::BuildWriter;
use super::ids::{IdFile, IdType, PIECE};
use super::{ImportError, Input, nanogpt};

/// Longest metadata that is read.
const METADATA_BYTES: u64 = 1 << 16;

/// The files that belong to a `.ds` file and are there.
pub(super) fn beside(path: &Path) -> Vec<PathBuf> {
    [".index", ".loss", ".metadata"]
        .into_iter()
        .map(|ending| with(path, ending))
        .filter(|path| path.is_file())
        .collect()
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Hands the documents of a file on. `kind` is what ids are where there is no metadata, and `said` that a person said so.
pub(super) fn read(
    path: &Path,
    kind: IdType,
    said: bool,
    input: &Input<'_>,
    to: &mut BuildWriter<'_>,
) -> Result<(), ImportError> {
    let metadata = Metadata::read(&with(path, ".metadata"))?;
    let kind = match metadata.as_ref().and_then(|metadata| metadata.kind) {
        Some(stated) if said && stated != kind => {
            let what = format!(
                "it says that ids are {}, not {}",
                stated.name(),
                kind.name()
            );
            return Err(ImportError::damaged(&with(path, ".metadata"), what));
        }
        Some(stated) => stated,
        None => kind,
    };
    let mut file = IdFile::open(path, kind, input.vocab_size)?;
    file.check_width()?;
    let tokens = file.tokens();
    if let Some(listed) = metadata.and_then(|metadata| metadata.tokens)
        && listed != tokens
    {
        let what = format!(
            "it says {listed} tokens, and {} has {tokens}",
            path.display()
        );
        return Err(ImportError::damaged(&with(path, ".metadata"), what));
    }
    let mut loss = Loss::open(&with(path, ".loss"), tokens)?;
    let index = with(path, ".index");
    if !index.is_file() {
        return nanogpt::by_end_of_text(&mut file, input, to, |count, flags| {
            loss.read(count, flags)
        });
    }
    let entries = fs_err::File::open(&index)?;
    let bytes = entries.metadata()?.len();
    if bytes == 0 || !bytes.is_multiple_of(8) {
        let what = format!("its {bytes} bytes are no ends of documents of 8 bytes each");
        return Err(ImportError::damaged(&index, what));
    }
    let mut entries = BufReader::with_capacity(1 << 16, entries);
    let (mut ids, mut flags) = (Vec::new(), Vec::new());
    let mut at = 0u64;
    for number in 0..bytes / 8 {
        input.go_on()?;
        let mut end = [0; 8];
        entries.read_exact(&mut end)?;
        let end = u64::from_le_bytes(end);
        if end < at || end > tokens {
            let what = format!(
                "document {number} ends at token {end}, the one before at {at}, and there are {tokens} tokens"
            );
            return Err(ImportError::damaged(&index, what));
        }
        if end == at {
            to.empty();
            continue;
        }
        while at < end {
            let piece = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
            file.read(piece, &mut ids)?;
            loss.read(piece, &mut flags)?;
            let trained = (!flags.is_empty()).then_some(flags.as_slice());
            to.ids(&ids, trained)?;
            at += piece as u64;
        }
        to.end()?;
    }
    if at != tokens {
        let what = format!("its documents end at token {at}, and there are {tokens} tokens");
        return Err(ImportError::damaged(&index, what));
    }
    Ok(())
}

/// What a metadata file says.
struct Metadata {
    kind: Option<IdType>,
    tokens: Option<u64>,
}

impl Metadata {
    fn read(path: &Path) -> Result<Option<Self>, ImportError> {
        let file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(METADATA_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let size = lines.next().and_then(|line| line.rsplit_once('|'));
        let kind = match size.map(|(_, size)| size.trim()) {
            None => None,
            Some("2") => Some(IdType::U16),
            Some("4") => Some(IdType::U32),
            Some(other) => {
                let what = format!("it says that an id has {other:?} bytes; 2 and 4 are known");
                return Err(ImportError::damaged(path, what));
            }
        };
        let tokens = lines.next().and_then(|line| line.trim().parse().ok());
        Ok(Some(Self { kind, tokens }))
    }
}

/// A file of flags, if there is one.
struct Loss {
    path: PathBuf,
    file: Option<BufReader<fs_err::File>>,
    bytes: Vec<u8>,
}

impl Loss {
    fn open(path: &Path, tokens: u64) -> Result<Self, ImportError> {
        let file = match fs_err::File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(file) = &file {
            let bytes = file.metadata()?.len();
            if bytes != tokens {
                let what = format!("it has {bytes} bytes, one for each of {tokens} tokens");
                return Err(ImportError::damaged(path, what));
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            file: file.map(|file| BufReader::with_capacity(1 << 16, file)),
            bytes: Vec::new(),
        })
    }

    fn read(&mut self, count: usize, flags: &mut Vec<bool>) -> Result<(), ImportError> {
        flags.clear();
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        self.bytes.resize(count, 0);
        file.read_exact(&mut self.bytes)?;
        if let Some(other) = self.bytes.iter().find(|byte| **byte > 1) {
            let what = format!("it holds {other}, where a token carries loss (1) or none (0)");
            return Err(ImportError::damaged(&self.path, what));
        }
        flags.extend(self.bytes.iter().map(|byte| *byte == 1));
        Ok(())
    }
}
