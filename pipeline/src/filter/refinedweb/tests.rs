use super::super::edited;
use super::*;

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
