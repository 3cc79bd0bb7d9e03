use super::super::edited;
use super::*;

fn released(text: &str) -> Result<String, &'static str> {
    edited(&C4::released(&C4Options::default()), text)
}

fn datatrove(text: &str) -> Result<String, &'static str> {
    edited(&C4::datatrove(&C4DatatroveOptions::default()), text)
}

const LINE: &str = "This line has enough words to stay. It has two sentences.";

fn page(lines: &[&str]) -> String {
    let mut all = vec![LINE, LINE, LINE];
    all.extend(lines);
    all.join("\n")
}

// Expected texts and reasons are those of datatrove 0.10.1's C4QualityFilter, and of a transcription of the released
// code, on the same texts.

#[test]
fn lines_need_an_end_mark() {
    for line in [
        "no mark stands at its end",
        "an ellipsis is no end mark...",
        "an ellipsis is no end mark…",
        "a comma is none either,",
    ] {
        let text = page(&[line]);
        assert_eq!(released(&text), Ok(page(&[])));
        assert_eq!(datatrove(&text), Ok(page(&[])));
    }
    let quoted = page(&["a quotation mark ends a \"line\""]);
    assert_eq!(
        (released(&quoted), datatrove(&quoted)),
        (Ok(quoted.clone()), Ok(quoted.clone()))
    );
    let single = page(&["and so may be said of 'this'"]);
    assert_eq!(
        (released(&single), datatrove(&single)),
        (Ok(page(&[])), Ok(single.clone()))
    );
}

#[test]
fn five_words_or_three_and_before_or_after_citations() {
    assert_eq!(released(&page(&["Only four words here."])), Ok(page(&[])));
    let four = page(&["Only four words here."]);
    assert_eq!(datatrove(&four), Ok(four.clone()));
    assert_eq!(datatrove(&page(&["Two words."])), Ok(page(&[])));
    // A citation is a word to datatrove and none to the released code.
    let cited = page(&["Two words [12] [edit]."]);
    assert_eq!(datatrove(&cited), Ok(page(&["Two words  ."])));
    assert_eq!(released(&cited), Ok(page(&[])));
}

#[test]
fn citations_are_cut() {
    let text = page(&["It was so[1] then[] and is[edit] so now[citation needed] too[a]."]);
    let left = page(&["It was so then and is so now too[a]."]);
    assert_eq!(released(&text), Ok(left.clone()));
    assert_eq!(datatrove(&text), Ok(left));
    assert_eq!(
        without_citations("[[1]] [12[3]] [٣] [edit"),
        "[] [12]  [edit"
    );
}

#[test]
fn pages_with_a_brace_or_filler_go_unless_the_line_went_before() {
    for (mark, reason) in [("{", "c4-curly-bracket"), ("Lorem Ipsum", "c4-lorem-ipsum")] {
        let text = page(&[&format!("This line has {mark} in the middle of it.")]);
        assert_eq!(released(&text), Err(reason));
        assert_eq!(datatrove(&text), Err(reason));
        let text = page(&[&format!("this line has {mark} and no end mark")]);
        assert_eq!(released(&text), Ok(page(&[])));
    }
}

#[test]
fn lines_on_scripts_and_policies_go() {
    for line in [
        "You need to turn JavaScript on for this.",
        "Here are our Terms of Use for you all.",
        "This site uses cookies to be a site.",
        "We make use of cookies, as sites do.",
        "This is our Cookie Policy for all to see.",
        "We use coo\u{212a}ies on this site as others do.",
        "We use coo[1]kies on this site as others do.",
    ] {
        assert_eq!(released(&page(&[line])), Ok(page(&[])), "{line}");
        assert_eq!(datatrove(&page(&[line])), Ok(page(&[])), "{line}");
    }
}

#[test]
fn pages_need_sentences() {
    let one = "This page has only one sentence on its line.";
    assert_eq!(released(one), Err("c4-few-sentences"));
    let three = "One sentence stands here. A second one follows. A third ends it.";
    assert_eq!(released(three), Ok(three.to_owned()));
    assert_eq!(datatrove(three), Err("c4-few-sentences"));
    for text in ["", "   ", "\n\n", "one"] {
        assert_eq!(released(text), Err("c4-few-sentences"));
        assert_eq!(datatrove(text), Err("c4-few-sentences"));
    }
}

#[test]
fn long_words_and_long_pages_go() {
    let long = format!("This line has a word of {} letters.", "é".repeat(1001));
    assert_eq!(released(&page(&[&long])), Ok(page(&[])));
    let not = format!("This line has a word of {} letters.", "é".repeat(1000));
    assert_eq!(released(&page(&[&not])), Ok(page(&[&not])));
    let many = [LINE; 190_000 / LINE.len() + 1].join("\n");
    assert_eq!(released(&many), Err("c4-too-long"));
    assert_eq!(datatrove(&many), Ok(many.clone()));
}

#[test]
fn lines_are_those_of_python_and_stripped() {
    let text = format!("  {LINE}\u{2028}\t{LINE}\r\n\u{b}{LINE} \n");
    assert_eq!(datatrove(&text), Ok(page(&[])));
}

#[test]
fn what_is_left_has_the_tokens_that_are_told() {
    let mut scratch = crate::analysis::Scratch::default();
    let rule = C4::datatrove(&C4DatatroveOptions {
        require_terminal_mark: false,
        min_sentences: 0,
        ..C4DatatroveOptions::default()
    });
    let text =
        format!("{LINE} [1]\n a menu\n{LINE}\n\n it's (so): and so (x):) on[2].\n{LINE}\r{LINE}");
    let left = rule
        .edit(&Analysis::new(&text, &mut scratch).unwrap())
        .unwrap()
        .unwrap();
    let document = Analysis::new(&left.text, &mut scratch).unwrap();
    let counted = document.token_count(crate::analysis::TokenKind::English);
    assert_eq!(left.tokens, Some(counted));
}
