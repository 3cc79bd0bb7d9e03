//! Files that were changed anywhere: a build that is sound, or an error that names a file, and never anything else.

use std::path::Path;

use andromeda_format::verify;

use super::*;

fn tokenizer() -> (PathBuf, Tokenizer) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/tokenizers/andromeda-16k.json");
    let tokenizer = Tokenizer::load(&path, None).unwrap();
    (path, tokenizer)
}

/// Sound files of each program in a folder: documents of 5, 0, 1 and 300 ids.
fn sound(folder: &Path) {
    let lengths = [5u32, 0, 1, 300];
    let mut ids: Vec<u16> = Vec::new();
    let (mut ends, mut places) = (Vec::new(), Vec::new());
    for length in lengths {
        places.push(2 * ids.len() as i64);
        ids.extend((0..length).map(|i| {
            if i + 1 == length {
                0
            } else {
                7 + 31 * u16::try_from(i).unwrap()
            }
        }));
        ends.push(ids.len() as u64);
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    for name in ["x.bin", "x.ds"] {
        fs_err::write(folder.join(name), &bytes).unwrap();
    }
    let index: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    fs_err::write(folder.join("x.ds.index"), index).unwrap();
    let loss: Vec<u8> = (0..ids.len()).map(|i| u8::from(i % 3 > 0)).collect();
    fs_err::write(folder.join("x.ds.loss"), loss).unwrap();
    fs_err::write(
        folder.join("x.ds.metadata"),
        format!("name|2\n{}\n0 T", ids.len()),
    )
    .unwrap();
    let mut idx = crate::export::megatron::MAGIC.to_vec();
    idx.extend(1u64.to_le_bytes());
    idx.push(8);
    idx.extend(4u64.to_le_bytes());
    idx.extend(4u64.to_le_bytes());
    idx.extend(lengths.iter().flat_map(|n| n.to_le_bytes()));
    idx.extend(places.iter().flat_map(|n| n.to_le_bytes()));
    // Three documents, the second of two sequences, the first of which is empty.
    idx.extend([0i64, 1, 3, 4].iter().flat_map(|n| n.to_le_bytes()));
    fs_err::write(folder.join("x.idx"), idx).unwrap();
}

fn options(folder: &Path, from: Origin, file: &str, tokenizer: &Path) -> ImportOptions {
    ImportOptions {
        from,
        files: vec![folder.join(file)],
        tokenizer: tokenizer.to_path_buf(),
        end_of_text: None,
        kind: None,
        split: None,
        licence: "unknown".to_owned(),
        shard: ShardOptions {
            tokens: 100,
            frame_tokens: 16,
            level: 1,
        },
        out: folder.join("built"),
    }
}

const OF: [(Origin, &str, &[&str]); 3] = [
    (Origin::Nanogpt, "x.bin", &["x.bin"]),
    (Origin::Megatron, "x.idx", &["x.bin", "x.idx"]),
    (
        Origin::Datatrove,
        "x.ds",
        &["x.ds", "x.ds.index", "x.ds.loss", "x.ds.metadata"],
    ),
];

#[test]
fn sound_files_of_each_program_are_builds() {
    let (path, tokenizer) = tokenizer();
    for (from, file, _) in OF {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path());
        let options = options(folder.path(), from, file, &path);
        let imported = with_tokenizer(&options, &tokenizer, &AtomicBool::new(false)).unwrap();
        let split = &imported.manifest.splits[&Split::Train];
        assert_eq!(
            (split.tokens, split.documents, split.shards.len()),
            (306, 3, 4),
            "{from:?}"
        );
        assert_eq!(
            (imported.ended, imported.empty),
            (0, u64::from(from == Origin::Datatrove))
        );
        assert_eq!(verify(&options.out, &mut |_| {}).unwrap().faults, []);
        assert!(matches!(
            with_tokenizer(&options, &tokenizer, &AtomicBool::new(false)),
            Err(ImportError::Publish(PublishError::Taken(_)))
        ));
        fs_err::remove_dir_all(&options.out).unwrap();
        let stopped = with_tokenizer(&options, &tokenizer, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(ImportError::Interrupted)));
        assert!(!options.out.exists());
    }
}

#[test]
fn changed_files_are_refused_by_name_or_are_other_sound_builds() {
    let (path, tokenizer) = tokenizer();
    let mut state = 0u64;
    // `SplitMix64`.
    let mut below = |end: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (u64::wrapping_mul(state ^ (state >> 30), 0xbf58_476d_1ce4_e5b9)) >> 33;
        usize::try_from(z).unwrap() % end
    };
    let (mut refused, mut made) = (0, 0);
    for round in 0..500 {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path());
        let (from, file, files) = OF[round % OF.len()];
        let victim = files[below(files.len())];
        let victim = folder.path().join(victim);
        let mut bytes = fs_err::read(&victim).unwrap();
        let at = below(bytes.len());
        match below(5) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << below(8),
            2 => bytes[at] = 0xff,
            3 => bytes.insert(at, 0),
            _ => {
                let end = bytes.len().min(at + 8);
                bytes[at..end].fill(0xff);
            }
        }
        fs_err::write(&victim, bytes).unwrap();
        let options = options(folder.path(), from, file, &path);
        match with_tokenizer(&options, &tokenizer, &AtomicBool::new(false)) {
            Ok(_) => {
                assert_eq!(verify(&options.out, &mut |_| {}).unwrap().faults, []);
                made += 1;
            }
            Err(error @ ImportError::Damaged { .. }) => {
                assert!(error.to_string().contains("x."), "{error}");
                assert!(!options.out.exists());
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 150 && made > 50, "{refused} refused, {made} made");
}
