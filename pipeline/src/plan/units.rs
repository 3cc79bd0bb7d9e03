//! Files become units of work: one a file, or several small text files together.

use std::path::Path;

use super::Unit;
use crate::digest::Digest;
use crate::read::{Compression, FileFormat, ReadOptions, Share};
use crate::source::PlannedFile;

/// Small files are read together until they weigh about this much.
const GROUP_BYTES: u64 = 8 << 20;

/// One unit a file, but small whole-document files in groups. A group ends at a file chosen by the hash of its path, so
/// that one more file changes one group and not all after it. The error is the path whose format is unknown.
pub(super) fn units(
    files: Vec<PlannedFile>,
    read: &ReadOptions,
    share: Option<Share>,
) -> Result<Vec<Unit>, String> {
    let mut units = Vec::new();
    let mut group: Vec<PlannedFile> = Vec::new();
    let mut weight = 0;
    for file in files {
        let path = Path::new(&file.path);
        let format = read
            .format
            .or(FileFormat::from_path(path).map(|(format, _)| format))
            .ok_or_else(|| file.path.clone())?;
        let compression = read
            .compression
            .unwrap_or_else(|| Compression::from_path(path));
        if format == FileFormat::Text && compression == Compression::None {
            weight += file.bytes;
            let ends = xxhash_rust::xxh3::xxh3_64(file.path.as_bytes()).is_multiple_of(16);
            group.push(file);
            if (weight >= GROUP_BYTES && ends) || weight >= 4 * GROUP_BYTES {
                units.push(unit(
                    std::mem::take(&mut group),
                    FileFormat::Text,
                    Compression::None,
                    None,
                ));
                weight = 0;
            }
        } else {
            units.push(unit(vec![file], format, compression, share));
        }
    }
    if !group.is_empty() {
        units.push(unit(group, FileFormat::Text, Compression::None, None));
    }
    units.sort_by(|a, b| a.files[0].path.cmp(&b.files[0].path));
    Ok(units)
}

fn unit(
    files: Vec<PlannedFile>,
    format: FileFormat,
    compression: Compression,
    share: Option<Share>,
) -> Unit {
    let whole = Digest::of_value(&(
        files
            .iter()
            .map(|file| (&file.path, &file.digest))
            .collect::<Vec<_>>(),
        format!("{format:?}"),
        format!("{compression:?}"),
    ));
    let digest = match share {
        None => whole,
        Some(share) => Digest::of_value(&(whole, share)),
    };
    Unit {
        files,
        format,
        compression,
        share,
        digest,
    }
}
