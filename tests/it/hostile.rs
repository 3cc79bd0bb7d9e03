//! Broken manifests, files, disks and folders: each is named, ends with the code that says what to do, and costs nothing
//! that was already done.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use andromeda_pipeline::documents;
use andromeda_pipeline::exit;
use andromeda_tests::corpus::{
    Corpus, RECIPE, Random, gzip, json_line, table, text, write_manifest, write_recipe,
    write_tokenizer,
};
use fs_err as fs;
use tempfile::TempDir;

use super::{Ended, andromeda, build, ended, files, only_build, plan_of, root_hash, tree};

const BUILD: &str = "build --manifest manifests/datasets/own.toml --recipe planted --threads 2";

/// A folder with a recipe, a tokenizer and a manifest `own` for the files of `corpus/own`; `tables` end the manifest.
pub(super) fn own(tables: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    write_manifest(&manifests, "own", "", "../../corpus/own", tables);
    write_recipe(&manifests, "planted", RECIPE);
    write_tokenizer(&manifests);
    fs::create_dir_all(folder.path().join("corpus/own")).unwrap();
    folder
}

pub(super) fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(folder.path().join("corpus/own").join(name), bytes).unwrap();
}

/// `n` documents that share nothing; `seed` tells them from those of other calls.
fn texts(seed: u64, n: usize) -> Vec<String> {
    let mut random = Random(seed << 32);
    (0..n).map(|_| text(&mut random, 160)).collect()
}

pub(super) fn lines(seed: u64, n: usize) -> Vec<u8> {
    texts(seed, n)
        .iter()
        .flat_map(|text| json_line(text).into_bytes())
        .collect()
}

fn manifest_of(folder: &TempDir) -> andromeda_format::Manifest {
    andromeda_format::Build::open(&only_build(folder.path()))
        .unwrap()
        .manifest()
        .clone()
}

#[test]
fn an_unknown_key_is_shown_with_a_caret_and_what_was_meant() {
    let folder = own("[raed]\nformat = \"jsonl\"\n");
    put(&folder, "x.jsonl", lines(1, 2));
    let said = ended(&mut andromeda(folder.path(), BUILD)).with(
        2,
        &[
            "own.toml:9:2",
            "unknown field `raed`",
            "did you mean `read`",
            "^^^^",
        ],
    );
    assert_eq!(said.stdout, "");
    assert!(!folder.path().join("work").exists(), "nothing was begun");
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(folder.path().join("manifests/recipes/planted.toml"))
        .unwrap();
    file.write_all(b"zstd-level = 3\n").unwrap();
    put(
        &folder,
        "../../manifests/datasets/own.toml",
        fs::read_to_string(folder.path().join("manifests/datasets/own.toml"))
            .unwrap()
            .replace("raed", "read"),
    );
    ended(&mut andromeda(folder.path(), BUILD))
        .with(2, &["planted.toml:", "unknown field `zstd-level`", "^^^"]);
}

#[test]
fn every_problem_of_every_manifest_is_reported_at_once() {
    let folder = own("");
    let datasets = folder.path().join("manifests/datasets");
    write_manifest(
        &folder.path().join("manifests"),
        "own",
        "kindd = \"text\"\nbudget-bytes = \"much\"\n",
        "corpus",
        "",
    );
    write_manifest(
        &folder.path().join("manifests"),
        "other",
        "",
        "corpus",
        "colour = 1\n",
    );
    fs::write(
        datasets.join("third.toml"),
        "name = \"first\"\n[source.floppy]\n",
    )
    .unwrap();
    fs::write(datasets.join("fourth.toml"), "name = \n").unwrap();
    let words = [
        "kindd",
        "budget-bytes",
        "other.toml",
        "colour",
        "third.toml",
        "floppy",
        "fourth.toml",
    ];
    ended(&mut andromeda(folder.path(), "build --dataset own")).with(2, &words);
}

