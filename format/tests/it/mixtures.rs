//! Packings, datasets, mixtures and machines: what is given is what the lists say, each token of an epoch once, and the same
//! after any interruption.

use std::collections::BTreeMap;

use andromeda_format::{
    Build, FormatError, Loader, LoaderOptions, LoaderState, MixtureSource, Packing, Prefetch,
    Sequence, Shuffle, Split, Stride,
};

use crate::corpus::{Corpus, Document};

pub(crate) struct Made {
    _folder: tempfile::TempDir,
    pub(crate) corpus: Corpus,
    pub(crate) build: Build,
}

pub(crate) fn made(corpus: Corpus) -> Made {
    let folder = tempfile::tempdir().unwrap();
    corpus.write(folder.path());
    let build = Build::open(folder.path()).unwrap();
    Made {
        _folder: folder,
        corpus,
        build,
    }
}

/// A multiplicative generator (Lehmer; the constant is Steele and Vigna's of 2021) is random enough here.
pub(crate) struct Random(pub(crate) u128);

impl Random {
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0xDA94_2042_E4DD_58B5);
        (self.0 >> 64) as u64 % most
    }
}

/// Documents of two datasets in mixed order, some much longer than a sequence or a shard.
fn corpus(seed: u128, documents: usize) -> Corpus {
    let mut random = Random(2 * seed + 1);
    let mut document = |_| {
        let tokens = match random.below(12) {
            0 => 1,
            1 => 60 + random.below(400),
            2 => 25,
            _ => 1 + random.below(40),
        };
        let source = u32::from(random.below(3) == 1);
        Document {
            split: Split::Train,
            source,
            tokens,
            masked: if source == 1 && random.below(2) == 0 {
                0..tokens / 2
            } else {
                0..0
            },
        }
    };
    Corpus {
        vocab_size: 300,
        frame_tokens: 64,
        shard_tokens: 300,
        documents: (0..documents).map(&mut document).collect(),
    }
}

/// A token as the corpus has it: place in the split, id, row of its document, place in it, whether it carries loss, its dataset.
type Token = (u64, u32, u64, u64, bool, u32);

/// The tokens of a source, in stored order.
fn tokens_of(corpus: &Corpus, dataset: Option<u32>) -> Vec<Token> {
    let (ids, loss) = (corpus.tokens(Split::Train), corpus.loss(Split::Train));
    let placed = corpus.placed(Split::Train);
    let of = placed
        .iter()
        .filter(|(_, _, d)| dataset.is_none_or(|number| number == d.source));
    let mut tokens = Vec::new();
    for (row, start, d) in of {
        for place in 0..d.tokens {
            let at = (start + place) as usize;
            tokens.push((start + place, ids[at], *row, place, loss[at], d.source));
        }
    }
    tokens
}

/// A sequence of these pieces, each a list of tokens, by the rules of `SPEC.md`.
fn assembled(pieces: &[&[Token]], length: usize, packed: bool) -> Sequence {
    let tokens: Vec<Token> = pieces.concat();
    let filled = tokens.len();
    let mut sequence = Sequence {
        ids: tokens.iter().map(|token| token.1).collect(),
        loss: tokens[1..].iter().map(|token| token.4).collect(),
        first_token: tokens[0].0,
        padding: length + 1 - filled,
        ..Sequence::default()
    };
    sequence.ids.resize(length + 1, 0);
    sequence.loss.resize(length, false);
    let begins = tokens.iter().enumerate().filter(|(_, token)| token.3 == 0);
    sequence.document_starts = begins.map(|(place, _)| place as u32).collect();
    for token in &tokens {
        if sequence.rows.last() != Some(&token.2) {
            sequence.rows.push(token.2);
            sequence.datasets.push(token.5);
        }
    }
    if packed {
        let mut place = 0;
        for piece in pieces {
            if place > 0 && piece[0].3 > 0 {
                sequence.document_starts.push(place as u32);
                sequence.loss[place - 1] = false;
            }
            place += piece.len();
        }
        sequence.document_starts.sort_unstable();
    }
    sequence
}

