//! What a document says, and which of it is trained on.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::chatml;
use andromeda_format::ChatFormat;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Stands before the dialogue, as it is.
    System,
    /// Asks.
    User,
    /// Answers: what is trained on.
    Assistant,
    /// A prompt with marks of its own, such as the Alpaca template; the answer after it gets none either.
    Prompt,
}

/// One turn of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said, without marks.
    pub text: String,
}

/// One step of a worked solution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What the step says.
    pub text: String,
    /// -1 wrong, 0 neutral, 1 right; `None` where nobody judged.
    pub rating: Option<i8>,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Text to pretrain on.
    Text(String),
    /// A dialogue: ends with the assistant; roles alternate after an optional system turn.
    Chat(Vec<Turn>),
    /// Two answers, one preferred. `prompt` ends with the assistant's mark; `prompt` and either answer, one after the
    /// other, are the whole transcript.
    Preference {
        /// The transcript up to the answer, as published.
        prompt: String,
        /// The same as turns, for formats with other marks. Where the assistant's is the last, both answers go on with it.
        turns: Vec<Turn>,
        /// The answer preferred.
        chosen: String,
        /// The other.
        rejected: String,
    },
    /// A problem and the steps of its solution.
    Process {
        /// The problem.
        problem: String,
        /// The steps, in order.
        steps: Vec<Step>,
    },
}

/// A stretch of a document that is trained on, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The text. Tokenize segments by themselves: no token then reaches over the edge of a loss span.
    pub text: Cow<'a, str>,
    /// Whether the loss counts its tokens.
    pub trained: bool,
    /// Whether the token that begins a turn stands before the text, of formats that have one.
    pub begins_turn: bool,
    /// Whether the token that ends a turn follows the text, trained as the segment is.
    pub ends_turn: bool,
    /// Whether an end-of-text token follows, trained as the segment is: the model learns to stop.
    pub end_of_text: bool,
}

impl<'a> Segment<'a> {
    /// Text alone, without loss.
    pub(super) fn plain(text: &'a str) -> Self {
        untrained(Cow::Borrowed(text))
    }

    /// Text alone, without loss.
    pub(super) fn owned(text: String) -> Self {
        untrained(Cow::Owned(text))
    }
}

pub(super) const HUMAN: &str = "\n\nHuman:";
pub(super) const ASSISTANT: &str = "\n\nAssistant:";

impl Content {
    /// The document as plain text: all segments, one after another, without end-of-text.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            _ => Cow::Owned(
                self.segments()
                    .iter()
                    .map(|segment| segment.text.as_ref())
                    .collect(),
            ),
        }
    }

    /// The document as stretches for the loss: assistant turns and their end-of-text are trained, everything else of a
    /// dialogue is not. Marks are hh-rlhf's, `\n\nHuman:` and `\n\nAssistant:`, which need no tokens of their own; a
    /// turn's text follows its mark after a blank, and that blank belongs to the text, as tokenizers split it.
    ///
    /// Of a preference the chosen answer is trained, and the rejected one stands after it without loss, so that what trains on
    /// pairs finds both; of a process the steps up to the first that is wrong are trained, and those from there on follow
    /// without loss, so that the first of them is known to be wrong.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment<'_>> {
        self.segments_as(ChatFormat::default())
    }

    /// The same with dialogues, and the prompts of preferences and processes, written down in another way.
    #[must_use]
    pub fn segments_as(&self, format: ChatFormat) -> Vec<Segment<'_>> {
        match self {
            Self::Text(text) => vec![trained(Cow::Borrowed(text))],
            Self::Chat(turns) => chat(turns, format),
            Self::Preference {
                turns,
                chosen,
                rejected,
                ..
            } if !format.is_default() => {
                let goes_on = turns
                    .last()
                    .is_some_and(|turn| turn.role == Role::Assistant);
                let answer = |text| Segment {
                    ends_turn: !format.reserved().is_empty(),
                    end_of_text: true,
                    ..untrained(answer(text, goes_on, format))
                };
                let mut segments = prompt(turns, format);
                segments.push(Segment {
                    trained: true,
                    ..answer(chosen)
                });
                segments.push(answer(rejected));
                segments
            }
            Self::Preference {
                prompt,
                chosen,
                rejected,
                ..
            } => {
                vec![
                    untrained(Cow::Borrowed(prompt)),
                    trained(Cow::Borrowed(chosen)),
                    Segment {
                        end_of_text: true,
                        ..untrained(Cow::Borrowed(rejected))
                    },
                ]
            }
            Self::Process { problem, steps } => {
                let wrong = |step: &Step| step.rating.is_some_and(|rating| rating < 0);
                let first_wrong = steps.iter().position(wrong).unwrap_or(steps.len());
                let (sound, rest) = steps.split_at(first_wrong);
                let lines = |steps: &[Step]| {
                    let lines: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
                    lines.join("\n")
                };
                let mut segments = if format.is_default() {
                    vec![Segment::owned(format!("{HUMAN} {problem}{ASSISTANT}"))]
                } else {
                    let asked = Turn {
                        role: Role::User,
                        text: problem.clone(),
                    };
                    prompt(&[asked], format)
                };
                let ends_turn = !format.reserved().is_empty();
                if !sound.is_empty() {
                    // A solution that was cut off before a wrong step must not teach where to stop.
                    let ends = rest.is_empty();
                    segments.push(Segment {
                        ends_turn: ends && ends_turn,
                        end_of_text: ends,
                        ..trained(Cow::Owned(format!("{}{}", format.begins(), lines(sound))))
                    });
                }
                if !rest.is_empty() {
                    let before = if sound.is_empty() {
                        format.begins()
                    } else {
                        "\n"
                    };
                    segments.push(Segment {
                        ends_turn,
                        end_of_text: true,
                        ..untrained(Cow::Owned(format!("{before}{}", lines(rest))))
                    });
                }
                segments
            }
        }
    }
}