#[test]
fn what_is_not_there_is_named_with_the_way_out() {
    let folder = own("");
    put(&folder, "x.jsonl", lines(1, 40));
    let tokenizer = folder
        .path()
        .join("manifests/tokenizers/andromeda-16k.json");
    let good = fs::read(&tokenizer).unwrap();
    fs::remove_file(&tokenizer).unwrap();
    ended(&mut andromeda(folder.path(), BUILD)).with(
        2,
        &[
            "tokenizer cannot be read",
            "andromeda-16k.json",
            "hint: name a tokenizer.json",
        ],
    );
    for bad in [&b"{}"[..], b"", b"\x00\xff", &good[..good.len() / 2]] {
        fs::write(&tokenizer, bad).unwrap();
        ended(&mut andromeda(folder.path(), BUILD)).with(2, &["andromeda-16k.json"]);
    }
    fs::write(&tokenizer, &good).unwrap();
    ended(&mut andromeda(
        folder.path(),
        &BUILD.replace("planted", "planned"),
    ))
    .with(2, &["no recipe is called `planned`", "there are planted"]);
    ended(&mut andromeda(
        folder.path(),
        "plan --dataset owm --recipe planted",
    ))
    .with(2, &["did you mean `own`?"]);
    ended(&mut andromeda(
        folder.path(),
        "plan --manifest nowhere.toml --recipe planted",
    ))
    .with(2, &["nowhere.toml"]);
    ended(&mut andromeda(
        folder.path(),
        "plan --dataset own --manifests nowhere",
    ))
    .with(2, &["nowhere", "--manifests"]);
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
}

#[test]
fn an_unknown_table_hides_no_later_mistake() {
    let folder = own("");
    let file = folder.path().join("manifests/datasets/own.toml");
    let text = fs::read_to_string(&file).unwrap()
        + "\n[source.floppy]\nside = 1\n[tape]\nreel = 1\n[read]\nblock-bites = 1\n";
    fs::write(&file, text).unwrap();
    ended(&mut andromeda(folder.path(), BUILD)).with(
        2,
        &[
            "unknown field `floppy`",
            "unknown field `tape`",
            "unknown field `block-bites`",
            "did you mean `block-bytes`?",
        ],
    );
}