/// All sequences of a source in stored order, by the plainest reading of `SPEC.md`.
fn expected(corpus: &Corpus, dataset: Option<u32>, options: &LoaderOptions) -> Vec<Sequence> {
    let length = options.sequence_tokens;
    let tokens = tokens_of(corpus, dataset);
    if options.packing == Packing::Concatenate {
        let windows = (0..(tokens.len() - 1) / length).map(|w| {
            assembled(
                &[&tokens[w * length..w * length + length + 1]],
                length,
                false,
            )
        });
        return windows.collect();
    }
    let all = corpus.tokens(Split::Train).len() as u64;
    let chunk = (options.shuffle.chunk_tokens * tokens.len() as u64 / all).max(1);
    let mut pieces: Vec<&[Token]> = Vec::new();
    let mut start = 0;
    for end in 1..=tokens.len() {
        if end == tokens.len() || tokens[end].2 != tokens[start].2 || end - start > length {
            pieces.push(&tokens[start..end]);
            start = end;
        }
    }
    let mut sequences = Vec::new();
    let mut rest = &pieces[..];
    while !rest.is_empty() {
        let mut sum = 0;
        let full = |piece: &&[Token]| {
            sum += piece.len() as u64;
            sum >= chunk
        };
        let here = rest.iter().position(full).map_or(rest.len(), |at| at + 1);
        let mut order: Vec<usize> = (0..here).collect();
        order.sort_by_key(|piece| (usize::MAX - rest[*piece].len(), *piece));
        let mut packed: Vec<Vec<usize>> = Vec::new();
        for piece in order {
            let left = |of: &Vec<usize>| {
                (length + 1).checked_sub(
                    of.iter().map(|p| rest[*p].len()).sum::<usize>() + rest[piece].len(),
                )
            };
            let fits = packed
                .iter()
                .enumerate()
                .filter_map(|(k, of)| Some((left(of)?, k)));
            match fits.min() {
                Some((_, k)) => packed[k].push(piece),
                None => packed.push(vec![piece]),
            }
        }
        for mut one in packed {
            one.sort_unstable();
            let one: Vec<&[Token]> = one.into_iter().map(|piece| rest[piece]).collect();
            sequences.push(assembled(&one, length, true));
        }
        rest = &rest[here..];
    }
    sequences
}

fn options(packing: Packing, chunk_tokens: u64, group_chunks: u64) -> LoaderOptions {
    LoaderOptions {
        packing,
        shuffle: Shuffle {
            chunk_tokens,
            group_chunks,
        },
        ..LoaderOptions::new(24, 9)
    }
}

fn source(build: &Build, dataset: Option<&str>, weight: u64) -> MixtureSource {
    MixtureSource {
        build: build.clone(),
        split: Split::Train,
        dataset: dataset.map(str::to_owned),
        weight,
    }
}

fn read(loader: &mut Loader, position: u64) -> Sequence {
    let mut sequence = Sequence::default();
    loader.read(position, &mut sequence).unwrap();
    sequence
}

const SHUFFLES: [(u64, u64); 5] = [(1, 3), (100, 2), (200, 7), (1000, 1), (300, u64::MAX)];

#[test]
fn every_packing_of_every_source_is_what_the_lists_say() {
    for seed in 0..6 {
        let made = made(corpus(seed, 70));
        for packing in [Packing::Concatenate, Packing::BestFit] {
            for (chunk_tokens, group_chunks) in SHUFFLES {
                let options = options(packing, chunk_tokens, group_chunks);
                for (dataset, name) in [
                    (None, None),
                    (Some(0), Some("prose")),
                    (Some(1), Some("chat")),
                ] {
                    let expected = expected(&made.corpus, dataset, &options);
                    let mut loader =
                        Loader::mixture(&[source(&made.build, name, 1)], options).unwrap();
                    let n = loader.sequences();
                    assert_eq!(n, expected.len() as u64);
                    let mut sequence = Sequence::default();
                    for (number, expected) in expected.iter().enumerate() {
                        loader.read_in_order(number as u64, &mut sequence).unwrap();
                        assert_eq!(sequence, *expected, "{options:?} {name:?} {number}");
                    }
                    for epoch in 0..2 {
                        let mut order: Vec<Sequence> =
                            (0..n).map(|at| read(&mut loader, epoch * n + at)).collect();
                        order.sort_by_key(|sequence| sequence.first_token);
                        let mut stored = expected.clone();
                        stored.sort_by_key(|sequence| sequence.first_token);
                        assert_eq!(order, stored);
                    }
                }
            }
        }
    }
}

