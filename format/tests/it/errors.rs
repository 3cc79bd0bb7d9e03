//! What an error says: one sentence in one line, with the name of the file at fault. The faults themselves are made and told
//! apart in the other files; here is one of every kind, for its words.

use std::fs;
use std::path::Path;

use andromeda_format::{
    Build, FormatError, Loader, LoaderOptions, Manifest, Sequence, ShardReader, Split,
    encode_frame, verify,
};

use crate::by_hand::{Hand, fault, on_disk, u16_frame};
use crate::corpus::Corpus;

const SHARD: &str = "train-00007.zst";

/// What `change` makes of opening a sound build.
fn opened(change: impl FnOnce(&Path)) -> FormatError {
    let folder = tempfile::tempdir().unwrap();
    Corpus::small(300).write(folder.path());
    change(folder.path());
    Build::open(folder.path()).unwrap_err()
}

/// What `change` makes the verification of a sound build say first.
fn verified(change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    Corpus::small(300).write(folder.path());
    change(folder.path());
    let report = verify(folder.path(), &mut |_| {}).unwrap();
    report.faults[0].1.clone()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A build whose manifest says another end of text, under a root that suits.
fn foreign() -> FormatError {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest: Manifest = Corpus::small(300).write(folder.path());
    manifest.tokenizer.end_of_text.id = 1;
    let bytes = manifest.to_bytes().unwrap();
    fs::write(folder.path().join("manifest.json"), bytes).unwrap();
    let build = Build::open(folder.path()).unwrap();
    build.shard(Split::Val, 0).unwrap_err()
}

#[test]
fn every_error_names_what_is_at_fault_in_one_line() {
    let sound = Hand::sound().bytes();
    let payload = 21 + 15 + 8;
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        fault(&bytes)
    };
    let hand = |change: fn(&mut Hand)| fault(&Hand::with(change).bytes());
    let (_folder, path) = on_disk(&sound);
    let mut shard = ShardReader::open(&path).unwrap();
    let beyond = shard.read_tokens(0..6, &mut Vec::new()).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let spec = Corpus::small(300).spec();
    Corpus::small(300).write(folder.path());
    let build = Build::open(folder.path()).unwrap();
    let options = |sequence_tokens| LoaderOptions::new(sequence_tokens, 0);
    let too_short = Loader::new(&build, Split::Val, options(1 << 20)).unwrap_err();
    let mut loader = Loader::new(&build, Split::Val, options(8)).unwrap();
    let mut sequence = Sequence::default();
    let no_window = loader.read_in_order(1 << 20, &mut sequence).unwrap_err();
    let no_shard = build.shard(Split::Train, 9).unwrap_err();
    let spoil_manifest = |from: &'static str, to: &'static str| {
        opened(|folder| {
            edit(&folder.join("manifest.json"), |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                *bytes = text.replacen(from, to, 1).into_bytes();
            });
        })
    };
    let kind = |error: &FormatError| {
        let debug = format!("{error:?}");
        debug.split([' ', '{', '(']).next().unwrap().to_owned()
    };
    let errors = [
        (
            "Io",
            SHARD,
            ShardReader::open(&folder.path().join(SHARD)).unwrap_err(),
        ),
        ("NoSeekTable", SHARD, flipped(sound.len() - 1)),
        ("WrongLength", SHARD, fault(&sound[1..])),
        ("NoIndex", SHARD, flipped(payload)),
        ("Version", SHARD, hand(|hand| hand.version = 2)),
        (
            "Version",
            "manifest.json",
            spoil_manifest("\"version\": 1", "\"version\": 2"),
        ),
        ("IndexDamaged", SHARD, flipped(payload + 20)),
        ("IndexWrong", SHARD, hand(|hand| hand.flags = 0x80)),
        ("FrameDamaged", SHARD, flipped(9)),
        (
            "TokenOutside",
            SHARD,
            hand(|hand| hand.frames[1] = u16_frame(&[300])),
        ),
        ("OutOfRange", SHARD, beyond),
        ("OutOfRange", folder.path().to_str().unwrap(), no_window),
        (
            "Unwritable",
            "token 300",
            encode_frame(&spec, &[300]).unwrap_err(),
        ),
        ("Manifest", "manifest.json", spoil_manifest("{", "[")),
        ("Root", "manifest.json", spoil_manifest("CC0", "CC1")),
        (
            "Missing",
            "train-00001.zst",
            opened(|folder| fs::remove_file(folder.join("train-00001.zst")).unwrap()),
        ),
        ("Missing", "train-00009.zst", no_shard),
        (
            "Size",
            "duplicates.parquet",
            opened(|folder| edit(&folder.join("duplicates.parquet"), |bytes| bytes.push(0))),
        ),
        ("Foreign", "val-00000.zst", foreign()),
        ("TooShort", "val", too_short),
    ];
    for (variant, name, error) in errors {
        let message = error.to_string();
        assert_eq!(kind(&error), variant, "{message}");
        assert!(
            message.contains(name),
            "{variant} does not name {name}: {message}"
        );
        assert!(!message.contains('\n') && message.len() > 15, "{message}");
        assert_eq!(error.is_io(), variant == "Io");
        // What `?` makes of it in a function of `std::io` says the same.
        assert_eq!(std::io::Error::from(error).to_string(), message);
    }
    let content = verified(|folder| edit(&folder.join("tokenizer.json"), |bytes| bytes[3] ^= 1));
    assert!(
        content.contains("tokenizer.json is damaged: its sha256 is"),
        "{content}"
    );
    let stray = verified(|folder| fs::write(folder.join("notes.txt"), "").unwrap());
    assert!(
        stray.contains("notes.txt is in the build's folder"),
        "{stray}"
    );
    let mut manifest = build.manifest().clone();
    manifest.funnel.documents_in += 1;
    let counts = manifest.to_bytes().unwrap_err().to_string();
    assert!(
        counts.contains("the datasets' documents are not those of the build"),
        "{counts}"
    );
}
