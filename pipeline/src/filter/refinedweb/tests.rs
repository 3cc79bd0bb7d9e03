use super::super::edited;
use super::*;
use crate::analysis::Scratch;

fn judge(text: &str) -> Result<String, &'static str> {
    edited(&RefinedwebLines(RefinedwebLinesOptions::default()), text)
}

/// A page long enough that a few words may go.
fn page(extra: &str) -> String {
    let line = "these words stand in a line and there are ten";
    let lines = [line; 20].join("\n");
    if extra.is_empty() {
        lines
    } else {
        format!("{lines}\n{extra}")
    }
}

// Expected texts are those of a transcription of DCLM's modifiers run on the same texts.

#[test]
fn lines_of_capitals_digits_counters_and_single_words_go() {
    for line in [
        "SHOUTED a",
        "2024",
        "٣٤²",
        "3 likes",
        "» 1,234.5K Views !",
        "alone",
        " alone ",
    ] {
        assert_eq!(judge(&page(line)), Ok(page("")), "{line}");
    }
    for line in ["Half Of", "20 24", "3 likes this", "likes 3", "two words"] {
        assert_eq!(judge(&page(line)), Ok(page(line)), "{line}");
    }
}

#[test]
fn menu_phrases_are_cut_from_short_lines() {
    assert_eq!(
        judge(&page("now 3 Items in Cart here")),
        Ok(page("now 3 here"))
    );
    assert_eq!(
        judge(&page("a bit of it. Read more...")),
        Ok(page("a bit of it."))
    );
    assert_eq!(
        judge(&page("a bit of it. read more>>>")),
        Ok(page("a bit of it."))
    );
    assert_eq!(judge(&page("Sign-in to see")), Ok(page("to see")));
    assert_eq!(judge(&page("items in cart")), Ok(page("")));
    let long = "this line has more words than ten, so it has no items in cart cut";
    assert_eq!(judge(&page(long)), Ok(page(long)));
}

#[test]
fn pages_that_lose_too_much_go() {
    // 10 of 210 words, then 11 of 211.
    assert_eq!(judge(&page(&["word"; 10].join("\n"))), Ok(page("")));
    assert_eq!(
        judge(&page(&["word"; 11].join("\n"))),
        Err("refinedweb-removed-words")
    );
    for text in ["", "   ", "\n\n", "one", "?! ?!"] {
        assert_eq!(judge(text), Err("refinedweb-nothing-left"), "{text:?}");
    }
}

#[test]
fn empty_lines_stay_and_runs_of_them_are_cut_by_the_other_rule() {
    let text = page("\n\n\ntwo words");
    assert_eq!(judge(&text), Ok(text.clone()));
    assert_eq!(
        edited(&RefinedwebNewlines, "a\n\n\n\nb\n\nc\n"),
        Ok("a\n\nb\n\nc\n".to_owned())
    );
    assert_eq!(
        edited(&RefinedwebNewlines, "a\n\nb"),
        Ok("a\n\nb".to_owned())
    );
}

/// The steps as they are published, text by text.
mod published {
    use super::super::super::{Edited, Reason, verdict::above};
    use super::super::{REMOVED, RefinedwebLinesOptions, is_counter, is_digit, phrase_length};
    use crate::analysis::{Analysis, Scratch, count_characters, is_space, strip};

    pub(super) fn edit(
        options: &RefinedwebLinesOptions,
        document: &Analysis<'_>,
    ) -> Result<Option<Edited>, Reason> {
        let before = document.split_words().tokens;
        let share = |line: &str, count: usize| count as f64 / count_characters(line) as f64;
        // One step after the other, each on what the last one left, as blank ends are cut between them.
        let steps: [&dyn Fn(&str) -> bool; 3] = [
            &|line| {
                let capitals = line.chars().filter(|c| c.is_uppercase()).count();
                share(line, capitals) <= options.max_uppercase_fraction
            },
            &|line| {
                let digits = line.chars().filter(|&c| is_digit(c)).count();
                share(line, digits) <= options.max_digit_fraction
            },
            &|line| !is_counter(line),
        ];
        let mut text = document.text().to_owned();
        for step in steps {
            text = with_lines(&text, |line| {
                (line.is_empty() || step(line)).then_some(line)
            });
            text = nonempty(strip(&text).to_owned())?;
        }
        text = nonempty(with_lines(&text, |line| {
            (line.is_empty() || words(line) >= options.min_line_words).then_some(line)
        }))?;
        for cut in [cut_inside, cut_end, cut_start] {
            let mut buffer = String::new();
            text = with_lines_into(&text, |line, out| {
                if words(line) > options.max_menu_line_words {
                    out.push_str(line);
                    return true;
                }
                buffer.clear();
                cut(line, &mut buffer);
                out.push_str(&buffer);
                line.is_empty() || !buffer.chars().all(is_space)
            });
            text = nonempty(strip(&text).to_owned())?;
        }
        if text == document.text() {
            return if before == 0 { Err(REMOVED) } else { Ok(None) };
        }
        let mut scratch = Scratch::default();
        let after = Analysis::new(&text, &mut scratch).map_or(0, |left| left.split_words().tokens);
        if before == 0 {
            return Err(REMOVED);
        }
        let removed = (before as f64 - after as f64) / before as f64;
        above(
            "refinedweb-removed-words",
            "refinedweb-removed-word-fraction",
            removed,
            options.max_removed_word_fraction,
        )
        .map_or(Ok(Some(Edited { text, tokens: None })), Err)
    }