#[test]
fn best_fit_gives_every_token_once_and_cuts_only_what_is_longer_than_a_sequence() {
    let made = made(corpus(11, 90));
    let options = options(Packing::BestFit, 500, 2);
    let mut loader = Loader::new(&made.build, Split::Train, options).unwrap();
    let tokens = tokens_of(&made.corpus, None);
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut filling, mut trained) = (0, 0);
    for position in 0..loader.sequences() {
        let sequence = read(&mut loader, position);
        filling += sequence.padding;
        trained += sequence.loss.iter().filter(|loss| **loss).count();
        let filled = sequence.ids.len() - sequence.padding;
        assert!(sequence.loss[filled - 1..].iter().all(|loss| !loss));
        assert!(sequence.ids[filled..].iter().all(|id| *id == 0));
        let segments = sequence.segments();
        assert_eq!(segments.iter().map(std::ops::Range::len).sum::<usize>(), 25);
        let real = segments.iter().filter(|segment| segment.start < filled);
        for (segment, row) in real.zip(&sequence.rows) {
            let of_row: u64 = tokens.iter().filter(|token| token.2 == *row).count() as u64;
            assert!(
                segment.len() as u64 == of_row || of_row > 25,
                "{segment:?} {row}"
            );
            *seen.entry(*row).or_default() += segment.len() as u64;
        }
    }
    for (row, document) in made.corpus.documents.iter().enumerate() {
        assert_eq!(seen[&(row as u64)], document.tokens, "document {row}");
    }
    assert_eq!(filling + tokens.len(), loader.sequences() as usize * 25);
    assert!(
        trained > 0 && filling < tokens.len() / 10,
        "{filling} of filling"
    );
}

#[test]
fn every_target_of_a_dataset_comes_once_an_epoch() {
    let made = made(corpus(3, 90));
    let sources = [
        source(&made.build, Some("prose"), 3),
        source(&made.build, Some("chat"), 1),
    ];
    let options = options(Packing::Concatenate, 400, 2);
    let mut loader = Loader::mixture(&sources, options).unwrap();
    let mut counts: Vec<BTreeMap<(u64, usize), usize>> = vec![BTreeMap::new(); 2];
    let accounts = loader.accounts(0);
    let until = (0..)
        .find(|at| {
            loader
                .accounts(*at)
                .iter()
                .all(|account| account.epochs() >= 1)
        })
        .unwrap();
    let mut given = [0, 0];
    for position in 0..until {
        let sequence = read(&mut loader, position);
        if given[sequence.source] < accounts[sequence.source].epoch_sequences {
            *counts[sequence.source]
                .entry((sequence.first_token, 0))
                .or_default() += 1;
        }
        given[sequence.source] += 1;
    }
    let after = loader.accounts(until);
    for (i, account) in after.iter().enumerate() {
        assert_eq!(account.given, given[i]);
        assert_eq!(counts[i].len() as u64, account.epoch_sequences);
        assert!(counts[i].values().all(|times| *times == 1));
        let tokens = tokens_of(&made.corpus, Some(i as u32)).len() as u64;
        assert_eq!(account.epoch_tokens, tokens);
        assert_eq!(account.epoch_sequences, (tokens - 1) / 24);
    }
    assert!(
        after[0].to_string().starts_with("prose of made-up: "),
        "{}",
        after[0]
    );
    // Three of four are of the first, never a whole one off.
    for position in 0..until {
        let [first, second] = &loader.accounts(position)[..] else {
            panic!("two sources")
        };
        assert_eq!(first.given + second.given, position);
        assert!((first.given * 4).abs_diff(position * 3) <= 4);
    }
}

/// The stream after a cut is the stream without it, whatever the number of machines before and after.
#[test]
fn five_hundred_cuts() {
    let builds: Vec<Made> = (20..23).map(|seed| made(corpus(seed, 80))).collect();
    let mut random = Random(77);
    let worlds = [1, 2, 3, 4, 6, 8];
    for cut in 0..500 {
        let packing = [Packing::Concatenate, Packing::BestFit][random.below(2) as usize];
        let (chunk_tokens, group_chunks) = SHUFFLES[random.below(5) as usize];
        let mut options = options(packing, chunk_tokens, group_chunks);
        options.seed = random.below(3);
        options.sequence_tokens = [7, 24, 40][random.below(3) as usize];
        let sources: Vec<MixtureSource> = match random.below(4) {
            0 => vec![source(&builds[0].build, None, 1)],
            1 => vec![source(&builds[1].build, Some("chat"), 5)],
            2 => vec![
                source(&builds[0].build, Some("prose"), 2),
                source(&builds[0].build, Some("chat"), 1),
                source(&builds[1].build, None, 1 + random.below(9)),
            ],
            _ => vec![
                source(&builds[2].build, None, 3),
                source(&builds[1].build, Some("prose"), 1),
            ],
        };
        let loader = || Loader::mixture(&sources, options).unwrap();
        let mut whole = loader();
        // Up to three epochs in; the last two sequences of all positions now and then.
        let start = random.below(3 * whole.sequences());
        let before = worlds[random.below(6) as usize];
        let after = worlds[random.below(6) as usize];
        let steps = 1 + random.below(4);
        let expected: Vec<Sequence> = (start..start + steps * before + 3 * after)
            .map(|position| read(&mut whole, position))
            .collect();
        // Machines read in turn, and all stop after as many steps.
        let mut stream = Vec::new();
        let mut run = |start: u64, world: u64, steps: u64| {
            let mut machines: Vec<Loader> = (0..world).map(|_| loader()).collect();
            for step in 0..steps {
                for rank in 0..world {
                    let stride = Stride { start, rank, world };
                    let position = stride.position(step).unwrap();
                    stream.push(read(&mut machines[rank as usize], position));
                }
            }
            let state = machines[0].state(start + steps * world);
            LoaderState::from_json(&state.to_json()).unwrap()
        };
        let state = run(start, before, steps);
        let position = loader().resume(&state).unwrap();
        run(position, after, 3);
        assert!(
            stream == expected,
            "cut {cut}: {options:?} from {start}, {before} machines, {steps} steps, then {after}"
        );
    }
}

