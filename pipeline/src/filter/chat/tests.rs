use std::ops::Range;

use super::*;
use crate::analysis::Scratch;
use crate::filter::Verdict;

/// A dialogue of what human and assistant say in turn, and the bytes of the answers.
fn dialogue(turns: &[&str]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut answers = Vec::new();
    for (number, said) in turns.iter().enumerate() {
        text.push_str(["\n\nHuman:", "\n\nAssistant:"][number % 2]);
        let start = text.len();
        text.push(' ');
        text.push_str(said);
        if number % 2 == 1 {
            answers.push(start..text.len());
        }
    }
    (text, answers)
}

fn judge(text: &str, answers: &[Range<usize>]) -> Option<&'static str> {
    let mut scratch = Scratch::default();
    let document = Analysis::new(text, &mut scratch).unwrap();
    let verdict = Chat(ChatOptions::default()).check(&document.with_answers(answers));
    match verdict {
        Verdict::Keep => None,
        Verdict::Drop(reason) => Some(reason.name),
    }
}

fn of(turns: &[&str]) -> Option<&'static str> {
    let (text, answers) = dialogue(turns);
    judge(&text, &answers)
}

#[test]
fn a_dialogue_that_says_something_stays() {
    assert_eq!(of(&["Why?", "Because.", "And?", "So."]), None);
    assert_eq!(judge("A plain text.", &[]), None);
}

#[test]
fn blank_turns_and_roles_that_follow_themselves_go() {
    assert_eq!(of(&["Why?", " \n"]), Some("chat-empty-turn"));
    assert_eq!(of(&["", "Because."]), Some("chat-empty-turn"));
    let (text, answers) = dialogue(&["Why?", "Because."]);
    assert_eq!(
        judge(&format!("\n\nHuman: Well?{text}"), &[]),
        Some("chat-repeated-role")
    );
    assert_eq!(judge(&text, &answers), None);
}

#[test]
fn refusals_and_boilerplate_go_when_they_are_most_answers() {
    let refusal = "I’m sorry, but I can't do that.";
    assert_eq!(of(&["Do.", refusal]), Some("chat-refusal"));
    assert_eq!(of(&["Do.", refusal, "Please.", "Well then."]), None);
    let boilerplate = "Well, as an AI language model, I have no opinion.";
    assert_eq!(of(&["Think.", boilerplate]), Some("chat-boilerplate"));
    // A refusal that is told of is none.
    assert_eq!(of(&["Write.", "He said: I'm sorry, but I can't."]), None);
}

#[test]
fn an_answer_without_marks_counts_too() {
    let text = "### Instruction: say it\n### Response:\n  ";
    let answer = text.len() - 2..text.len();
    assert_eq!(
        judge(text, std::slice::from_ref(&answer)),
        Some("chat-short-answer")
    );
}