#[test]
fn files_that_end_too_soon_or_are_damaged_are_named_and_the_rest_is_done() {
    let folder = own("[read]\nblock-bytes = 65536\n");
    put(&folder, "good.jsonl", lines(1, 60));
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    put(&folder, "cut.jsonl.gz", half(gzip(&lines(2, 300))));
    put(
        &folder,
        "cut.jsonl.zst",
        half(zstd::bulk::compress(&lines(3, 300), 3).unwrap()),
    );
    put(
        &folder,
        "cut.parquet",
        half(table("text", texts(4, 300).into_iter().map(Some).collect())),
    );
    let mut damaged = table("text", texts(5, 300).into_iter().map(Some).collect());
    damaged[100_000..100_400].fill(0xff);
    put(&folder, "damaged.parquet", damaged);
    put(&folder, "garbage.jsonl.gz", b"this is no gzip");
    put(&folder, "cut.json", b"[{\"text\": \"a\"}, {\"text\"");
    let bad = [
        "cut.jsonl.gz",
        "cut.jsonl.zst",
        "cut.parquet",
        "damaged.parquet",
        "garbage.jsonl.gz",
        "cut.json",
    ];
    let words: Vec<String> = bad.iter().map(|name| format!("own/{name}: ")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = ended(&mut andromeda(folder.path(), BUILD))
        .with(20, &words)
        .with(20, &["6 of the files", "--skip-bad-files"]);
    assert_eq!(said.stdout, "");
    assert!(!said.stderr.contains("own/good.jsonl"));
    assert!(
        files(&folder.path().join("shards")).is_empty(),
        "nothing was published"
    );
    assert!(
        !files(&folder.path().join("work/extract")).is_empty(),
        "the rest was done"
    );

    let said = ended(&mut andromeda(
        folder.path(),
        &format!("{BUILD} --skip-bad-files"),
    ))
    .with(0, &words)
    .with(0, &["left out the rest of"]);
    assert!(said.stderr.contains("done before"));
    let found = documents::find(&only_build(folder.path()), "", usize::MAX)
        .unwrap()
        .0;
    let kept = |file: &str| {
        found
            .iter()
            .filter(|d| d.file == file && d.verdict == "kept")
            .count()
    };
    assert_eq!(kept("good.jsonl"), 60);
    assert_eq!(kept("cut.parquet") + kept("garbage.jsonl.gz"), 0);
    for cut in ["cut.jsonl.gz", "cut.jsonl.zst"] {
        assert!(
            (1..300).contains(&kept(cut)),
            "{cut}: {}, whole rows before the cut are kept",
            kept(cut)
        );
    }
    let manifest = manifest_of(&folder);
    assert!(manifest.funnel.balances());
    // The manifest says which files are not whole, and every row of them that was read has a verdict.
    let mut named: Vec<&str> = manifest.datasets[0]
        .faults
        .iter()
        .map(|fault| fault.path.as_str())
        .collect();
    named.sort_unstable();
    let mut sorted = bad;
    sorted.sort_unstable();
    assert_eq!(named, sorted);
    let here = folder.path().display().to_string();
    for fault in &manifest.datasets[0].faults {
        let verdicts = found.iter().filter(|d| d.file == fault.path);
        let readable = verdicts.filter(|d| d.reason.as_deref() != Some("unreadable"));
        assert_eq!(readable.count() as u64, fault.rows_read, "{fault:?}");
        assert!(!fault.problem.contains(&here), "{fault:?}");
    }
    ended(&mut andromeda(folder.path(), "verify")).with(0, &[]);
    let said = ended(&mut andromeda(folder.path(), "inspect")).with(0, &[]);
    assert!(
        said.stdout.contains("not read to its end: own/cut.json"),
        "{said:#?}"
    );

    // It is no build of the whole: without the flag the files are still bad, with it nothing is done again.
    ended(&mut andromeda(folder.path(), BUILD)).with(20, &words);
    ended(&mut andromeda(
        folder.path(),
        &format!("{BUILD} --skip-bad-files"),
    ))
    .with(0, &["nothing to do", "left out the rest of"]);

    // Mended files make the build that would have been there from the start.
    for (name, bytes) in [
        ("cut.jsonl.gz", gzip(&lines(2, 300))),
        ("garbage.jsonl.gz", gzip(&lines(6, 3))),
    ] {
        put(&folder, name, bytes);
    }
    for name in [
        "cut.jsonl.zst",
        "cut.parquet",
        "damaged.parquet",
        "cut.json",
    ] {
        fs::remove_file(folder.path().join("corpus/own").join(name)).unwrap();
    }
    let said = ended(&mut andromeda(folder.path(), BUILD)).with(0, &["done before"]);
    let built = folder.path().join(said.stdout.trim_end());
    let mended = tree(&built);
    fs::remove_dir_all(&built).unwrap();
    fs::remove_dir_all(folder.path().join("work")).unwrap();
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
    assert_eq!(tree(&built), mended);
}

#[test]
fn what_is_wrong_with_a_file_is_told_of_the_place_where_it_lies_now() {
    // Two datasets with the same damaged file share its blocks, and a moved corpus finds them again.
    let folder = own("[read]\nblock-bytes = 65536\n");
    let manifests = folder.path().join("manifests");
    write_manifest(
        &manifests,
        "twin",
        "",
        "../../corpus/twin",
        "[read]\nblock-bytes = 65536\n",
    );
    let mut damaged = table("text", texts(5, 300).into_iter().map(Some).collect());
    damaged[100_000..100_400].fill(0xff);
    fs::create_dir_all(folder.path().join("corpus/twin")).unwrap();
    for dataset in ["own", "twin"] {
        let corpus = folder.path().join("corpus").join(dataset);
        fs::write(corpus.join("damaged.parquet"), &damaged).unwrap();
        fs::write(corpus.join("good.jsonl"), lines(1, 60)).unwrap();
    }
    let build = "build --dataset own --dataset twin --recipe planted --threads 6 --skip-bad-files";
    let first = ended(&mut andromeda(folder.path(), build)).with(
        0,
        &[
            "corpus/own/damaged.parquet: ",
            "corpus/twin/damaged.parquet: ",
        ],
    );
    let manifest = fs::read_to_string(
        folder
            .path()
            .join(first.stdout.trim_end())
            .join("manifest.json"),
    )
    .unwrap();
    assert!(!manifest.contains("corpus/own/damaged"), "{manifest}");
    let moved = tempfile::tempdir().unwrap();
    for part in ["manifests", "corpus", "work"] {
        fs::rename(folder.path().join(part), moved.path().join(part)).unwrap();
    }
    let second = ended(&mut andromeda(moved.path(), build)).with(0, &["done before"]);
    assert!(
        !second.stderr.contains(&folder.path().display().to_string()),
        "{second:#?}"
    );
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(
        tree(&folder.path().join(first.stdout.trim_end())),
        tree(&moved.path().join(second.stdout.trim_end()))
    );
}

#[test]
fn a_disk_that_fails_for_a_moment_is_not_taken_for_a_damaged_file() {
    let folder = own("[read]\nblock-bytes = 65536\n");
    put(&folder, "good.jsonl", lines(1, 60));
    put(
        &folder,
        "table.parquet",
        table("text", texts(2, 600).into_iter().map(Some).collect()),
    );
    let build = BUILD.replace("--threads 2", "--threads 1 --skip-bad-files");
    // Reads of the table fail from the third on, which is after its metadata.
    let table = folder.path().join("corpus/own/table.parquet");
    let command = andromeda(folder.path(), &build);
    let failing = |first: usize| {
        Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(&table)
            .args([
                "-e",
                &format!("inject=read,pread64:error=EIO:when={first}+"),
            ])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .output()
    };
    match failing(65_535) {
        Ok(output) if output.status.success() => {}
        other => {
            return andromeda_tests::skip(&format!("strace does not work here ({other:?})"));
        }
    }
    let expected = root_hash(folder.path());
    let mut inside = 0;
    for first in [1, 2, 4, 6, 9, 13, 18, 24, 32] {
        for made in ["shards", "work"] {
            fs::remove_dir_all(folder.path().join(made)).unwrap();
        }
        let said = super::of_output(failing(first).unwrap());
        if said.code == Some(0) {
            break;
        }
        assert!(
            said.code == Some(10) && said.stderr.contains("table.parquet"),
            "{said:#?}"
        );
        inside += usize::from(said.stderr.contains("cannot read at byte"));
        assert!(
            files(&folder.path().join("shards"))
                .iter()
                .all(|file| !file.ends_with("manifest.json")),
            "no build is made of what a failing disk left over"
        );
        // The disk is well again: the same command goes on and leaves no trace of what happened.
        ended(&mut andromeda(folder.path(), &build)).with(0, &[]);
        assert_eq!(
            root_hash(folder.path()),
            expected,
            "failing from read {first}"
        );
    }
    assert!(inside >= 2, "{inside} failures inside the table");
}

#[test]
fn a_line_of_200_megabytes_is_counted_and_not_held() {
    let folder = own("");
    let write = |name: &str, before: &[u8], after: &[u8]| {
        let mut file = fs::File::create(folder.path().join("corpus/own").join(name)).unwrap();
        file.write_all(before).unwrap();
        let piece = vec![b'a'; 1 << 20];
        (0..200).for_each(|_| file.write_all(&piece).unwrap());
        file.write_all(after).unwrap();
    };
    write(
        "long.jsonl",
        b"{\"text\":\"",
        &[b"\"}\n".as_slice(), &lines(1, 40)].concat(),
    );
    write("long.csv", b"text\n\"", b"\"\n");
    // A hole: no disk is used.
    let mut file = fs::File::create(folder.path().join("corpus/own/long.txt")).unwrap();
    file.seek(SeekFrom::Start(300 << 20)).unwrap();
    file.write_all(b"end").unwrap();
    drop(file);
    let command = andromeda(folder.path(), BUILD);
    let mut shell = Command::new("sh");
    // The default bound on a row is 64 MiB; both lines at once would not fit, nor would one with a copy of it.
    shell
        .args(["-c", "ulimit -v 600000; exec \"$0\" \"$@\" --memory 550M"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.current_dir(folder.path());
    ended(&mut shell).with(0, &[]);
    let funnel = manifest_of(&folder).funnel;
    assert_eq!(funnel.kept.documents, 40);
    assert_eq!(funnel.quarantined["row-too-long"].documents, 3);
}

#[test]
fn empty_files_hold_nothing_and_an_empty_folder_is_named() {
    let folder = own("");
    let said = ended(&mut andromeda(folder.path(), BUILD)).with(2, &["own.toml", "has no files"]);
    assert!(said.stderr.contains("hint"));
    put(&folder, "empty.jsonl", b"");
    put(&folder, "blank.jsonl", b"\n\n \r\n");
    put(&folder, "array.json", b"[]");
    put(&folder, "empty.jsonl.gz", gzip(b""));
    put(&folder, "head.csv", b"text\n");
    put(
        &folder,
        "none.parquet",
        table("text", Vec::<Option<String>>::new().into_iter().collect()),
    );
    ended(&mut andromeda(folder.path(), BUILD))
        .with(20, &["no document was kept: the files hold no rows"]);
    put(&folder, "empty.txt", b"");
    ended(&mut andromeda(folder.path(), BUILD)).with(20, &["no document was kept", "1 for empty"]);
    put(&folder, "good.jsonl", lines(1, 40));
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
    let funnel = manifest_of(&folder).funnel;
    assert_eq!((funnel.documents_in, funnel.kept.documents), (41, 40));
}

#[test]
fn a_corpus_of_which_nothing_is_kept_says_which_rules_took_it() {
    let folder = own("");
    let short: String = (0..5).map(|i| json_line(&format!("short {i}"))).collect();
    put(&folder, "x.jsonl", format!("{short}no json\n{{}}\n"));
    let words = [
        "no document was kept",
        "5 for too-short",
        "1 for invalid-json",
        "1 for missing-field",
    ];
    ended(&mut andromeda(folder.path(), BUILD)).with(20, &words);
    assert!(files(&folder.path().join("shards")).is_empty());
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    // In place: what is linked to the file changes with it, as it would on a bad disk.
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all(&bytes)
        .unwrap();
}

#[test]
fn a_flipped_bit_is_found_and_mended_by_building_again() {
    let folder = own("");
    put(&folder, "x.jsonl", lines(1, 60));
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
    let build = only_build(folder.path());
    let expected = tree(&build);
    let mut random = Random(3);
    for name in expected.keys() {
        for _ in 0..3 {
            let path = build.join(name);
            let bit =
                usize::try_from(random.below(8 * fs::metadata(&path).unwrap().len())).unwrap();
            flip(&path, bit);
            ended(&mut andromeda(folder.path(), "verify")).with(30, &[name]);
            let json = ended(&mut andromeda(folder.path(), "verify --json"))
                .with(30, &[])
                .stdout;
            assert!(
                json.contains(&format!("\"file\":\"{name}\"")),
                "bit {bit} of {name}: {json}"
            );
            flip(&path, bit);
        }
    }
    ended(&mut andromeda(folder.path(), "verify")).with(0, &[]);
    // What `verify` advises: remove the folder, build again. The intermediate of a shard is the very same file.
    flip(&build.join("train-00000.zst"), 4000);
    fs::remove_dir_all(&build).unwrap();
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &["done before"]);
    assert_eq!(tree(&build), expected);
}

#[test]
fn missing_cut_exchanged_and_stray_files_of_a_build_are_found() {
    let folder = own("");
    put(&folder, "x.jsonl", lines(1, 90));
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
    let build = only_build(folder.path());
    let shard = |number: u32| build.join(format!("train-{number:05}.zst"));
    let aside = build.join("aside");
    let verify = |words: &[&str]| -> Ended {
        ended(&mut andromeda(folder.path(), "verify"))
            .with(if words.is_empty() { 0 } else { 30 }, words)
    };
    let exchange = || {
        fs::rename(shard(0), &aside).unwrap();
        fs::rename(shard(1), shard(0)).unwrap();
        fs::rename(&aside, shard(1)).unwrap();
    };
    exchange();
    verify(&["train-00000.zst", "train-00001.zst"]);
    exchange();
    fs::rename(shard(1), &aside).unwrap();
    verify(&["train-00001.zst", "aside"]);
    fs::rename(&aside, shard(1)).unwrap();
    let whole = fs::read(shard(0)).unwrap();
    fs::write(shard(0), &whole[..whole.len() - 1]).unwrap();
    verify(&["train-00000.zst"]);
    fs::write(shard(0), &whole).unwrap();
    verify(&[]);
}

#[test]
fn a_damaged_intermediate_is_named_and_gc_clears_the_way() {
    let folder = own("[read]\nblock-bytes = 4096\n");
    put(&folder, "x.jsonl", lines(1, 60));
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
    let expected = tree(&only_build(folder.path()));
    for stage in ["extract", "tokenize"] {
        fs::remove_dir_all(folder.path().join("shards")).unwrap();
        // Whatever stands on the damaged file must be made again for the damage to matter.
        for later in ["resolve", "tokenize", "shards"]
            .iter()
            .filter(|later| **later != stage)
        {
            fs::remove_dir_all(folder.path().join("work").join(later)).unwrap();
        }
        let largest = files(&folder.path().join("work").join(stage))
            .into_iter()
            .max_by_key(|path| fs::metadata(path).unwrap().len())
            .unwrap();
        flip(
            &largest,
            8 * usize::try_from(fs::metadata(&largest).unwrap().len()).unwrap() - 100,
        );
        let name = largest.file_name().unwrap().to_str().unwrap().to_owned();
        ended(&mut andromeda(folder.path(), BUILD))
            .with(30, &[&name, "is damaged", "andromeda gc --all --yes"]);
        assert!(
            files(&folder.path().join("shards"))
                .iter()
                .all(|file| !file.ends_with("manifest.json"))
        );
        ended(&mut andromeda(folder.path(), "gc --all --yes")).with(0, &[]);
        ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
        assert_eq!(tree(&only_build(folder.path())), expected);
    }
}

/// Runs a script as root of a mount namespace of its own, if the system lets us. `$PROGRAM` is the program.
fn in_namespace(root: &Path, script: &str) -> Option<Ended> {
    let allowed = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        andromeda_tests::skip("unshare and mount are not there or not allowed");
        return None;
    }
    let program = andromeda(root, "");
    Some(ended(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .env("PROGRAM", program.get_program())
            .current_dir(root),
    ))
}

#[test]
fn a_full_disk_ends_with_10_leaves_nothing_half_written_and_is_gone_on_with() {
    let folder = own("[read]\nblock-bytes = 2048\n");
    put(&folder, "x.jsonl", lines(1, 200));
    let outside = BUILD.replace("own.toml", "own.toml --work w --shards s");
    ended(&mut andromeda(folder.path(), &outside)).with(0, &[]);
    let expected = andromeda_format::Build::open(
        &fs::read_dir(folder.path().join("s"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
    )
    .unwrap()
    .manifest()
    .root
    .clone();
    fs::create_dir(folder.path().join("box")).unwrap();
    let inside = BUILD.replace("own.toml", "own.toml --work box/work --shards box/shards");
    // From what the plan asks for up, in steps, until the many small files find room.
    let script = format!(
        "mount -t tmpfs -o size=1m none box || exit 99
         for size in 1000 1500 2000 2500 3000 3500 4000 5000 6000 8000 10000 20000; do
             mount -o remount,size=${{size}}k box || exit 98
             \"$PROGRAM\" {inside} >out 2>err; code=$?
             echo \"code $code\"; cat err >&2
             [ $code = 0 ] && break
             find box -path '*attempts/*' -o -path '*shards*' -name manifest.json
         done
         \"$PROGRAM\" verify --json --shards box/shards"
    );
    let Some(said) = in_namespace(folder.path(), &script) else {
        return;
    };
    let said = said.with(0, &["No space left on device"]);
    let lines: Vec<&str> = said.stdout.lines().collect();
    let (report, codes) = lines.split_last().unwrap();
    let (last, before) = codes.split_last().unwrap();
    assert_eq!(*last, "code 0");
    assert!(
        before.len() > 2 && before.iter().all(|line| *line == "code 10"),
        "{said:#?}"
    );
    assert!(report.contains(&expected), "{report}");
}

#[test]
fn an_interrupted_run_does_not_need_the_room_again_that_it_has_filled() {
    let folder = own("[read]\nblock-bytes = 65536\n");
    put(&folder, "x.jsonl", lines(1, 2_000));
    let what = "--manifest manifests/datasets/own.toml --recipe planted";
    let plan = ended(&mut andromeda(
        folder.path(),
        &format!("plan {what} --json"),
    ))
    .with(0, &[]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let needed = plan["estimate"]["disk_bytes"].as_u64().unwrap() / 1024;
    fs::create_dir(folder.path().join("box")).unwrap();
    // All but publishing is done when the disk is filled up to three quarters of what the plan asks for.
    let script = format!(
        "mount -t tmpfs -o size=256m none box || exit 99
         \"$PROGRAM\" build {what} --work box/work --shards box/shards >first 2>err || exit 97
         rm -r box/shards
         free=$(df --output=avail -k box | tail -n 1)
         head -c $(((free - {needed} * 3 / 4) * 1024)) /dev/zero >box/other
         \"$PROGRAM\" build {what} --work box/fresh --shards box/shards >out 2>err; echo \"fresh $?\"
         \"$PROGRAM\" build {what} --work box/work --shards box/shards >second 2>err; echo \"again $?\"
         cat err >&2; cmp first second"
    );
    let Some(said) = in_namespace(folder.path(), &script) else {
        return;
    };
    let said = said.with(0, &["done before"]);
    assert_eq!(said.stdout, "fresh 10\nagain 0\n", "{said:#?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_the_work_is_not_lost() {
    let folder = own("");
    put(&folder, "x.jsonl", lines(1, 60));
    fs::create_dir(folder.path().join("shards")).unwrap();
    let script = format!(
        "mount -t tmpfs -o ro none shards || exit 99
         \"$PROGRAM\" {BUILD}; echo \"code $?\"
         mount -o remount,rw shards
         \"$PROGRAM\" {BUILD} >/dev/null; echo \"code $?\""
    );
    let Some(said) = in_namespace(folder.path(), &script) else {
        return;
    };
    let said = said.with(
        0,
        &["Read-only file system", "shards/own-", "all done before"],
    );
    assert_eq!(said.stdout, "code 10\ncode 0\n");
}

#[test]
fn a_file_that_changes_between_plan_and_run_is_noticed() {
    for name in ["x.jsonl", "x.jsonl.gz", "x.parquet", "x.txt"] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let manifests = root.join("manifests");
        write_manifest(
            &manifests,
            "own",
            "tiers = [\"high\"]\n",
            "../../corpus",
            "",
        );
        write_recipe(&manifests, "planted", RECIPE);
        write_tokenizer(&manifests);
        fs::create_dir(root.join("corpus")).unwrap();
        let bytes = |seed: u64| match name {
            "x.jsonl" => lines(seed, 60),
            "x.jsonl.gz" => gzip(&lines(seed, 60)),
            "x.parquet" => table("text", texts(seed, 60).into_iter().map(Some).collect()),
            _ => texts(seed, 1)[0].clone().into_bytes(),
        };
        fs::write(root.join("corpus/y.jsonl"), lines(9, 60)).unwrap();
        fs::write(root.join("corpus").join(name), bytes(1)).unwrap();
        let plan = plan_of(root, "planted");
        // The clock of a file system ticks every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(30));
        fs::write(root.join("corpus").join(name), bytes(2)).unwrap();
        let error = build(root, &plan, 2, 1 << 30).unwrap_err();
        assert!(
            error.to_string().contains(name)
                && error.to_string().contains("changed while the build ran"),
            "{name}: {error}"
        );
        assert_eq!(exit::code(&error), exit::RETRIABLE);
        let built = build(root, &plan_of(root, "planted"), 2, 1 << 30).unwrap();
        // The intermediates of the failed run change nothing.
        let hash = root_hash(root);
        fs::remove_dir_all(root.join("work")).unwrap();
        fs::remove_dir_all(&built.folder).unwrap();
        build(root, &plan_of(root, "planted"), 1, 1 << 30).unwrap();
        assert_eq!(root_hash(root), hash, "{name}");
    }
}

#[test]
fn names_that_are_no_file_names_of_ours_do_no_harm() {
    let folder = own("");
    let odd = [
        "a b.jsonl",
        "-rf.jsonl",
        "tab\there.jsonl",
        "new\nline.jsonl",
        "\u{1b}[31mred.jsonl",
        "\u{202e}txt.jsonl",
        "..jsonl",
        "#1.jsonl",
    ];
    for (seed, name) in (1u64..).zip(odd) {
        put(&folder, name, lines(seed, 12));
    }
    // A name that is no UTF-8 cannot stand in an id: it is no part of the corpus.
    let raw = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"caf\xe9.jsonl");
    fs::write(folder.path().join("corpus/own").join(raw), lines(99, 1)).unwrap();
    std::os::unix::fs::symlink("/", folder.path().join("corpus/own/everything")).unwrap();
    ended(&mut andromeda(folder.path(), BUILD)).with(0, &[]);
    assert_eq!(
        manifest_of(&folder).funnel.kept.documents,
        12 * odd.len() as u64
    );
    let shown = ended(&mut andromeda(folder.path(), "why red.jsonl#3")).with(0, &[]);
    assert!(
        !shown.stdout.contains('\u{1b}'),
        "a document's id cannot command the terminal"
    );
}

#[test]
fn a_build_stays_within_the_memory_that_its_plan_asks_for_and_is_refused_with_less() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    Corpus::plant(root, 300);
    let what = "--priority high,medium --recipe planted --threads 2";
    let plan = ended(&mut andromeda(root, &format!("plan {what} --json"))).with(0, &[]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let needed = plan["estimate"]["memory_bytes"].as_u64().unwrap();
    ended(&mut andromeda(
        root,
        &format!("build {what} --memory {}", needed - 1),
    ))
    .with(10, &["memory is too small", "--memory"]);
    assert!(!root.join("shards").exists());

    let mut child = andromeda(root, &format!("build {what} --memory {needed}"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The high-water mark only grows, so the last look is the one that counts.
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kilobytes) = mark.and_then(|mark| mark.split_whitespace().next()) {
            peak = kilobytes.parse::<u64>().unwrap() * 1024;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    assert!(
        (1 << 20..=needed).contains(&peak),
        "{peak} bytes at the peak, {needed} were planned"
    );
    let tight = root_hash(root);
    for made in ["shards", "work"] {
        fs::remove_dir_all(root.join(made)).unwrap();
    }
    ended(&mut andromeda(root, &format!("build {what} --memory 64G"))).with(0, &[]);
    assert_eq!(root_hash(root), tight);
}
