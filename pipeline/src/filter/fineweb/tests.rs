use super::super::verdict;
use super::*;

fn judge(text: &str) -> Verdict {
    verdict(&Fineweb(FinewebOptions::default()), text)
}

/// Lines of forty letters and a mark, each its own.
fn lines(count: u32) -> Vec<String> {
    (0..count)
        .map(|line| format!("{} some words stand in line number {line:02}.", "and so"))
        .collect()
}

// Expected verdicts are those of datatrove 0.10.1's FineWebQualityFilter on the same texts.

#[test]
fn blank_texts_are_empty() {
    for text in ["", "   ", "\n\n", "\u{1c}\n"] {
        assert_eq!(judge(text), Verdict::drop("empty"));
    }
}

#[test]
fn a_line_in_eight_ends_a_sentence() {
    let mut text = lines(9);
    text.iter_mut()
        .for_each(|line| *line = line.replace('.', ","));
    assert_eq!(
        judge(&text.join("\n")),
        Verdict::drop("fineweb-terminal-lines")
    );
    text[0] = text[0].replace(',', "!");
    // One of nine is 0.111.
    assert_eq!(
        judge(&text.join("\n")),
        Verdict::drop("fineweb-terminal-lines")
    );
    text.pop();
    assert_eq!(judge(&text.join("\n")), Verdict::Keep);
    // A space hides the mark, and so does a quotation mark.
    for hidden in ["! ", "!\"", "!\r"] {
        text[0] = text[0].replace('!', hidden);
        assert_eq!(
            judge(&text.join("\n")),
            Verdict::drop("fineweb-terminal-lines")
        );
        text[0] = text[0].replace(hidden, "!");
    }
    // Marks of other scripts count.
    text[0] = text[0].replace('!', "\u{964}");
    assert_eq!(judge(&text.join("\n")), Verdict::Keep);
}

#[test]
fn short_lines_are_of_up_to_thirty_characters() {
    let short = format!("{}.", "é".repeat(29));
    let text = |short: usize, long: u32, line: &str| {
        let mut all = lines(long);
        all.extend((0..short).map(|number| format!("{}{}", number % 10, &line['é'.len_utf8()..])));
        all.join("\n")
    };
    let rule = Fineweb(FinewebOptions {
        max_line_break_token_fraction: 1.0,
        ..FinewebOptions::default()
    });
    // 7 of 10 and 6 of 9.
    assert_eq!(
        verdict(&rule, &text(7, 3, &short)),
        Verdict::drop("fineweb-short-lines")
    );
    assert_eq!(verdict(&rule, &text(6, 3, &short)), Verdict::Keep);
    let long = format!("é{short}");
    assert_eq!(verdict(&rule, &text(7, 3, &long)), Verdict::Keep);
}

#[test]
fn a_line_may_not_come_again() {
    let mut text = lines(20);
    assert_eq!(judge(&text.join("\n")), Verdict::Keep);
    text.push(text[0].clone());
    assert_eq!(
        judge(&text.join("\n")),
        Verdict::drop("fineweb-dup-line-characters")
    );
}

#[test]
fn lists_have_a_line_end_for_three_words() {
    let rule = Fineweb(FinewebOptions {
        max_short_line_fraction: None,
        ..FinewebOptions::default()
    });
    let list = |words: &str| {
        (0..9)
            .map(|item| format!("{item}{words}.\n"))
            .collect::<String>()
    };
    // Two tokens a line end, then four.
    assert_eq!(verdict(&rule, &list("a")), Verdict::drop("fineweb-list"));
    assert_eq!(verdict(&rule, &list("a word here")), Verdict::Keep);
}

#[test]
fn texts_without_ends_may_be_spared() {
    let rule = Fineweb(FinewebOptions {
        keep_without_terminal_lines: true,
        ..FinewebOptions::default()
    });
    let text = "these words stand in a line that has no mark at its end, but that is all";
    assert_eq!(verdict(&rule, text), Verdict::Keep);
    assert_eq!(judge(text), Verdict::drop("fineweb-terminal-lines"));
}