#[test]
fn a_position_of_another_order_is_refused_in_words() {
    let (one, other) = (made(corpus(1, 60)), made(corpus(2, 60)));
    let sources = |made: &Made| {
        [
            source(&made.build, Some("prose"), 2),
            source(&made.build, None, 1),
        ]
    };
    let options = options(Packing::Concatenate, 100, 2);
    let state = Loader::mixture(&sources(&one), options).unwrap().state(17);
    let refused = |sources: &[MixtureSource], options: LoaderOptions| {
        let loader = Loader::mixture(sources, options).unwrap();
        assert_ne!(loader.state(17).digest(), state.digest());
        match loader.resume(&state).unwrap_err() {
            FormatError::Position { position: 17, what } => what,
            other => panic!("{other:?}"),
        }
    };
    let root = refused(&sources(&other), options);
    assert!(
        root.contains(&one.build.manifest().root) && root.contains(&other.build.manifest().root),
        "{root}"
    );
    let here = sources(&one);
    let with = |change: fn(&mut LoaderOptions)| {
        let mut changed = options;
        change(&mut changed);
        refused(&here, changed)
    };
    assert_eq!(with(|o| o.seed = 10), "the seed was 9, and is 10 now");
    assert!(with(|o| o.sequence_tokens = 23).contains("tokens in a sequence was 24, and is 23"));
    assert!(with(|o| o.packing = Packing::BestFit).contains("the packing was Concatenate"));
    assert!(with(|o| o.shuffle.group_chunks = 3).contains("the shuffle was"));
    assert!(refused(&here[..1], options).contains("number of sources was 2, and is 1"));
    let mut heavier = here.clone();
    heavier[1].weight = 3;
    assert!(refused(&heavier, options).contains("the weight of source 2 was 1, and is 3"));
    let mut another = here.clone();
    another[0].dataset = Some("chat".to_owned());
    assert!(refused(&another, options).contains("the dataset of source 1"));
    let same = Loader::mixture(&here, options).unwrap();
    assert_eq!(same.resume(&state).unwrap(), 17);

    let text = state.to_json();
    assert_eq!(LoaderState::from_json(&text).unwrap(), state);
    for wrong in [
        text.replace("\"seed\":9", "\"seed\":8"),
        text.replace("\"position\":17", "\"place\":17"),
        String::new(),
    ] {
        let error = LoaderState::from_json(&wrong).unwrap_err();
        assert!(matches!(error, FormatError::Position { .. }), "{error:?}");
    }
}

#[test]
fn mixtures_that_cannot_be_are_refused_before_anything_is_read() {
    let (one, other) = (made(corpus(1, 60)), made(corpus(2, 60)));
    let wide = made(Corpus {
        vocab_size: 70_000,
        ..corpus(1, 60)
    });
    let fine = options(Packing::Concatenate, 100, 2);
    let refused = |sources: &[MixtureSource], options| match Loader::mixture(sources, options) {
        Err(FormatError::Options { what }) => what,
        other => panic!("{:?}", other.map(drop)),
    };
    let all = |weight| source(&one.build, None, weight);
    assert!(refused(&[], fine).contains("nothing"));
    assert!(refused(&[all(0)], fine).contains("weight of made-up is 0"));
    assert!(refused(&[all(1), all(2)], fine).contains("twice"));
    assert!(refused(&[all(u64::MAX), source(&other.build, None, 1)], fine).contains("above 2^64"));
    let nobody = refused(&[source(&one.build, Some("nobody"), 1)], fine);
    assert!(
        nobody.contains("no dataset nobody; it has prose, chat"),
        "{nobody}"
    );
    let mut long = fine;
    long.sequence_tokens = 100_000;
    assert!(refused(&[source(&one.build, Some("chat"), 1)], long).contains("dataset chat has"));
    for (chunk_tokens, group_chunks) in [(0, 1), (1, 0)] {
        let none = options(Packing::Concatenate, chunk_tokens, group_chunks);
        assert!(refused(&[all(1)], none).contains("shuffle"));
    }
    // The tokenizer's file is the same here, whatever the vocabulary says; two real ones differ in it.
    assert!(Loader::mixture(&[all(1), source(&wide.build, None, 1)], fine).is_ok());
}

