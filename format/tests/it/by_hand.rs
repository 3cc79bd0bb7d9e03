//! Shards made by a form that follows `SPEC.md` and not the crate's writer, so that the two check each other, and so that
//! there are shards the writer refuses to make: hashes and sizes suit whatever is filled in.

use std::fs;
use std::path::PathBuf;

use andromeda_format::{FormatError, Result, ShardReader};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;
use xxhash_rust::xxh64::xxh64;

use crate::page;

/// The fields of a shard, to be filled in at will; hashes and sizes are made to suit.
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    /// Compressed frames and what the seek table says of their decompressed size.
    pub(crate) frames: Vec<(Vec<u8>, u32)>,
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
    pub(crate) width: u8,
    pub(crate) flags: u8,
    pub(crate) vocab_size: u32,
    pub(crate) end_of_text: u32,
    pub(crate) frame_tokens: u32,
    pub(crate) tokens: u64,
    /// End, source, row.
    pub(crate) documents: Vec<(u64, u32, u64)>,
    pub(crate) masked: Vec<(u64, u64)>,
    pub(crate) tokenizer: [u8; 32],
}

/// A zstd frame of one raw block: what a frame is if nothing is known of compression. At most 255 bytes.
pub(crate) fn raw_frame(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![
        0x28,
        0xB5,
        0x2F,
        0xFD,
        0x24,
        u8::try_from(raw.len()).unwrap(),
    ];
    out.extend(&((raw.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    out.extend(raw);
    out.extend(&xxh64(raw, 0).to_le_bytes()[..4]);
    out
}

pub(crate) fn u16_frame(ids: &[u16]) -> (Vec<u8>, u32) {
    let raw: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    (raw_frame(&raw), raw.len() as u32)
}

impl Hand {
    /// The example of the page.
    pub(crate) fn sound() -> Self {
        Self {
            frames: vec![u16_frame(&[2, 3, 0, 5]), u16_frame(&[0])],
            magic: *b"ANDRSHRD",
            version: 1,
            width: 2,
            flags: 0,
            vocab_size: 300,
            end_of_text: 0,
            frame_tokens: 4,
            tokens: 5,
            documents: vec![(3, 0, 7), (5, 1, 8)],
            masked: vec![(0, 2)],
            tokenizer: page::NOTHING,
        }
    }

    /// The sound shard with one thing changed.
    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut hand = Self::sound();
        change(&mut hand);
        hand
    }

    /// The index frame's payload, without the hash at its end.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend([self.width, self.flags]);
        out.extend(self.vocab_size.to_le_bytes());
        out.extend(self.end_of_text.to_le_bytes());
        out.extend(self.frame_tokens.to_le_bytes());
        out.extend(self.tokens.to_le_bytes());
        for count in [self.documents.len(), self.frames.len(), self.masked.len()] {
            out.extend((count as u32).to_le_bytes());
        }
        out.extend(self.tokenizer);
        let (frames, documents) = (&self.frames, &self.documents);
        out.extend(
            frames
                .iter()
                .flat_map(|(f, _)| (f.len() as u32).to_le_bytes()),
        );
        out.extend(frames.iter().flat_map(|(f, _)| xxh3_64(f).to_le_bytes()));
        out.extend(documents.iter().flat_map(|d| d.0.to_le_bytes()));
        out.extend(documents.iter().flat_map(|d| d.1.to_le_bytes()));
        out.extend(documents.iter().flat_map(|d| d.2.to_le_bytes()));
        let masked = self.masked.iter().flat_map(|(start, end)| [start, end]);
        out.extend(masked.flat_map(|n| n.to_le_bytes()));
        out
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with(&self.payload())
    }

    /// The shard with another payload, whose hash is made to suit.
    pub(crate) fn bytes_with(&self, payload: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = self.frames.iter().flat_map(|(f, _)| f.clone()).collect();
        out.extend(0x184D_2A50_u32.to_le_bytes());
        out.extend((payload.len() as u32 + 8).to_le_bytes());
        out.extend(payload);
        out.extend(xxh3_64(payload).to_le_bytes());
        let entries = self.frames.len() as u32 + 1;
        out.extend(0x184D_2A5E_u32.to_le_bytes());
        out.extend((8 * entries + 9).to_le_bytes());
        for (frame, decompressed) in &self.frames {
            out.extend((frame.len() as u32).to_le_bytes());
            out.extend(decompressed.to_le_bytes());
        }
        out.extend((payload.len() as u32 + 16).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(entries.to_le_bytes());
        out.push(0);
        out.extend(0x8F92_EAB1_u32.to_le_bytes());
        out
    }
}

/// Bytes as the file `train-00007.zst` in a folder of its own.
pub(crate) fn on_disk(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-00007.zst");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Opens a shard and reads all of it.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<u32>> {
    let (_folder, path) = on_disk(bytes);
    let mut shard = ShardReader::open(&path)?;
    let mut ids = Vec::new();
    shard.read_tokens(0..shard.index().tokens, &mut ids)?;
    Ok(ids)
}

pub(crate) fn fault(bytes: &[u8]) -> FormatError {
    read(bytes).expect_err("the shard is wrong")
}

#[test]
fn the_form_filled_in_is_the_example_of_the_page() {
    assert_eq!(Hand::sound().bytes(), page::example());
}

#[test]
fn flags_and_wide_ids_made_by_hand_are_read() {
    let flags = Hand::with(|hand| hand.flags = 3);
    let (_folder, path) = on_disk(&flags.bytes());
    let index = ShardReader::open(&path).unwrap().index().clone();
    assert!(index.continues_from_previous && index.continues_in_next);
    let ids = [70_000u32, 5, 65_536, 1];
    let raw: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let wide = Hand::with(|hand| {
        hand.frames = vec![(raw_frame(&raw), 16)];
        hand.width = 4;
        hand.vocab_size = 70_001;
        hand.end_of_text = 1;
        hand.tokens = 4;
        hand.documents = vec![(4, 0, 0)];
    });
    assert_eq!(read(&wide.bytes()).unwrap(), ids);
}

/// Frames whose hash in the index is theirs: only the decompressor can tell. The last but one is 64 MiB of zeros in 2 KiB.
#[test]
fn a_frame_that_is_not_what_is_declared_is_damaged_whatever_its_hash() {
    let mut other_checksum = u16_frame(&[2, 3, 0, 5]).0;
    *other_checksum.last_mut().unwrap() ^= 1;
    let long = [u16_frame(&[2, 3, 0]).0, u16_frame(&[5, 0]).0].concat();
    let cut = u16_frame(&[2, 3, 0, 5]).0[..20].to_vec();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    for frame in [
        b"no zstd frame at all".to_vec(),
        Vec::new(),
        u16_frame(&[2, 3, 0]).0,
        u16_frame(&[2, 3, 0, 5, 0]).0,
        other_checksum,
        long,
        cut,
        bomb,
        // A window of 2 GiB: RFC 8878, 3.1.1.1.2.
        vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x03, 0x00, 0x00, 7],
    ] {
        let hand = Hand::with(|hand| hand.frames[0].0 = frame);
        let error = fault(&hand.bytes());
        assert!(
            matches!(error, FormatError::FrameDamaged { frame: 0, .. }),
            "{error:?}"
        );
    }
}
