//! nanoGPT's token files: ids without a header; a document goes on to its end of text.

use std::path::Path;

use super::build::BuildWriter;
use super::ids::{IdFile, IdType, PIECE};
use super::{ImportError, Input};

/// Hands the documents of a file on.
pub(super) fn read(
    path: &Path,
    kind: IdType,
    input: &Input<'_>,
    to: &mut BuildWriter<'_>,
) -> Result<(), ImportError> {
    let mut file = IdFile::open(path, kind, input.vocab_size)?;
    file.check_width()?;
    by_end_of_text(&mut file, input, to, |_, _| Ok(()))
}

/// Cuts ids into documents behind each end of text. `loss` tells of each piece which of its ids carry loss, and leaves the
/// flags empty where all do.
pub(super) fn by_end_of_text(
    file: &mut IdFile,
    input: &Input<'_>,
    to: &mut BuildWriter<'_>,
    mut loss: impl FnMut(usize, &mut Vec<bool>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut ids = Vec::new();
    let mut trained = Vec::new();
    let mut left = file.tokens();
    let mut open = false;
    while left > 0 {
        input.go_on()?;
        let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.read(piece, &mut ids)?;
        loss(piece, &mut trained)?;
        left -= piece as u64;
        let mut at = 0;
        for part in ids.split_inclusive(|id| *id == input.end_of_text) {
            let flags = trained.get(at..at + part.len());
            to.ids(part, flags)?;
            at += part.len();
            open = part.last() != Some(&input.end_of_text);
            if !open {
                to.end()?;
            }
        }
    }
    if open {
        to.end()?;
    }
    Ok(())
}
