//! Builds of every version of the format are kept and read for ever; the writer of today writes those of its version again,
//! byte for byte.

use std::path::{Path, PathBuf};

use andromeda_format::{Build, Loader, LoaderOptions, Sequence, Split, TokenWidth, verify};

use crate::corpus::Corpus;

const VOCABULARIES: [(&str, u32, TokenWidth); 2] = [
    ("narrow", 300, TokenWidth::U16),
    ("wide", 70_000, TokenWidth::U32),
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/v1")
        .join(name)
}

#[test]
fn builds_of_version_1_are_read() {
    for (name, vocab_size, width) in VOCABULARIES {
        let report = verify(&golden(name), &mut |_| {}).unwrap();
        assert_eq!(report.faults, []);
        let build = Build::open(&golden(name)).unwrap();
        let manifest = build.manifest();
        assert_eq!((manifest.version, manifest.token_width), (1, width));
        let corpus = Corpus::small(vocab_size);
        for split in [Split::Train, Split::Val] {
            let mut loader = Loader::new(&build, split, LoaderOptions::new(8, 0)).unwrap();
            let (ids, loss) = (corpus.tokens(split), corpus.loss(split));
            let mut sequence = Sequence::default();
            for window in 0..loader.sequences() {
                loader.read_in_order(window, &mut sequence).unwrap();
                let first = window as usize * 8;
                assert_eq!(sequence.ids, &ids[first..first + 9]);
                assert_eq!(sequence.loss, &loss[first + 1..first + 9]);
            }
        }
    }
}

/// One number for every byte: what is read from a build of version 1 has these roots for ever.
#[test]
fn the_golden_builds_are_those_that_were_written() {
    for (name, root) in [
        (
            "narrow",
            "fa7c52a9b63881c0e64e8009dd4e06376156ade222567663927858eb01cc1680",
        ),
        (
            "wide",
            "44ddb217f1e48641290199f4a5d80740a1b47ef120f6e1226c2f16724118eb9a",
        ),
    ] {
        let build = Build::open(&golden(name)).unwrap();
        assert_eq!(build.manifest().root, root);
    }
}

/// The numbers are those of a Python program written from `SPEC.md` alone, with the `xxhash` package.
#[test]
fn the_order_of_sequences_is_the_specified_one() {
    let orders = [
        (
            "narrow",
            [2, 77, 30, 91, 21, 38, 59, 11],
            [10, 85, 45, 79],
            16,
        ),
        (
            "wide",
            [29, 71, 18, 62, 69, 16, 70, 73],
            [74, 44, 10, 84],
            73,
        ),
    ];
    for (name, first, second_epoch, at_the_end) in orders {
        let build = Build::open(&golden(name)).unwrap();
        let options = LoaderOptions::new(8, 5);
        let mut loader = Loader::new(&build, Split::Train, options).unwrap();
        assert_eq!(loader.sequences(), 94);
        let mut sequence = Sequence::default();
        let mut window = |position| {
            loader.read(position, &mut sequence).unwrap();
            sequence.first_token / 8
        };
        assert_eq!((0..8).map(&mut window).collect::<Vec<_>>(), first);
        assert_eq!((94..98).map(&mut window).collect::<Vec<_>>(), second_epoch);
        assert_eq!(window(u64::MAX), at_the_end);
    }
}

/// A failure here without a change of the format means that another zstd compresses otherwise: then, and only then, write
/// the golden builds again.
#[test]
fn todays_writer_writes_version_1_byte_for_byte() {
    for (name, vocab_size, _) in VOCABULARIES {
        let folder = tempfile::tempdir().unwrap();
        Corpus::small(vocab_size).write(folder.path());
        let names = |folder: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(folder.path()), names(&golden(name)));
        for file in names(folder.path()) {
            let (today, then) = (
                std::fs::read(folder.path().join(&file)).unwrap(),
                std::fs::read(golden(name).join(&file)).unwrap(),
            );
            assert!(
                today == then,
                "{name}/{} is written otherwise today",
                file.display()
            );
        }
    }
}

#[test]
#[ignore = "writes the golden builds: cargo test -p andromeda-format --test it -- --ignored write_the_golden_builds"]
fn write_the_golden_builds() {
    for (name, vocab_size, _) in VOCABULARIES {
        let _ = std::fs::remove_dir_all(golden(name));
        Corpus::small(vocab_size).write(&golden(name));
    }
}
