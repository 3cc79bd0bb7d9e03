//! The loader's laws: every window once an epoch, the same for everybody, and what it gives is what the split holds.

use andromeda_format::{Build, FormatError, Loader, LoaderOptions, Sequence, Split};
use proptest::prelude::*;

use crate::corpus::{Corpus, Document};

/// Window `window` as the corpus has it, computed from whole lists.
fn expected(corpus: &Corpus, split: Split, sequence_tokens: usize, window: u64) -> Sequence {
    let first = window as usize * sequence_tokens;
    let range = first..first + sequence_tokens + 1;
    let inside = |place: u64| range.contains(&(place as usize));
    let placed = corpus.placed(split);
    let begins = placed.iter().filter(|(_, start, _)| inside(*start));
    let touches = placed.iter().filter(|(_, start, d)| {
        (*start as usize) < range.end && (start + d.tokens) as usize > range.start
    });
    Sequence {
        ids: corpus.tokens(split)[range.clone()].to_vec(),
        loss: corpus.loss(split)[range.start + 1..range.end].to_vec(),
        document_starts: begins
            .map(|(_, start, _)| *start as u32 - range.start as u32)
            .collect(),
        rows: touches.clone().map(|(row, _, _)| *row).collect(),
        datasets: touches.map(|(_, _, d)| d.source).collect(),
        first_token: first as u64,
        padding: 0,
        source: 0,
    }
}

struct Made {
    _folder: tempfile::TempDir,
    corpus: Corpus,
    build: Build,
}

fn made(corpus: Corpus) -> Made {
    let folder = tempfile::tempdir().unwrap();
    corpus.write(folder.path());
    let build = Build::open(folder.path()).unwrap();
    Made {
        _folder: folder,
        corpus,
        build,
    }
}

impl Made {
    fn loader(&self, sequence_tokens: usize, seed: u64) -> Loader {
        Loader::new(
            &self.build,
            Split::Train,
            LoaderOptions::new(sequence_tokens, seed),
        )
        .unwrap()
    }
}

fn read(loader: &mut Loader, position: u64) -> Sequence {
    let mut sequence = Sequence::default();
    loader.read(position, &mut sequence).unwrap();
    sequence
}

#[test]
fn each_window_comes_once_an_epoch_and_holds_what_the_split_holds() {
    for vocab_size in [300, 70_000] {
        let made = made(Corpus::small(vocab_size));
        let mut loader = made.loader(20, 5);
        let n = loader.sequences();
        let tokens = made.build.manifest().splits[&Split::Train].tokens;
        assert_eq!(n, (tokens - 1) / 20);
        let mut orders = Vec::new();
        for epoch in 0..3 {
            let mut order = Vec::new();
            for i in 0..n {
                let sequence = read(&mut loader, epoch * n + i);
                assert_eq!(
                    sequence,
                    expected(&made.corpus, Split::Train, 20, sequence.first_token / 20)
                );
                order.push(sequence.first_token);
            }
            let mut all = order.clone();
            all.sort_unstable();
            assert_eq!(all, (0..n).map(|window| window * 20).collect::<Vec<_>>());
            orders.push(order);
        }
        assert!(
            orders[0] != orders[1] && orders[1] != orders[2],
            "epochs have their own orders"
        );
    }
}

#[test]
fn every_token_but_the_first_is_a_target_once() {
    let made = made(Corpus::small(300));
    let mut loader = made.loader(7, 1);
    let mut targets = vec![0; made.corpus.tokens(Split::Train).len()];
    for position in 0..loader.sequences() {
        let first = read(&mut loader, position).first_token as usize;
        targets[first + 1..=first + 7]
            .iter_mut()
            .for_each(|times| *times += 1);
    }
    let read = loader.sequences() as usize * 7;
    assert!(
        targets[0] == 0 && targets[1..=read].iter().all(|times| *times == 1),
        "{targets:?}"
    );
    assert!(targets.len() - read <= 7 && targets[read + 1..].iter().all(|times| *times == 0));
}

#[test]
fn a_run_that_was_stopped_reads_what_it_would_have_read() {
    let made = made(Corpus::small(300));
    let mut whole = made.loader(16, 9);
    let positions = 0..whole.sequences() * 2 + 3;
    let all: Vec<Sequence> = positions
        .clone()
        .map(|position| read(&mut whole, position))
        .collect();
    for stop in [
        0,
        1,
        7,
        whole.sequences() - 1,
        whole.sequences(),
        whole.sequences() + 1,
    ] {
        let mut resumed = made.loader(16, 9);
        for position in stop..positions.end {
            assert_eq!(
                read(&mut resumed, position),
                all[position as usize],
                "stopped at {stop}"
            );
        }
    }
}

#[test]
fn any_number_of_workers_reads_the_same_sequences() {
    let made = made(Corpus::small(300));
    let mut alone = made.loader(16, 9);
    let all: Vec<Sequence> = (0..24).map(|position| read(&mut alone, position)).collect();
    for world in [2, 3, 8] {
        let mut together = vec![Sequence::default(); 24];
        for rank in 0..world {
            let mut worker = made.loader(16, 9);
            for position in (rank..24).step_by(world) {
                together[position] = read(&mut worker, position as u64);
            }
        }
        assert_eq!(together, all, "{world} workers");
    }
}