#[test]
fn reading_ahead_changes_nothing_but_the_time() {
    let made = made(corpus(5, 80));
    let options = options(Packing::BestFit, 200, 3);
    let loader = || Loader::new(&made.build, Split::Train, options).unwrap();
    let mut plain = loader();
    let all: Vec<Sequence> = (0..60).map(|position| read(&mut plain, position)).collect();
    for (rank, world, ahead) in [(0, 1, 1), (0, 1, 7), (1, 3, 2), (7, 8, 0)] {
        let stride = Stride {
            start: 4,
            rank,
            world,
        };
        let mut prefetch = Prefetch::start(loader(), stride, ahead).unwrap();
        let mut sequence = Sequence::default();
        for step in 0..6 {
            assert_eq!(prefetch.position(), 4 + step * world);
            let position = prefetch.read(&mut sequence).unwrap();
            assert_eq!(position, 4 + step * world + rank);
            assert_eq!(sequence, all[position as usize]);
        }
    }
    let none = Prefetch::start(
        loader(),
        Stride {
            start: 0,
            rank: 2,
            world: 2,
        },
        1,
    )
    .unwrap_err();
    assert!(
        none.to_string().contains("rank 2 of a world of 2"),
        "{none}"
    );
    // The last position there is, then the end.
    let mut last = Prefetch::start(loader(), Stride::alone(u64::MAX), 4).unwrap();
    let mut sequence = Sequence::default();
    assert_eq!(last.read(&mut sequence).unwrap(), u64::MAX);
    let ended = last.read(&mut sequence).unwrap_err();
    assert!(matches!(ended, FormatError::Ended { .. }), "{ended:?}");
}

#[test]
fn an_error_comes_at_its_place_in_the_order_and_nothing_after_it() {
    let made = made(corpus(5, 80));
    let options = options(Packing::Concatenate, 200, 3);
    let loader = || Loader::new(&made.build, Split::Train, options).unwrap();
    let path = made.build.folder().join("train-00002.zst");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut plain = loader();
    let mut sequence = Sequence::default();
    let fails = (0..)
        .find(|at| plain.read(*at, &mut sequence).is_err())
        .unwrap();
    assert!(fails > 2, "the first is damaged: choose another seed");
    let mut prefetch = Prefetch::start(loader(), Stride::alone(0), 5).unwrap();
    for position in 0..fails {
        assert_eq!(prefetch.read(&mut sequence).unwrap(), position);
    }
    let error = prefetch.read(&mut sequence).unwrap_err();
    assert!(
        matches!(error, FormatError::FrameDamaged { frame: 0, .. }),
        "{error:?}"
    );
    assert_eq!(prefetch.position(), fails);
    let error = prefetch.read(&mut sequence).unwrap_err();
    assert!(matches!(error, FormatError::Ended { .. }), "{error:?}");
    // A loader after an error gives again what it can.
    for (position, whole) in (0..fails).map(|at| (at, read(&mut loader(), at))) {
        assert_eq!(read(&mut plain, position), whole);
    }
}

#[test]
fn a_reader_that_is_dropped_ends_its_thread() {
    let made = made(corpus(5, 80));
    let options = options(Packing::Concatenate, 200, 3);
    for (ahead, taken) in [(1, 0), (1, 1), (3, 2), (50, 1), (50, 200)] {
        let loader = Loader::new(&made.build, Split::Train, options).unwrap();
        let mut prefetch = Prefetch::start(loader, Stride::alone(0), ahead).unwrap();
        let mut sequence = Sequence::default();
        for _ in 0..taken {
            prefetch.read(&mut sequence).unwrap();
        }
        // Waits for the thread, whose positions have no end: had it not stopped, this would not return.
        drop(prefetch);
    }
}
