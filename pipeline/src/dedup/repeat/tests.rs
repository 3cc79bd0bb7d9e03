//! The laws of the whole: equal to a slow definition, independent of memory, threads and chunks, linear on texts made to
//! be slow.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::time::Instant;

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// Texts in memory; no text for an ordinal that is left out.
struct Held {
    texts: Vec<Option<String>>,
    chunk_documents: usize,
}

impl Held {
    fn new<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self {
            texts: texts.into_iter().map(|text| Some(text.into())).collect(),
            chunk_documents: 2,
        }
    }
}

impl Texts for Held {
    type Error = Infallible;
    fn bytes(&self) -> u64 {
        self.texts
            .iter()
            .flatten()
            .map(|text| text.len() as u64)
            .sum()
    }
    fn chunks(&self) -> usize {
        self.texts.len().div_ceil(self.chunk_documents)
    }
    fn for_each_in(
        &self,
        chunk: usize,
        each: &mut dyn FnMut(Ordinal, &str),
    ) -> Result<(), Infallible> {
        let first = chunk * self.chunk_documents;
        for (document, text) in self
            .texts
            .iter()
            .enumerate()
            .skip(first)
            .take(self.chunk_documents)
        {
            if let Some(text) = text {
                each(u32::try_from(document).unwrap(), text);
            }
        }
        Ok(())
    }
}

fn find(texts: &Held, unit: Unit, scope: Scope, memory_bytes: u64) -> Repeats {
    let options = RepeatOptions {
        unit,
        scope,
        memory_bytes,
    };
    let Ok(repeats) = repeated(texts, &options);
    repeats
}

/// What remains of each text.
fn rest(texts: &Held, repeats: &Repeats) -> Vec<String> {
    texts
        .texts
        .iter()
        .enumerate()
        .map(|(document, text)| {
            let cuts = repeats.cuts(u32::try_from(document).unwrap());
            remaining(text.as_deref().unwrap_or_default(), cuts).into_owned()
        })
        .collect()
}

fn trimmed(texts: &[&str], unit: Unit, scope: Scope) -> Vec<String> {
    let texts = Held::new(texts.iter().copied());
    rest(&texts, &find(&texts, unit, scope, 1 << 20))
}

const LINES: Unit = Unit::Lines { min_chars: 4 };
const PARAGRAPHS: Unit = Unit::Paragraphs { min_chars: 4 };

fn spans(words: u32) -> Unit {
    Unit::Spans {
        words: NonZeroU32::new(words).unwrap(),
    }
}

#[test]
fn the_first_copy_of_a_line_stays_and_short_lines_are_let_be() {
    let texts = [
        "fn a() {\n    body\n}\n",
        "fn a() {\n\tother\n}\n  body  \n",
    ];
    assert_eq!(
        trimmed(&texts, LINES, Scope::Corpus),
        ["fn a() {\n    body\n}\n", "\tother\n}\n"]
    );
    assert_eq!(trimmed(&texts, LINES, Scope::Document), texts);
    let within = ["head\n1\nhead\n2\nhead\n", "head\n"];
    assert_eq!(
        trimmed(&within, LINES, Scope::Document),
        ["head\n1\n2\n", "head\n"]
    );
    assert_eq!(trimmed(&within, LINES, Scope::Corpus), ["head\n1\n2\n", ""]);
}

#[test]
fn paragraphs_go_whole_or_not_at_all() {
    let texts = [
        "Title of it\n\nBody, first line\nand second\n\nEnd of it\n",
        "Other\n\nBody, first line\r\n\r\nBody, first line\nand second\n \nRest\n",
    ];
    let expected = [texts[0], "Other\n\nBody, first line\r\n\r\nRest\n"];
    assert_eq!(trimmed(&texts, PARAGRAPHS, Scope::Corpus), expected);
}

#[test]
fn counts_say_what_was_done() {
    let texts = Held::new([
        "line one\nline two\n}\n",
        "line two\nline one\nline two\nnew line\n",
        "none\n",
    ]);
    let repeats = find(&texts, LINES, Scope::Corpus, 1 << 20);
    let expected = Counts {
        pieces: 7,
        repeats: 3,
        cuts: 1,
        bytes: 27,
        documents: 1,
    };
    assert_eq!(repeats.counts, expected);
    let found: Vec<_> = repeats.iter().collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.first()), (1, Some(&(0..27))));
    assert_eq!(repeats.cuts(0), []);
    assert_eq!(repeats.cuts(9), []);
}

