//! `[data]` packing and shuffle: a run reads what the loader of `andromeda-format` reads, position by position, and resumes there.

use andromeda_format::{Build, Loader, LoaderOptions, Packing, Sequence, Shuffle, Split};
use andromeda_trainer::build::{OpenBuild, Part};
use andromeda_trainer::config::{Among, DataOptions};
use andromeda_trainer::data::Row;

use crate::support::{World, make_build};

/// What a loader says of a position: ids, loss, where documents begin, their rows.
fn read(loader: &mut Loader, position: u64) -> Row {
    let mut sequence = Sequence::default();
    loader.read(position, &mut sequence).unwrap();
    Row {
        ids: sequence.ids,
        trained: sequence.loss,
        targets: None,
        documents: sequence.rows,
        datasets: sequence.datasets,
        padding: sequence.padding,
        document_starts: sequence.document_starts,
    }
}

#[test]
fn a_run_reads_in_the_order_of_the_loader() {
    let folder = tempfile::tempdir().unwrap();
    make_build(folder.path(), 1);
    let build = Build::open(folder.path()).unwrap();
    let opened = OpenBuild::open(folder.path()).unwrap();
    let mut orders = Vec::new();
    for packing in [Packing::Concatenate, Packing::BestFit] {
        for (shuffle, among) in [
            (Shuffle::default(), Among::Groups),
            (
                Shuffle {
                    chunk_tokens: 3_000,
                    group_chunks: 2,
                },
                Among::Groups,
            ),
            (
                Shuffle {
                    chunk_tokens: 3_000,
                    ..Shuffle::FULL
                },
                Among::Full,
            ),
        ] {
            let data = DataOptions {
                sequence_tokens: 600,
                order_seed: 5,
                packing,
                shuffle: among,
                chunk_tokens: shuffle.chunk_tokens,
                group_chunks: shuffle.group_chunks,
                ..DataOptions::default()
            };
            let options = LoaderOptions {
                packing,
                shuffle,
                ..LoaderOptions::new(600, 5)
            };
            let mut loader = Loader::new(&build, Split::Train, options).unwrap();
            let mut source = opened.source(Part::Training, &data).unwrap();
            assert_eq!(source.sequences.sequences(), loader.sequences());
            let mut order = Vec::new();
            // Over the end of the first epoch.
            for position in 0..loader.sequences() + 20 {
                let mut row = Row::default();
                source.sequences.read(position, &mut row).unwrap();
                assert_eq!(
                    row,
                    read(&mut loader, position),
                    "{options:?} at {position}"
                );
                order.push(row);
            }
            if packing == Packing::BestFit {
                // No document of 500 is cut at 601, and two do not fit: one a sequence, and 500 of 601 ids are it.
                let whole = |row: &Row| row.document_starts == [0] && row.documents.len() == 1;
                assert!(order.iter().all(whole));
                let trained = |row: &Row| row.trained.iter().filter(|&&trained| trained).count();
                assert!(order.iter().all(|row| trained(row) == 499));
            }
            orders.push(order);

            // What is evaluated on is the same whatever the training split is.
            let windows = LoaderOptions::new(600, 5);
            let mut windows = Loader::new(&build, Split::Val, windows).unwrap();
            let mut validation = opened.source(Part::Validation, &data).unwrap();
            assert_eq!(validation.sequences.sequences(), windows.sequences());
            for index in 0..windows.sequences() {
                let (mut row, mut sequence) = (Row::default(), Sequence::default());
                validation.sequences.read_in_order(index, &mut row).unwrap();
                windows.read_in_order(index, &mut sequence).unwrap();
                assert_eq!((row.ids, row.trained), (sequence.ids, sequence.loss));
            }
        }
    }
    // Up to 16 chunks are a group and so the whole split, which is the full shuffle. All else changes what is read.
    for first in [0, 3] {
        assert!(orders[first] == orders[first + 2]);
    }
    for (one, other) in [(0, 1), (0, 3), (0, 4), (1, 3), (1, 4), (3, 4)] {
        assert!(orders[one] != orders[other], "orders {one} and {other}");
    }
}

#[test]
fn a_packed_run_resumes_exactly_and_not_under_another_packing() {
    let world = World::new();
    let set = |steps: &str, name: &str, more: &[&str]| {
        let steps = format!("schedule.steps={steps}");
        let mut arguments: Vec<String> = ["run", "--config", "test.toml", "--run", name]
            .map(str::to_owned)
            .to_vec();
        let packed = ["data.chunk-tokens=3000", "data.group-chunks=2", &steps];
        for assignment in packed.iter().chain(more) {
            arguments.extend(["--set".to_owned(), (*assignment).to_owned()]);
        }
        arguments
    };
    let call = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        world.call(&arguments)
    };
    let packed = ["data.packing=best-fit"];
    assert!(call(set("40", "whole", &packed)).status.success());
    assert!(call(set("40", "again", &packed)).status.success());
    // Back to step 36: what comes after it is trained again.
    for step in [39, 40] {
        std::fs::remove_dir_all(world.run("again").join(format!("step-{step:08}"))).unwrap();
    }
    let refused = call(set("40", "again", &[]));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && stderr.contains("data.packing"),
        "{stderr}"
    );
    world.succeed(&["resume", "again"]);
    assert!(
        world.last_checkpoint("whole") == world.last_checkpoint("again"),
        "the last checkpoints differ"
    );
    assert_eq!(world.metrics("whole"), world.metrics("again"));
    // The plain run trains on something else.
    assert!(call(set("40", "plain", &[])).status.success());
    assert_ne!(world.metrics("whole"), world.metrics("plain"));

    let stderr =
        String::from_utf8(call(set("40", "bad", &["data.group-chunks=0"])).stderr).unwrap();
    assert!(
        stderr.contains("data.group-chunks must be between 1"),
        "{stderr}"
    );
    assert!(!world.run("bad").exists());
}