#[test]
fn seed_and_build_decide_the_order() {
    let order = |made: &Made, seed| {
        let mut loader = made.loader(4, seed);
        (0..40)
            .map(|position| read(&mut loader, position).first_token)
            .collect::<Vec<_>>()
    };
    let here = made(Corpus::small(300));
    let mut other = Corpus::small(300);
    other.documents.swap(0, 2);
    let other = made(other);
    assert_eq!(order(&here, 1), order(&here, 1));
    assert_ne!(order(&here, 1), order(&here, 2));
    assert_ne!(order(&here, 1), order(&other, 1));
    // The last position of all is a position like any other.
    let mut loader = here.loader(4, 1);
    read(&mut loader, u64::MAX);
}

#[test]
fn windows_can_be_read_in_order_and_not_beyond_the_last() {
    let made = made(Corpus::small(300));
    let mut loader = made.loader(20, 1);
    let mut sequence = Sequence::default();
    for window in 0..loader.sequences() {
        loader.read_in_order(window, &mut sequence).unwrap();
        assert_eq!(sequence, expected(&made.corpus, Split::Train, 20, window));
    }
    for window in [loader.sequences(), u64::MAX] {
        let error = loader.read_in_order(window, &mut sequence).unwrap_err();
        assert!(matches!(error, FormatError::OutOfRange { .. }), "{error:?}");
    }
}

#[test]
fn a_split_without_one_sequence_is_an_error() {
    let made = made(Corpus::small(300));
    let tokens = made.build.manifest().splits[&Split::Train].tokens;
    let new = |split, sequence_tokens| {
        Loader::new(&made.build, split, LoaderOptions::new(sequence_tokens, 0))
    };
    for (split, sequence_tokens) in [
        (Split::Train, tokens as usize),
        (Split::Train, 0),
        (Split::Test, 8),
        (Split::Train, usize::MAX),
    ] {
        let error = new(split, sequence_tokens).unwrap_err();
        assert!(matches!(error, FormatError::TooShort { .. }), "{error:?}");
    }
    let mut longest = new(Split::Train, tokens as usize - 1).unwrap();
    assert_eq!(read(&mut longest, 3).ids, made.corpus.tokens(Split::Train));
}

#[test]
fn damage_stops_the_sequence_that_needs_it_and_no_other() {
    let made = made(Corpus::small(300));
    let path = made.build.folder().join("train-00001.zst");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut loader = made.loader(10, 0);
    let mut sequence = Sequence::default();
    // The first frame of the second shard is tokens 300 to 364.
    for window in 0..loader.sequences() {
        let touches = window * 10 < 364 && window * 10 + 10 >= 300;
        match loader.read_in_order(window, &mut sequence) {
            Ok(()) => assert!(!touches, "window {window}"),
            Err(error) => {
                assert!(
                    touches && matches!(error, FormatError::FrameDamaged { frame: 0, .. }),
                    "window {window}: {error:?}"
                );
            }
        }
    }
}

fn corpora() -> impl Strategy<Value = (Corpus, usize)> {
    let documents = prop::collection::vec((1u64..30, any::<bool>(), any::<(u64, u64)>()), 2..40);
    (documents, 1u32..40, 1u64..120, 1usize..40).prop_map(
        |(documents, frame_tokens, shard_tokens, sequence_tokens)| {
            let document = |(tokens, chat, (a, b)): (u64, bool, (u64, u64))| {
                let (a, b) = (a % (tokens + 1), b % (tokens + 1));
                let masked = if chat { a.min(b)..a.max(b) } else { 0..0 };
                Document {
                    split: Split::Train,
                    source: u32::from(chat),
                    tokens,
                    masked,
                }
            };
            let documents = documents.into_iter().map(document).collect();
            (
                Corpus {
                    vocab_size: 300,
                    frame_tokens,
                    shard_tokens,
                    documents,
                },
                sequence_tokens,
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sequences_are_what_the_lists_say_however_the_corpus_is_cut((corpus, sequence_tokens) in corpora()) {
        let tokens: u64 = corpus.documents.iter().map(|d| d.tokens).sum();
        prop_assume!(tokens > sequence_tokens as u64);
        let made = made(corpus);
        let report = andromeda_format::verify(made.build.folder(), &mut |_| {}).unwrap();
        prop_assert_eq!(report.faults, []);
        let mut loader = made.loader(sequence_tokens, 3);
        for position in 0..loader.sequences() {
            let sequence = read(&mut loader, position);
            let window = sequence.first_token / sequence_tokens as u64;
            prop_assert_eq!(sequence, expected(&made.corpus, Split::Train, sequence_tokens, window));
        }
        let beyond = loader.read_in_order(loader.sequences(), &mut Sequence::default()).unwrap_err();
        let out_of_range = matches!(beyond, FormatError::OutOfRange { .. });
        prop_assert!(out_of_range, "{:?}", beyond);
    }
}