#[test]
fn a_copied_run_of_words_is_cut_between_sentences() {
    let shared = "The quick brown fox jumps over the lazy dog. It does so every day.";
    let texts = [
        format!("First. {shared} Then it rests."),
        format!("Second text says so and {shared} Now it is over."),
        format!("Third.\n{shared}\nThe end.\n"),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(
        trimmed(&texts, spans(8), Scope::Corpus),
        [
            texts[0],
            "Second text says so and The quick brown fox jumps over the lazy dog. Now it is over.",
            "Third.\nThe end.\n",
        ]
    );
    assert_eq!(trimmed(&texts, spans(15), Scope::Corpus), texts);
}

#[test]
fn case_counts_in_words_and_what_stands_between_them_does_not() {
    let texts = [
        "One two three four five.",
        "ONE two three four five.",
        "One - two... three, four\nfive!",
    ];
    assert_eq!(
        trimmed(&texts, spans(5), Scope::Corpus),
        [texts[0], texts[1], ""]
    );
}

#[test]
fn of_a_text_that_repeats_itself_the_first_window_stays() {
    let texts = ["la ".repeat(1000)];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for scope in [Scope::Document, Scope::Corpus] {
        assert_eq!(
            trimmed(&texts, spans(50), scope),
            ["la ".repeat(50).trim_end()]
        );
        let verse = "Sur le pont d'Avignon\n".repeat(9);
        assert_eq!(
            trimmed(&[&verse], spans(4), scope),
            ["Sur le pont d'Avignon\n"]
        );
        assert_eq!(
            trimmed(&[&verse], spans(6), scope),
            ["Sur le pont d'Avignon\n".repeat(2)]
        );
    }
    // One that repeats another's loses all of it.
    assert_eq!(
        trimmed(&[texts[0], texts[0]], spans(50), Scope::Corpus)[1],
        ""
    );
}

#[test]
fn a_run_without_sentences_is_cut_between_words() {
    let numbers = |range: Range<u32>| {
        range
            .map(|number| format!("w{number} "))
            .collect::<String>()
    };
    let texts = [numbers(0..300), format!("a b {}c d", numbers(50..250))];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(
        trimmed(&texts, spans(50), Scope::Corpus),
        [texts[0], "a b c d"]
    );
    // Of a sentence that might be one, nothing goes.
    let texts = [numbers(0..300), format!("a b {}c d", numbers(50..140))];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(trimmed(&texts, spans(50), Scope::Corpus), texts);
}

#[test]
fn texts_of_any_script_and_none_are_cut_between_characters() {
    let han = "\u{4eca}\u{5929}\u{5929}\u{6c14}\u{5f88}\u{597d}\u{3002}\u{6211}\u{4eec}\u{53bb}\u{516c}\u{56ed}\u{5427}\u{ff01}";
    let texts = [
        han.to_owned(),
        format!("\u{55ce}\u{ff1f}{han}\u{597d}\u{3002}"),
        String::new(),
        " \n\t\r\n \u{3000}".to_owned(),
        "\0\0\0\0\n\0\0\0\0\n\0\0\0\0".to_owned(),
        "\u{1f600}\u{1f600}\u{1f600}\u{1f600}\n".repeat(3),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = trimmed(&texts, spans(12), Scope::Corpus);
    assert_eq!(found[1], "\u{55ce}\u{ff1f}\u{597d}\u{3002}");
    assert_eq!(found[2..], texts[2..]);
    let found = trimmed(&texts, LINES, Scope::Corpus);
    assert_eq!(found[3], texts[3]);
    assert_eq!(found[4], "\0\0\0\0");
    assert_eq!(found[5], "\u{1f600}\u{1f600}\u{1f600}\u{1f600}\n");
}

#[test]
fn default_units_leave_structure_alone() {
    let code = "fn main() {\n    return None;\n}\n".repeat(5);
    assert_eq!(
        trimmed(&[&code], Unit::LINES, Scope::Document),
        [code.as_str()]
    );
    let turns = "\"Yes, sir.\"\n\n\"No, sir.\"\n\n".repeat(5);
    assert_eq!(
        trimmed(&[&turns], Unit::PARAGRAPHS, Scope::Document),
        [turns.as_str()]
    );
    let Unit::Spans { words } = Unit::SPANS else {
        panic!("spans are spans");
    };
    assert_eq!(words.get(), 50);
}

#[test]
fn an_unread_text_ends_the_search() {
    struct Torn;
    impl Texts for Torn {
        type Error = &'static str;
        fn bytes(&self) -> u64 {
            0
        }
        fn chunks(&self) -> usize {
            3
        }
        fn for_each_in(
            &self,
            chunk: usize,
            _: &mut dyn FnMut(Ordinal, &str),
        ) -> Result<(), &'static str> {
            if chunk == 1 { Err("torn") } else { Ok(()) }
        }
    }
    for scope in [Scope::Document, Scope::Corpus] {
        let options = RepeatOptions {
            unit: LINES,
            scope,
            memory_bytes: 0,
        };
        assert_eq!(repeated(&Torn, &options), Err("torn"));
    }
}

/// A text that would be slow to judge if any step looked at each byte more than a few times.
fn assert_quick(name: &str, text: String, unit: Unit) -> Repeats {
    let bytes = text.len();
    let texts = Held::new([text]);
    let begun = Instant::now();
    let within = find(&texts, unit, Scope::Document, 1 << 20);
    let across = find(&texts, unit, Scope::Corpus, 8 << 20);
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(within, across, "{name}");
    // A tenth of what a busy machine does; a quadratic step takes hours.
    assert!(seconds < 60.0, "{name}: {bytes} bytes took {seconds:.1} s");
    within
}

#[test]
fn large_texts_made_to_be_slow_are_not() {
    let size = 50_000_000;
    let cut = assert_quick("one word", "a ".repeat(size / 2), spans(50)).counts;
    assert_eq!((cut.cuts, cut.bytes), (1, size as u64 - 99));
    let wide = spans(10_000);
    let cut = assert_quick("a wide window", "a ".repeat(size / 10), wide).counts;
    assert_eq!(cut.bytes, size as u64 / 5 - 19_999);
    assert_quick(
        "a full stop and spaces",
        format!("{}{}", "b ".repeat(200), ". ".repeat(size / 10)),
        spans(50),
    );
    assert_quick(
        "spaces",
        format!("{}. {}", "b ".repeat(200), " ".repeat(size / 2)),
        spans(50),
    );
    let lines = assert_quick(
        "one line",
        format!("{}\n", "line".repeat(8)).repeat(size / 100),
        Unit::LINES,
    );
    assert_eq!(lines.counts.cuts, 1);
    assert_quick("no line end", "b".repeat(size), Unit::LINES);
    assert_quick("line ends", "\n".repeat(size / 2), Unit::PARAGRAPHS);
    let gaps = format!("{}\n\n", "gap ".repeat(20)).repeat(size / 200);
    let paragraphs = assert_quick("gaps", gaps, Unit::PARAGRAPHS);
    assert_eq!(paragraphs.counts.repeats, paragraphs.counts.pieces - 1);
    // Cuts on one line, each after a word of its own.
    let copied = "One two three four five six. ";
    let mixed: String = (0..size / 200)
        .map(|number| format!("N{number}. {copied}"))
        .collect();
    let cuts = assert_quick("many cuts", mixed, spans(6)).counts.cuts;
    assert_eq!(cuts, size as u64 / 200 - 1);
}

// What follows is the definition again, slowly and by other means.

/// The repeats of an ordered list of pieces, each of a document.
fn slow_repeats(pieces: &[(usize, String)], scope: Scope) -> Vec<bool> {
    let mut seen = HashSet::new();
    pieces
        .iter()
        .map(|(document, piece)| {
            let place = if scope == Scope::Document {
                *document
            } else {
                0
            };
            !seen.insert((place, piece.clone()))
        })
        .collect()
}

/// Of each text, its lines and which of them go; for paragraphs too.
fn slow_lines(texts: &[String], unit: Unit, scope: Scope) -> Vec<String> {
    let long_enough = |piece: &str, min_chars: u32| {
        piece.chars().count() >= min_chars as usize && !piece.is_empty()
    };
    let mut pieces = Vec::new();
    // For each text, for each line, the piece it belongs to.
    let mut members: Vec<Vec<(String, Option<usize>)>> = Vec::new();
    for (document, text) in texts.iter().enumerate() {
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let mut own: Vec<(String, Option<usize>)> = Vec::new();
        let is_paragraph = matches!(unit, Unit::Paragraphs { .. });
        for group in
            lines.chunk_by(|a, b| is_paragraph && a.trim().is_empty() == b.trim().is_empty())
        {
            let content = group.concat().trim().to_owned();
            let (Unit::Lines { min_chars } | Unit::Paragraphs { min_chars }) = unit else {
                panic!("not by lines");
            };
            let piece = long_enough(&content, min_chars).then(|| {
                pieces.push((document, content));
                pieces.len() - 1
            });
            own.extend(group.iter().map(|line| (line.clone(), piece)));
        }
        members.push(own);
    }
    let repeats = slow_repeats(&pieces, scope);
    members
        .into_iter()
        .zip(texts)
        .map(|(lines, text)| {
            let mut rest = String::new();
            let mut is_cutting = false;
            let mut was_blank = true;
            let mut last_cut = false;
            for (line, piece) in &lines {
                let is_blank = line.trim().is_empty();
                if piece.is_some_and(|piece| repeats[piece]) {
                    is_cutting = true;
                    last_cut = true;
                } else {
                    if !is_blank {
                        last_cut = false;
                    }
                    if !(is_blank && is_cutting && was_blank) {
                        rest.push_str(line);
                        is_cutting = false;
                    }
                }
                if !is_cutting {
                    was_blank = is_blank;
                }
            }
            ended_as(text, rest, last_cut)
        })
        .collect()
}

/// The end of what remains, if the end was cut.
fn ended_as(text: &str, rest: String, was_cut: bool) -> String {
    if !was_cut {
        return rest;
    }
    let kept = rest.trim_end();
    let end = ["\r\n", "\n"].into_iter().find(|end| text.ends_with(end));
    if kept.is_empty() {
        String::new()
    } else {
        format!("{kept}{}", end.unwrap_or_default())
    }
}

fn words_of(text: &str) -> Vec<(usize, &str)> {
    text.unicode_word_indices().collect()
}

/// For each text, which of its words are covered.
fn slow_cover(texts: &[String], width: usize, scope: Scope) -> Vec<Vec<bool>> {
    let windows: Vec<Vec<Vec<&str>>> = texts
        .iter()
        .map(|text| {
            let words: Vec<&str> = words_of(text).into_iter().map(|(_, word)| word).collect();
            words.windows(width).map(<[&str]>::to_vec).collect()
        })
        .collect();
    let mut firsts: HashMap<(usize, &[&str]), (usize, usize)> = HashMap::new();
    for (document, own) in windows.iter().enumerate() {
        for (at, window) in own.iter().enumerate() {
            let place = if scope == Scope::Document {
                document
            } else {
                0
            };
            firsts.entry((place, window)).or_insert((document, at));
        }
    }
    windows
        .iter()
        .enumerate()
        .map(|(document, own)| {
            let mut covered = vec![false; words_of(&texts[document]).len()];
            for (at, window) in own.iter().enumerate() {
                let place = if scope == Scope::Document {
                    document
                } else {
                    0
                };
                if firsts[&(place, window.as_slice())] == (document, at) {
                    continue;
                }
                let overlapping = (0..at).rev().find(|before| own[*before] == *window);
                let start = overlapping.map_or(at, |before| at.max(before + width));
                covered[start..at + width].fill(true);
            }
            covered
        })
        .collect()
}

/// Whether a sentence begins or ends at `at`, looking back from there.
fn is_boundary(text: &str, at: usize) -> bool {
    let (before, after) = text.split_at(at);
    let Some(next) = after.chars().next() else {
        return true;
    };
    if before.is_empty() || before.ends_with('\n') {
        return true;
    }
    let line = before.rsplit('\n').next().unwrap_or_default();
    let unspaced = line.trim_end();
    let is_spaced = unspaced.len() < line.len();
    let unclosed = unspaced.trim_end_matches(['"', '\'', ')', '\u{300d}']);
    let by = unclosed.chars().next_back();
    let goes_on = next.is_whitespace()
        || ".!?\u{3002}".contains(next)
        || !is_spaced && "\"')\u{300d}".contains(next);
    match by {
        _ if goes_on => false,
        Some('.') => is_spaced && !next.is_lowercase(),
        Some('!' | '?') => is_spaced,
        Some('\u{3002}') => true,
        _ => false,
    }
}

/// Of each text the ranges that sentences bound, before they are laid.
fn slow_spans(texts: &[String], width: usize, scope: Scope) -> Vec<Vec<Range<usize>>> {
    slow_cover(texts, width, scope)
        .iter()
        .zip(texts)
        .map(|(covered, text)| {
            let words = words_of(text);
            let mut ranges = Vec::new();
            let mut at = 0;
            for run in covered.chunk_by(|a, b| a == b) {
                let (first, end) = (at, at + run.len());
                at = end;
                if !run[0] || run.len() < width {
                    continue;
                }
                let from = first
                    .checked_sub(1)
                    .map_or(0, |word| words[word].0 + words[word].1.len());
                let to = words.get(end).map_or(text.len(), |word| word.0);
                let mut found =
                    (from..=to).filter(|at| text.is_char_boundary(*at) && is_boundary(text, *at));
                if let Some(start) = found.next()
                    && let Some(end) = found.next_back()
                {
                    ranges.push(start..end);
                }
            }
            ranges
        })
        .collect()
}

fn any_scope() -> impl Strategy<Value = Scope> {
    prop::sample::select(vec![Scope::Document, Scope::Corpus])
}

/// Texts of few words, so that many repeat, with all that bounds lines and sentences between them.
fn wordy_texts() -> impl Strategy<Value = Vec<String>> {
    let words = prop::sample::select(vec!["a", "b", "Foo", "don't", "\u{4f60}", "\u{e9}t\u{e9}"]);
    let gaps = prop::sample::select(vec![
        " ",
        " ",
        " ",
        ", ",
        ". ",
        ".\n",
        "\n",
        "\r\n",
        "\n\n",
        "! ",
        "?\" ",
        "\u{3002}",
        "\u{3002}\u{300d}",
        " (",
        ".\t",
        ". . ",
        "\n \n",
        "\0",
    ]);
    let text = prop::collection::vec((words, gaps), 0..40).prop_map(|parts| {
        parts
            .into_iter()
            .flat_map(|(word, gap)| [word, gap])
            .collect::<String>()
    });
    let copied = (
        prop::collection::vec(text, 1..6),
        any::<[prop::sample::Index; 3]>(),
    );
    copied.prop_map(|(mut texts, [from, to, at])| {
        // One text as a whole within another, besides what chance repeats.
        let copy = texts[from.index(texts.len())].clone();
        let to = to.index(texts.len());
        let mut at = at.index(texts[to].len() + 1);
        while !texts[to].is_char_boundary(at) {
            at -= 1;
        }
        texts[to].insert_str(at, &copy);
        texts
    })
}

fn lined_texts() -> impl Strategy<Value = Vec<String>> {
    let lines = prop::sample::select(vec![
        "",
        "",
        " \t",
        "}",
        "line",
        " line ",
        "other line",
        "\u{4f60}\u{597d}\u{4f60}\u{597d}",
        "\0\0\0\0",
        "third",
        "\u{3000}",
    ]);
    let ends = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r", ""]);
    let text = prop::collection::vec((lines, ends), 0..24).prop_map(|parts| {
        parts
            .into_iter()
            .flat_map(|(line, end)| [line, end])
            .collect::<String>()
    });
    prop::collection::vec(text, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn lines_and_paragraphs_go_as_the_definition_says(texts in lined_texts(), scope in any_scope(), min_chars in 0u32..6) {
        for unit in [Unit::Lines { min_chars }, Unit::Paragraphs { min_chars }] {
            let held = Held::new(texts.iter().cloned());
            let found = rest(&held, &find(&held, unit, scope, 4000));
            prop_assert_eq!(found, slow_lines(&texts, unit, scope), "{:?}", unit);
        }
    }

    #[test]
    fn spans_go_as_the_definition_says(texts in wordy_texts(), scope in any_scope(), width in 1u32..9) {
        let held = Held::new(texts.iter().cloned());
        let repeats = find(&held, spans(width), scope, 4000);
        let slow = slow_spans(&texts, width as usize, scope);
        for ((document, text), ranges) in (0..).zip(&texts).zip(&slow) {
            let expected = cut::lay(text, ranges);
            prop_assert_eq!(repeats.cuts(document), expected, "{:?}", text);
        }
    }

    #[test]
    fn cuts_are_in_order_apart_and_counted(texts in wordy_texts(), scope in any_scope(), width in 1u32..9) {
        let held = Held::new(texts.iter().cloned());
        for unit in [spans(width), Unit::Lines { min_chars: width }, Unit::Paragraphs { min_chars: width }] {
            let repeats = find(&held, unit, scope, 4000);
            let mut counts = Counts { pieces: repeats.counts.pieces, repeats: repeats.counts.repeats, ..Counts::default() };
            for (document, cuts) in repeats.iter() {
                let text = &texts[document as usize];
                prop_assert!(cuts.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert!(!cuts.is_empty() && cuts.iter().all(|cut| cut.start < cut.end));
                let rest = remaining(text, cuts);
                counts.documents += 1;
                counts.cuts += cuts.len() as u64;
                counts.bytes += (text.len() - rest.len()) as u64;
                // What stood on different lines still does.
                for cut in cuts.iter().map(|cut| cut.start as usize..cut.end as usize) {
                    let (before, after) = (&text[..cut.start], &text[cut.end..]);
                    prop_assert!(
                        !text[cut].contains('\n')
                            || before.is_empty()
                            || before.ends_with('\n')
                            || after.is_empty()
                            || after.starts_with('\n')
                            || after.starts_with("\r\n"),
                        "{:?}", text
                    );
                }
            }
            prop_assert_eq!(repeats.counts, counts);
            prop_assert!(repeats.counts.repeats <= repeats.counts.pieces);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn neither_memory_nor_threads_nor_chunks_change_the_result(
        texts in prop::collection::vec(wordy_texts(), 1..20), left_out in any::<u64>(), width in 1u32..9,
    ) {
        let mut held = Held::new(texts.into_iter().flatten());
        for (document, text) in held.texts.iter_mut().enumerate() {
            if left_out >> (document % 64) & 7 == 7 {
                *text = None;
            }
        }
        for unit in [spans(width), Unit::Lines { min_chars: 2 }, Unit::Paragraphs { min_chars: 2 }] {
            for scope in [Scope::Corpus, Scope::Document] {
                held.chunk_documents = 1000;
                let expected = find(&held, unit, scope, 1 << 20);
                for (threads, chunk_documents, memory) in [(1, 1, 0), (4, 3, 50_000), (3, 1, 1 << 20), (2, 7, 100)] {
                    held.chunk_documents = chunk_documents;
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let found = pool.install(|| find(&held, unit, scope, memory));
                    prop_assert_eq!(&found, &expected, "{} threads, {} bytes", threads, memory);
                }
            }
        }
    }
}

/// Enough lines that shards fill up, narrow and come again, and some lines that would fill them alone.
#[test]
fn little_memory_takes_more_walks_and_finds_the_same() {
    let texts: Vec<String> = (0..400u64)
        .map(|document| {
            (0..200)
                .map(|line| match (document * 7919 + line * 104_729) % 30_000 {
                    common if common % 3 == 0 => "the line that is everywhere\n".to_owned(),
                    number => format!("line with the number {number}\n"),
                })
                .collect()
        })
        .collect();
    let expected = slow_lines(&texts, LINES, Scope::Corpus);
    let held = Held::new(texts);
    let plenty = find(&held, LINES, Scope::Corpus, 1 << 30);
    assert_eq!(rest(&held, &plenty), expected);
    for memory in [0, 10_000, 100_000, 400_000] {
        assert!(
            find(&held, LINES, Scope::Corpus, memory) == plenty,
            "{memory} bytes"
        );
    }
}

/// `ANDROMEDA_TEXTS=folder cargo test --release -p andromeda-pipeline -- --ignored --nocapture rates` measures on the
/// text files of a folder; without it on made-up lines.
#[test]
#[ignore = "a measurement"]
fn rates() {
    let texts = match std::env::var("ANDROMEDA_TEXTS") {
        Ok(folder) => read_folder(std::path::Path::new(&folder), 100_000_000),
        Err(_) => (0..2000u64)
            .map(|document| {
                (0..1000)
                    .map(|line| {
                        format!(
                            "some line of words with the number {}\n",
                            (document * line) % 500_000
                        )
                    })
                    .collect()
            })
            .collect(),
    };
    let mut held = Held::new(texts);
    held.chunk_documents = 64;
    let bytes = held.bytes() as f64 / 1e6;
    println!("{} documents, {bytes:.0} MB, one thread", held.texts.len());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    for unit in [Unit::LINES, Unit::PARAGRAPHS, Unit::SPANS] {
        for (scope, memory) in [
            (Scope::Document, 0),
            (Scope::Corpus, 1 << 30),
            (Scope::Corpus, 16 << 20),
        ] {
            let begun = Instant::now();
            let repeats = pool.install(|| find(&held, unit, scope, memory));
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "{unit:?} {scope:?} {} MiB: {:.0} MB/s; {:?}",
                memory >> 20,
                bytes / seconds,
                repeats.counts
            );
        }
    }
}

fn read_folder(folder: &std::path::Path, most: usize) -> Vec<String> {
    let mut texts = Vec::new();
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path)
                && bytes < most
            {
                bytes += text.len();
                texts.push(text);
            }
        }
    }
    texts
}