/// What stands before an answer, without loss; turns before it end as those of a dialogue do, and the last one, where it is the
/// assistant's, does not.
fn prompt(turns: &[Turn], format: ChatFormat) -> Vec<Segment<'static>> {
    let goes_on = turns
        .last()
        .is_some_and(|turn| turn.role == Role::Assistant);
    let mut turns = turns.to_vec();
    if !goes_on {
        let (role, text) = (Role::Assistant, String::new());
        turns.push(Turn { role, text });
    }
    let segments = chat(&turns, format);
    let last = segments.len().saturating_sub(1);
    let segments = segments.into_iter().enumerate();
    let segments = segments.map(|(number, segment)| Segment {
        text: Cow::Owned(segment.text.into_owned()),
        trained: false,
        begins_turn: segment.begins_turn,
        ends_turn: segment.ends_turn && number < last,
        end_of_text: segment.end_of_text && number < last,
    });
    // Of an answer that has not begun, only what it begins with; that belongs to it.
    segments
        .enumerate()
        .filter(|(number, _)| goes_on || *number < last)
        .map(|(_, segment)| segment)
        .collect()
}

/// An answer to a prompt; as published it has the blank after the mark of a transcript.
fn answer(text: &str, goes_on: bool, format: ChatFormat) -> Cow<'_, str> {
    if goes_on {
        return Cow::Borrowed(text);
    }
    let text = text.strip_prefix(' ').unwrap_or(text);
    match format.begins() {
        "" => Cow::Borrowed(text),
        begins => Cow::Owned(format!("{begins}{text}")),
    }
}

