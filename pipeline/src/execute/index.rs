//! The signature index of a build: of every kept document what another build needs to find its duplicates.
//!
//! It stands beside the shards as `index-00000.bin` and so on, in the form of [`Sections`](super::store::Sections): `shape`
//! (JSON), `rows` (row of each document in `documents.parquet`, u64), `hashes` (128 bits), `checks`, `urls` where they are
//! known, `signed`, `signatures` (the lower half of each minimum, then a check) and one `band-<n>` a band. With 14 bands of
//! 8 rows that is 376 bytes a document.

use std::io::BufWriter;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::finish::{FinishError, Parts};
use super::store::{SectionFile, Sections, StoreError, column_u32, column_u64};
use crate::dedup::cluster::{Method, Ordinal};
use crate::normalize::Normalize;
use crate::recipe::Recipe;

/// The section with the rows.
pub(super) const ROWS: &str = "rows";
/// Bytes of an entry of it.
pub(super) const ROW_BYTES: usize = 8;

/// Documents in a part at most: its columns are put together in memory.
const PART_DOCUMENTS: usize = 1 << 17;

/// What two builds must have in common for their documents to be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Of all below: raised when a hash is computed another way.
    version: u32,
    normalize: Normalize,
    near: Option<(usize, usize, usize)>,
}

impl Shape {
    pub(crate) fn of(recipe: &Recipe) -> Self {
        let near = recipe.dedup.near.as_ref();
        Self {
            version: 1,
            normalize: recipe.normalize,
            near: near.map(|near| (near.shingle_words, near.bands, near.rows)),
        }
    }

    /// The shape of a part.
    pub(crate) fn read(part: &Path) -> Result<Self, StoreError> {
        SectionFile::open(part)?.read_json("shape")
    }

    /// Why documents of `other` cannot be compared with those of `self`.
    pub(crate) fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.version != other.version {
            return Some("its hashes are those of another version of this program");
        }
        if self.normalize != other.normalize {
            return Some("its texts were normalized another way");
        }
        // A search for exact duplicates alone needs no signatures.
        (self.near.is_some() && self.near != other.near)
            .then_some("its signatures have another shape: [dedup.near] shingle-words, bands, rows")
    }
}

/// Whether a file of a build is a part of its index.
pub(crate) fn is_part(name: &str) -> bool {
    name.starts_with("index-") && name.ends_with(".bin")
}

#[derive(Default)]
struct Part {
    rows: Vec<u64>,
    hashes: Vec<u8>,
    checks: Vec<u64>,
    urls: Vec<u8>,
    signed: Vec<u32>,
    signatures: Vec<u8>,
    bands: Vec<Vec<u64>>,
}

impl Part {
    fn write(&mut self, shape: &Shape, path: &Path) -> Result<(), StoreError> {
        let mut sections = Sections::default();
        sections.push("shape", super::block::json(shape));
        sections.push(ROWS, column_u64(self.rows.drain(..)));
        sections.push("hashes", std::mem::take(&mut self.hashes));
        sections.push("checks", column_u64(self.checks.drain(..)));
        // Parts without a single address have no such section.
        let urls = std::mem::take(&mut self.urls);
        if urls.iter().any(|byte| *byte != 0) {
            sections.push("urls", urls);
        }
        sections.push("signed", column_u32(self.signed.drain(..)));
        sections.push("signatures", std::mem::take(&mut self.signatures));
        for (band, keys) in self.bands.iter_mut().enumerate() {
            sections.push(format!("band-{band}"), column_u64(keys.drain(..)));
        }
        let mut file = BufWriter::new(fs_err::File::create(path)?);
        sections.write(&mut file)?;
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        Ok(file.sync_all()?)
    }
}

/// Writes the index of a build's kept documents to `folder`; the names of its parts.
pub(super) fn write(parts: &Parts<'_>, folder: &Path) -> Result<Vec<String>, FinishError> {
    let dedup = &parts.plan.recipe.dedup;
    if !dedup.index {
        return Ok(Vec::new());
    }
    let shape = Shape::of(&parts.plan.recipe);
    let bands = dedup.near.as_ref().map_or(0, |near| near.bands);
    let record = dedup
        .near
        .as_ref()
        .map_or(0, |near| near.bands * near.rows * 2)
        + 8;
    let mut names = Vec::new();
    let mut part = Part {
        bands: vec![Vec::new(); bands],
        ..Part::default()
    };
    let mut flush = |part: &mut Part| -> Result<(), FinishError> {
        let name = format!("index-{:05}.bin", names.len());
        part.write(&shape, &folder.join(&name))?;
        names.push(name);
        Ok(())
    };
    for (block, encoded) in parts.survivors.blocks.iter().zip(parts.encoded) {
        let file = &block.file;
        let hashes = file.read("hashes")?;
        let checks = file.read_u64("checks")?;
        let urls = match file.has("urls") {
            true => file.read("urls")?,
            false => vec![0; hashes.len()],
        };
        let signed = file.read_u32("signed")?;
        let signatures = file.read("signatures")?;
        let keys: Vec<Vec<u64>> = (0..bands)
            .map(|band| file.read_u64(&format!("band-{band}")))
            .collect::<Result<_, _>>()?;
        let quarantined = |document: Ordinal| {
            let place = encoded.documents.binary_search(&document);
            place.is_ok_and(|place| encoded.lengths[place] == 0)
        };
        let kept = block.ordinals().filter(|document| {
            parts.clusters.method[*document as usize] == Method::Kept as u8
                && !quarantined(*document)
        });
        for document in kept {
            let local = (document - block.first) as usize;
            let number = part.rows.len() as u32;
            part.rows.push(parts.identities.row(document));
            part.hashes.extend_from_slice(&hashes[16 * local..][..16]);
            part.checks.push(checks[local]);
            part.urls.extend_from_slice(&urls[16 * local..][..16]);
            if let Ok(at) = signed.binary_search(&(document - block.first)) {
                part.signed.push(number);
                part.signatures
                    .extend_from_slice(&signatures[record * at..][..record]);
                part.bands
                    .iter_mut()
                    .zip(&keys)
                    .for_each(|(band, keys)| band.push(keys[at]));
            }
            if part.rows.len() == PART_DOCUMENTS {
                flush(&mut part)?;
            }
        }
    }
    if !part.rows.is_empty() {
        flush(&mut part)?;
    }
    Ok(names)
}
