//! Checked copies of builds from stores that are whole, broken, interrupted or lie.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;

use andromeda_format::{Copied, Folder, FormatError, Store, copy_build, verify};

use crate::corpus::Corpus;

/// A folder that can be cut off, answers too little, or flips a bit of one file.
struct Broken<'a> {
    folder: Folder,
    reads: Cell<u64>,
    most_reads: u64,
    damaged: &'a str,
    short: &'a str,
}

impl<'a> Broken<'a> {
    fn new(folder: &Path) -> Self {
        Self {
            folder: Folder(folder.to_path_buf()),
            reads: Cell::new(0),
            most_reads: u64::MAX,
            damaged: "",
            short: "",
        }
    }
}

impl Store for Broken<'_> {
    fn length(&self, file: &str) -> andromeda_format::Result<u64> {
        self.folder.length(file)
    }

    fn read(
        &self,
        file: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> andromeda_format::Result<()> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() > self.most_reads {
            return Err(FormatError::Io {
                file: file.into(),
                error: std::io::ErrorKind::ConnectionReset.into(),
            });
        }
        let start = into.len();
        self.folder.read(file, range, into)?;
        if file == self.damaged {
            into[start] ^= 1;
        }
        if file == self.short {
            into.pop();
        }
        Ok(())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_the_build_and_a_second_one_reads_nothing_but_the_manifest() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = Corpus::small(300).write(from.path());
    let target = to.path().join("new").join("build");
    let store = Broken::new(from.path());
    let mut copied = Vec::new();
    let build = copy_build(&store, &target, Some(&manifest.root), &mut |file| {
        copied.push(file);
    })
    .unwrap();
    assert_eq!(build.manifest(), &manifest);
    assert_eq!(names(&target), names(from.path()));
    assert_eq!(verify(&target, &mut |_| {}).unwrap().faults, []);
    assert_eq!(copied.last().unwrap().file, "manifest.json");
    assert!(copied.iter().all(|file| !file.was_there));
    let again = Broken::new(from.path());
    let mut there = Vec::new();
    copy_build(
        &again,
        &target,
        None,
        &mut |Copied { was_there, .. }| there.push(was_there),
    )
    .unwrap();
    assert_eq!(again.reads.get(), 1);
    assert!(there[..there.len() - 1].iter().all(|was_there| *was_there));
}

#[test]
fn an_interrupted_copy_is_no_build_and_goes_on_where_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Corpus::small(300).write(from.path());
    let files = names(from.path()).len() as u64;
    for most_reads in 0..files {
        let store = Broken {
            most_reads,
            ..Broken::new(from.path())
        };
        let target = to.path().join(most_reads.to_string());
        let error = copy_build(&store, &target, None, &mut |_| {}).unwrap_err();
        assert!(error.is_io(), "{error:?}");
        let whole = most_reads.saturating_sub(1) as usize;
        if target.exists() {
            assert_eq!(names(&target).len(), whole);
            assert!(!names(&target).contains(&"manifest.json".to_owned()));
        }
        let store = Broken::new(from.path());
        copy_build(&store, &target, None, &mut |_| {}).unwrap();
        assert_eq!(store.reads.get(), files - whole as u64);
        assert_eq!(verify(&target, &mut |_| {}).unwrap().faults, []);
    }
}

#[test]
fn what_is_not_what_the_manifest_says_is_not_kept() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = Corpus::small(300).write(from.path());
    let target = to.path().join("build");
    let copy = |store: &dyn Store, root| copy_build(store, &target, root, &mut |_| {}).unwrap_err();
    for damaged in ["tokenizer.json", "train-00001.zst", "documents.parquet"] {
        let store = Broken {
            damaged,
            ..Broken::new(from.path())
        };
        let error = copy(&store, None);
        assert!(
            matches!(&error, FormatError::Content { file, .. } if file.ends_with(damaged)),
            "{error:?}"
        );
        assert!(
            !names(&target)
                .iter()
                .any(|name| name == damaged || name.ends_with(".part"))
        );
    }
    let store = Broken {
        damaged: "manifest.json",
        ..Broken::new(from.path())
    };
    assert!(matches!(copy(&store, None), FormatError::Manifest { .. }));
    let store = Broken {
        short: "val-00000.zst",
        ..Broken::new(from.path())
    };
    std::fs::remove_file(target.join("val-00000.zst")).unwrap();
    assert!(matches!(copy(&store, None), FormatError::Size { .. }));
    let other = "0".repeat(64);
    match copy(&Broken::new(from.path()), Some(&other)) {
        FormatError::Root {
            written, computed, ..
        } => {
            assert_eq!((&written, &computed), (&other, &manifest.root));
        }
        error => panic!("{error:?}"),
    }
    // A file that is here with the right size and other bytes is taken anew.
    let wrong = vec![7; usize::try_from(manifest.tables[0].bytes).unwrap()];
    std::fs::write(target.join("documents.parquet"), wrong).unwrap();
    copy_build(&Broken::new(from.path()), &target, None, &mut |_| {}).unwrap();
    assert_eq!(verify(&target, &mut |_| {}).unwrap().faults, []);
    let nothing = Folder(to.path().join("nowhere"));
    let error = copy(&nothing, None);
    assert!(matches!(error, FormatError::Missing { .. }), "{error:?}");
}