    fn nonempty(text: String) -> Result<String, Reason> {
        if text.is_empty() {
            Err(REMOVED)
        } else {
            Ok(text)
        }
    }

    fn with_lines(text: &str, keep: impl Fn(&str) -> Option<&str>) -> String {
        let kept: Vec<&str> = text.split('\n').filter_map(keep).collect();
        kept.join("\n")
    }

    fn with_lines_into(text: &str, mut take: impl FnMut(&str, &mut String) -> bool) -> String {
        let mut out = String::with_capacity(text.len());
        let mut first = true;
        for line in text.split('\n') {
            let end = out.len();
            if !first {
                out.push('\n');
            }
            if take(line, &mut out) {
                first = false;
            } else {
                out.truncate(end);
            }
        }
        out
    }

    fn words(line: &str) -> usize {
        line.split(is_space).filter(|word| !word.is_empty()).count()
    }

    fn cut_inside(line: &str, out: &mut String) {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let after_space = if is_space(first) { first.len_utf8() } else { 0 };
            let hit = phrase_length(&rest[after_space..], "items in cart")
                .map(|length| after_space + length)
                .or_else(|| phrase_length(rest, "items in cart"));
            match hit {
                Some(length) => rest = &rest[length..],
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
    }

    fn cut_end(line: &str, out: &mut String) {
        let start = line
            .char_indices()
            .rev()
            .nth(11)
            .map_or(line.len(), |(at, _)| at);
        if phrase_length(&line[start..], "read more...") == Some(line.len() - start)
            && start < line.len()
        {
            let before = &line[..start];
            let space = before.chars().next_back().filter(|&c| is_space(c));
            out.push_str(&before[..before.len() - space.map_or(0, char::len_utf8)]);
        } else {
            out.push_str(line);
        }
    }

    fn cut_start(line: &str, out: &mut String) {
        match phrase_length(line, "sign-in") {
            None => out.push_str(line),
            Some(length) => {
                let rest = &line[length..];
                out.push_str(rest.strip_prefix(is_space).unwrap_or(rest));
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(3000))]

    #[test]
    fn lines_are_judged_as_one_step_after_the_other_does(pieces in proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..40)) {
        let text: String = pieces.concat();
        for max_removed_word_fraction in [0.05, 1.0] {
            for min_line_words in [0, 2] {
                let options = RefinedwebLinesOptions { max_removed_word_fraction, min_line_words, ..RefinedwebLinesOptions::default() };
                let mut scratch = Scratch::default();
                let document = Analysis::new(&text, &mut scratch).unwrap();
                let expected = published::edit(&options, &document);
                proptest::prop_assert_eq!(RefinedwebLines(options).edit(&document), expected, "{:?}", text);
            }
        }
    }
}

const PIECES: &[&str] = &[
    "a",
    "word ",
    "two words\n",
    "ONE",
    "\u{c9}T\u{c9}",
    "\u{e9}t\u{e9} ",
    "12",
    "\u{b2}",
    "\u{663} ",
    "3 likes",
    "1.5K Views",
    "_",
    "\u{24b6}",
    "items in cart",
    " Items In Cart",
    "Read more...",
    " read more>>>",
    "Sign-in ",
    "sign-in",
    "\n",
    "\n",
    "\n\n",
    "\n\n\n",
    " ",
    "  ",
    "\t",
    "\r",
    "\u{1c}",
    "\u{a0}",
    "\0x",
    ".",
    "these are the words of a line that has more than ten of them",
    "!",
    "\u{2028}",
    "?! ?!\n",
    "\u{130}",
];
