//! Flipped bits of a build's files: each is found before a token that it could have changed is given.
//!
//! All of them, and 10,000 in a large build, take a minute or two and are not run by default:
//! `cargo test --release -p andromeda-format --test it flips -- --ignored --nocapture`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use andromeda_format::{
    Build, FormatError, Loader, LoaderOptions, MixtureSource, Packing, Sequence, Shuffle, Split,
    verify,
};

use crate::corpus::{Corpus, Document};
use crate::mixtures::{Made, Random, made};

/// 64 kB of files or so: shards of two splits with documents of two datasets, the manifest, the tokenizer, tables.
fn small() -> Made {
    let document = |i: u64| Document {
        split: if i % 13 == 3 {
            Split::Val
        } else {
            Split::Train
        },
        source: u32::from(i % 3 == 1),
        tokens: 20 + i * 7919 % 150,
        masked: if i % 3 == 1 { 0..10 } else { 0..0 },
    };
    made(Corpus {
        vocab_size: 50_000,
        frame_tokens: 1024,
        shard_tokens: 7000,
        documents: (0..310).map(document).collect(),
    })
}

fn flip(path: &Path, bit: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

/// Every sequence of both splits, packed either way; what is given before an error.
fn read_all(folder: &Path, given: &mut Vec<Sequence>) -> Result<(), FormatError> {
    given.clear();
    let build = Build::open(folder)?;
    for split in [Split::Train, Split::Val] {
        read_split(&build, split, given)?;
    }
    Ok(())
}

/// Windows of the whole split, and packed documents of each dataset.
fn read_split(build: &Build, split: Split, given: &mut Vec<Sequence>) -> Result<(), FormatError> {
    let options = LoaderOptions {
        shuffle: Shuffle {
            chunk_tokens: 2000,
            group_chunks: 3,
        },
        ..LoaderOptions::new(64, 1)
    };
    let packed = LoaderOptions {
        packing: Packing::BestFit,
        ..options
    };
    let datasets = ["prose", "chat"].map(|name| MixtureSource {
        build: build.clone(),
        split,
        dataset: Some(name.to_owned()),
        weight: 1,
    });
    let mut read = |mut loader: Loader| {
        for position in 0..loader.sequences() {
            let mut sequence = Sequence::default();
            loader.read(position, &mut sequence)?;
            given.push(sequence);
        }
        Ok(())
    };
    read(Loader::new(build, split, options)?)?;
    read(Loader::mixture(&datasets, packed)?)
}

/// Flips every `stride`-th bit of every file; how many.
fn flip_all(stride: u64) -> u64 {
    let made = small();
    let folder = made.build.folder().to_path_buf();
    let mut whole = Vec::new();
    read_all(&folder, &mut whole).unwrap();
    let mut by_split = [Split::Train, Split::Val].map(|split| (split, Vec::new()));
    for (split, sequences) in &mut by_split {
        read_split(&made.build, *split, sequences).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let (mut flips, mut bytes) = (0, 0);
    let mut given = Vec::new();
    for name in &names {
        let path = folder.join(name);
        let length = fs::metadata(&path).unwrap().len();
        bytes += length;
        let before = fs::read(&path).unwrap();
        for bit in (0..length * 8).step_by(usize::try_from(stride).unwrap()) {
            flip(&path, bit);
            let (read, expected) = match by_split.iter().find(|(s, _)| name.starts_with(s.name())) {
                // The manifest was read before: a flip in a shard is found by what the shard itself says.
                Some((split, expected)) => {
                    given.clear();
                    (read_split(&made.build, *split, &mut given), expected)
                }
                None => (read_all(&folder, &mut given), &whole),
            };
            let good = given
                .iter()
                .zip(expected)
                .all(|(given, whole)| given == whole);
            assert!(good, "bit {bit} of {name} changed a sequence");
            if name.ends_with(".zst") || name == "manifest.json" {
                assert!(read.is_err(), "bit {bit} of {name} was not noticed");
            } else {
                // No token depends on these; verification reads them.
                assert!(read.is_ok(), "{name}");
                let report = verify(&folder, &mut |_| {}).unwrap();
                assert_eq!(report.faults.len(), 1, "bit {bit} of {name}");
            }
            flip(&path, bit);
            flips += 1;
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    assert!((60_000..80_000).contains(&bytes), "{bytes} bytes of files");
    flips
}

#[test]
fn many_flipped_bits_are_found_before_a_token_is_given() {
    // A prime, so that every bit of a byte has its turn.
    assert!(flip_all(499) > 1000);
}

#[test]
#[ignore = "every bit of 64 kB takes minutes: see the module"]
fn every_flipped_bit_is_found_before_a_token_is_given() {
    println!("{} flips, all found", flip_all(1));
}

#[test]
#[ignore = "writes a large build: see the module"]
fn ten_thousand_flipped_bits_of_a_large_build_are_found() {
    let mut random = Random(5);
    let document = |i: u64| Document {
        split: Split::Train,
        source: u32::from(i % 3 == 1),
        tokens: 50 + i * 7919 % 3000,
        masked: 0..0,
    };
    let made = made(Corpus {
        vocab_size: 50_000,
        frame_tokens: 65_536,
        shard_tokens: 1 << 22,
        documents: (0..16_000).map(document).collect(),
    });
    let entry = &made.build.manifest().splits[&Split::Train];
    let options = LoaderOptions::new(1024, 1);
    let mut whole = Loader::new(&made.build, Split::Train, options).unwrap();
    let (mut good, mut sequence) = (Sequence::default(), Sequence::default());
    let (mut in_frames, mut in_tails) = (0, 0);
    for _ in 0..10_000 {
        let number = random.below(entry.shards.len() as u64);
        let shard = &entry.shards[usize::try_from(number).unwrap()];
        let path = made.build.folder().join(&shard.file);
        let bit = random.below(shard.bytes * 8);
        flip(&path, bit);
        match made
            .build
            .shard(Split::Train, usize::try_from(number).unwrap())
        {
            // The index or the seek table: no sequence of the shard is given.
            Err(error) => {
                assert!(!error.is_io(), "{error:?}");
                in_tails += 1;
            }
            Ok(reader) => {
                // Some frame: all sequences that need it fail, its neighbours are right.
                let bad: Vec<usize> = (0..reader.frames())
                    .filter(|f| reader.frame(*f).is_err())
                    .collect();
                assert_eq!(bad.len(), 1, "bit {bit} of {}", shard.file);
                let first = number * (1 << 22) + bad[0] as u64 * 65_536;
                let mut loader = Loader::new(&made.build, Split::Train, options).unwrap();
                for window in [first / 1024, first / 1024 + 1, first / 1024 + 20] {
                    if window < loader.sequences() && window * 1024 + 1024 >= first {
                        let error = loader.read_in_order(window, &mut sequence).unwrap_err();
                        assert!(
                            matches!(error, FormatError::FrameDamaged { .. }),
                            "{error:?}"
                        );
                    }
                }
                if let Some(before) = (first / 1024).checked_sub(2) {
                    loader.read_in_order(before, &mut sequence).unwrap();
                    whole.read_in_order(before, &mut good).unwrap();
                    assert_eq!(sequence, good);
                }
                in_frames += 1;
            }
        }
        flip(&path, bit);
    }
    println!(
        "{} tokens in {} shards: {in_frames} flips in frames, {in_tails} in indices, all found",
        entry.tokens,
        entry.shards.len()
    );
}