fn trained(text: Cow<'_, str>) -> Segment<'_> {
    Segment {
        text,
        trained: true,
        begins_turn: false,
        ends_turn: false,
        end_of_text: true,
    }
}

fn untrained(text: Cow<'_, str>) -> Segment<'_> {
    Segment {
        text,
        trained: false,
        begins_turn: false,
        ends_turn: false,
        end_of_text: false,
    }
}

fn chat(turns: &[Turn], format: ChatFormat) -> Vec<Segment<'_>> {
    if format == ChatFormat::ChatMl {
        return chatml::dialogue(turns);
    }
    let mut segments = Vec::new();
    let mut before = String::new();
    let mut own_marks = false;
    let mut system = None;
    let mut asked = false;
    for turn in turns {
        let text = turn.text.as_str();
        match turn.role {
            Role::System => system = Some(text),
            Role::Prompt => {
                before.push_str(system.take().unwrap_or_default());
                before.push_str(text);
                own_marks = true;
            }
            Role::User => {
                format.ask(system.take(), !asked, text, &mut before);
                asked = true;
                own_marks = false;
            }
            Role::Assistant => {
                before.push_str(system.take().unwrap_or_default());
                let answer = if own_marks || format.begins().is_empty() {
                    Cow::Borrowed(text)
                } else {
                    Cow::Owned(format!("{}{text}", format.begins()))
                };
                if !own_marks {
                    before.push_str(format.answers());
                }
                if !before.is_empty() {
                    segments.push(untrained(Cow::Owned(std::mem::take(&mut before))));
                }
                segments.push(trained(answer));
            }
        }
    }
    before.push_str(system.unwrap_or_default());
    if !before.is_empty() {
        segments.push(untrained(Cow::Owned(before)));
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(role: Role, text: &str) -> Turn {
        Turn {
            role,
            text: text.to_owned(),
        }
    }

    fn spans(content: &Content) -> Vec<(String, bool, bool)> {
        let segments = content.segments();
        let joined: String = segments
            .iter()
            .map(|segment| segment.text.as_ref())
            .collect();
        assert_eq!(joined, content.to_text(), "the text is its segments");
        segments
            .iter()
            .map(|one| (one.text.clone().into_owned(), one.trained, one.end_of_text))
            .collect()
    }

    #[test]
    fn only_assistant_turns_and_their_ends_are_trained() {
        let turns = [
            turn(Role::System, "Be brief."),
            turn(Role::User, "Hi"),
            turn(Role::Assistant, "Hello"),
            turn(Role::User, "Bye"),
            turn(Role::Assistant, "Bye."),
        ];
        let expected = [
            ("Be brief.\n\nHuman: Hi\n\nAssistant:", false, false),
            (" Hello", true, true),
            ("\n\nHuman: Bye\n\nAssistant:", false, false),
            (" Bye.", true, true),
        ];
        let expected = expected.map(|(text, trained, end)| (text.to_owned(), trained, end));
        assert_eq!(spans(&Content::Chat(turns.to_vec())), expected);
    }

    /// Texts by hand, after the files that `ChatFormat` names.
    #[test]
    fn dialogues_are_written_down_as_asked() {
        let turns = |system: bool| {
            let all = [
                turn(Role::System, "Be brief."),
                turn(Role::User, "Hi"),
                turn(Role::Assistant, "Hello"),
                turn(Role::User, "Bye"),
                turn(Role::Assistant, "Bye."),
            ];
            Content::Chat(all[usize::from(!system)..].to_vec())
        };
        let expect = |content: &Content, format: ChatFormat, expected: [&str; 4]| {
            let segments = content.segments_as(format);
            let told: Vec<&str> = segments.iter().map(|one| one.text.as_ref()).collect();
            assert_eq!(told, expected);
            let trained: Vec<_> = segments
                .iter()
                .map(|one| (one.trained, one.end_of_text))
                .collect();
            assert_eq!(
                trained,
                [(false, false), (true, true), (false, false), (true, true)]
            );
        };
        let preamble = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n";
        let first = format!("{preamble}### Instruction:\nHi\n\n### Response:\n");
        let later = "\n\n### Instruction:\nBye\n\n### Response:\n";
        expect(
            &turns(false),
            ChatFormat::Alpaca,
            [&first, "Hello", later, "Bye."],
        );
        let first = "Be brief.\n\n### Instruction:\nHi\n\n### Response:\n";
        expect(
            &turns(true),
            ChatFormat::Alpaca,
            [first, "Hello", later, "Bye."],
        );
        let later = "[INST] Bye [/INST]";
        expect(
            &turns(false),
            ChatFormat::Llama2,
            ["[INST] Hi [/INST]", " Hello", later, " Bye."],
        );
        let first = "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]";
        expect(
            &turns(true),
            ChatFormat::Llama2,
            [first, " Hello", later, " Bye."],
        );
        let own = Content::Chat(vec![
            turn(Role::Prompt, "### X:\n"),
            turn(Role::Assistant, "42"),
        ]);
        assert_eq!(own.segments_as(ChatFormat::Llama2), own.segments());
    }

    #[test]
    fn a_prompt_with_marks_of_its_own_gets_no_others() {
        let turns = vec![
            turn(Role::Prompt, "### Response:\n"),
            turn(Role::Assistant, "42"),
        ];
        let expected = [
            ("### Response:\n".to_owned(), false, false),
            ("42".to_owned(), true, true),
        ];
        assert_eq!(spans(&Content::Chat(turns)), expected);
    }

    #[test]
    fn a_solution_is_trained_up_to_its_first_wrong_step() {
        let step = |text: &str, rating| Step {
            text: text.to_owned(),
            rating,
        };
        let process = |steps| Content::Process {
            problem: "P".to_owned(),
            steps,
        };
        let prompt = ("\n\nHuman: P\n\nAssistant:".to_owned(), false, false);
        let sound = process(vec![
            step("a", Some(1)),
            step("b", Some(0)),
            step("c", None),
        ]);
        assert_eq!(
            spans(&sound),
            [prompt.clone(), (" a\nb\nc".to_owned(), true, true)]
        );
        let broken = process(vec![
            step("a", Some(1)),
            step("b", Some(-1)),
            step("c", Some(1)),
        ]);
        assert_eq!(
            spans(&broken),
            [
                prompt.clone(),
                (" a".to_owned(), true, false),
                ("\nb\nc".to_owned(), false, true)
            ]
        );
        assert_eq!(
            spans(&process(vec![step("b", Some(-1))])),
            [prompt, (" b".to_owned(), false, true)]
        );
    }

    #[test]
    fn texts_and_chosen_answers_are_trained_whole() {
        assert_eq!(
            spans(&Content::Text("x".to_owned())),
            [("x".to_owned(), true, true)]
        );
        let pair = Content::Preference {
            prompt: "\n\nHuman: q\n\nAssistant:".to_owned(),
            turns: vec![turn(Role::User, "q")],
            chosen: " a".to_owned(),
            rejected: " b".to_owned(),
        };
        let expected = [
            ("\n\nHuman: q\n\nAssistant:".to_owned(), false, false),
            (" a".to_owned(), true, true),
            (" b".to_owned(), false, true),
        ];
        assert_eq!(spans(&pair), expected);
    }

    /// By hand: the marks of each format, the blank that llama-2 has before an answer, and an end of text after each.
    #[test]
    fn pairs_and_steps_are_written_down_as_asked() {
        let told = |content: &Content, format| {
            let segments = content.segments_as(format);
            let told = segments.iter();
            told.map(|one| (one.text.clone().into_owned(), one.trained, one.end_of_text))
                .collect::<Vec<_>>()
        };
        let owned = |all: &[(&str, bool, bool)]| {
            let all = all.iter();
            all.map(|(text, trained, end)| ((*text).to_owned(), *trained, *end))
                .collect::<Vec<_>>()
        };
        let pair = Content::Preference {
            prompt: "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant:".to_owned(),
            turns: vec![
                turn(Role::User, "q"),
                turn(Role::Assistant, "a"),
                turn(Role::User, "r"),
            ],
            chosen: " b".to_owned(),
            rejected: "c".to_owned(),
        };
        assert_eq!(
            told(&pair, ChatFormat::Llama2),
            owned(&[
                ("[INST] q [/INST]", false, false),
                (" a", false, true),
                ("[INST] r [/INST]", false, false),
                (" b", true, true),
                (" c", false, true),
            ])
        );
        assert_eq!(
            told(&pair, ChatFormat::Alpaca)[2..],
            owned(&[
                ("\n\n### Instruction:\nr\n\n### Response:\n", false, false),
                ("b", true, true),
                ("c", false, true),
            ])
        );
        let goes_on = Content::Preference {
            prompt: "\n\nHuman: q\n\nAssistant: 1".to_owned(),
            turns: vec![turn(Role::User, "q"), turn(Role::Assistant, "1")],
            chosen: "\n2".to_owned(),
            rejected: "\n3".to_owned(),
        };
        assert_eq!(
            told(&goes_on, ChatFormat::Llama2),
            owned(&[
                ("[INST] q [/INST]", false, false),
                (" 1", false, false),
                ("\n2", true, true),
                ("\n3", false, true),
            ])
        );
        let steps = Content::Process {
            problem: "q".to_owned(),
            steps: vec![
                Step {
                    text: "1".to_owned(),
                    rating: Some(1),
                },
                Step {
                    text: "2".to_owned(),
                    rating: Some(-1),
                },
            ],
        };
        assert_eq!(
            told(&steps, ChatFormat::Llama2),
            owned(&[
                ("[INST] q [/INST]", false, false),
                (" 1", true, false),
                ("\n2", false, true),
            ])
        );
    }

    #[test]
    fn content_survives_writing_and_reading() {
        let content = Content::Chat(vec![turn(Role::User, "q"), turn(Role::Assistant, "a")]);
        let written = serde_json::to_string(&content).unwrap();
        assert_eq!(
            written,
            r#"{"chat":[{"role":"user","text":"q"},{"role":"assistant","text":"a"}]}"#
        );
        assert_eq!(serde_json::from_str::<Content>(&written).unwrap(), content);
    }
}
