//! A thousand edits of a sound build, drawn at random: each is noticed when the build is opened or verified.

use std::fs;
use std::path::Path;

use andromeda_format::{Build, verify};
use serde_json::Value;

use crate::corpus::{Corpus, sha256};

/// Why a build is refused, if it is.
fn noticed(folder: &Path) -> Option<String> {
    let opened = Build::open(folder).err().map(|error| error.to_string());
    opened.or_else(|| match verify(folder, &mut |_| {}) {
        Ok(report) => report
            .faults
            .first()
            .map(|(file, what)| format!("{file}: {what}")),
        Err(error) => Some(error.to_string()),
    })
}

/// A multiplicative generator (Lehmer; the constant is Steele and Vigna's of 2021) is random enough here.
struct Random(u128);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(0xDA94_2042_E4DD_58B5);
        (self.0 >> 64) as usize % n
    }
}

/// Changes one or several bytes, cuts, lengthens, or moves a part of a file. `None` if this changed nothing.
fn edit_bytes(old: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut new = old.to_vec();
    let at = random.below(new.len());
    match random.below(6) {
        0 => new[at] ^= 1 << random.below(8),
        1 => new.truncate(at),
        2 => new.insert(at, random.below(256) as u8),
        3 => drop(new.remove(at)),
        4 => new[at..].rotate_left(1),
        _ => new.extend_from_slice(&old[at..]),
    }
    (new != old).then_some(new)
}

#[test]
fn every_edit_of_a_builds_files_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Corpus::small(300).write(folder);
    assert_eq!(noticed(folder), None);
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let old: Vec<Vec<u8>> = names
        .iter()
        .map(|name| fs::read(folder.join(name)).unwrap())
        .collect();
    let mut random = Random(1);
    let mut edits = 0;
    while edits < 1000 {
        let (a, b) = (random.below(names.len()), random.below(names.len()));
        let (one, other) = (folder.join(&names[a]), folder.join(&names[b]));
        let stray = folder.join(format!("train-{:05}.zst", 3 + random.below(9)));
        let what = match random.below(8) {
            0 if a != b => {
                fs::write(&one, &old[b]).unwrap();
                fs::write(&other, &old[a]).unwrap();
                "swapped"
            }
            1 if a != b => {
                fs::copy(&other, &one).unwrap();
                "copied over"
            }
            2 => {
                fs::remove_file(&one).unwrap();
                "removed"
            }
            3 => {
                fs::copy(&one, &stray).unwrap();
                "added"
            }
            _ => match edit_bytes(&old[a], &mut random) {
                Some(new) => {
                    fs::write(&one, new).unwrap();
                    "edited"
                }
                None => continue,
            },
        };
        if old[a] == old[b] && matches!(what, "swapped" | "copied over") {
            continue;
        }
        assert!(
            noticed(folder).is_some(),
            "{} {what}, with {}",
            names[a],
            names[b]
        );
        edits += 1;
        fs::write(&one, &old[a]).unwrap();
        fs::write(&other, &old[b]).unwrap();
        if !names.iter().any(|name| stray.ends_with(name)) {
            let _ = fs::remove_file(&stray);
        }
    }
    assert_eq!(noticed(folder), None);
}

/// Every count in the manifest that shards, files or other counts can be held against, with its path.
fn counters(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        // What was read to make the build is not in it: nothing here can know those sizes.
        _ if path.ends_with("/files") || path == "/recipe" => {}
        Value::Number(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                counters(item, &format!("{path}/{i}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                counters(item, &format!("{path}/{key}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_edited_number_of_a_manifest_is_noticed_under_any_root() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Corpus::small(300).write(folder);
    let file = folder.join("manifest.json");
    let sound = fs::read_to_string(&file).unwrap();
    let manifest: Value = serde_json::from_str(&sound).unwrap();
    let mut paths = Vec::new();
    counters(&manifest, "", &mut paths);
    assert!(paths.len() > 60, "{paths:?}");
    for path in &paths {
        let old = manifest.pointer(path).unwrap().as_u64().unwrap();
        for new in [old + 1, old.wrapping_sub(1), old * 2 + 7, 0, u64::MAX] {
            if new == old {
                continue;
            }
            let mut edited = manifest.clone();
            *edited.pointer_mut(path).unwrap() = new.into();
            let root = edited["root"].as_str().unwrap().to_owned();
            let text = serde_json::to_string_pretty(&edited).unwrap();
            fs::write(&file, &text).unwrap();
            assert!(noticed(folder).is_some(), "{path} from {old} to {new}");
            let zeroed = text.replace(&root, &"0".repeat(64));
            fs::write(&file, text.replace(&root, &sha256(zeroed.as_bytes()))).unwrap();
            let reason = noticed(folder);
            assert!(
                reason.is_some(),
                "{path} from {old} to {new}, root made to suit"
            );
            assert!(
                !reason.unwrap().contains("its root says"),
                "the root did not suit"
            );
        }
    }
    fs::write(&file, &sound).unwrap();
    assert_eq!(noticed(folder), None);
}
