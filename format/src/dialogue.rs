//! How a dialogue is written down: what stands before and after what each speaker says. Marks are text, so that they need no tokens of
//! their own and any tokenizer will do, but for ChatML's; what is trained is what the assistant says, and what ends it. A build's
//! recipe names the way as `chat.format`; without it, it is the first.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";
/// `tatsu-lab/stanford_alpaca`, `train.py`, `PROMPT_DICT`.
const ALPACA: &str = "Below is an instruction that describes a task. Write a response that appropriately \
    completes the request.\n\n";
const INSTRUCTION: &str = "### Instruction:\n";
/// Tokens of ChatML that begin and end a turn.
const TURN: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// A way to write dialogues down.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChatFormat {
    /// `\n\nHuman: ...\n\nAssistant: ...` (`Anthropic/hh-rlhf`); a system turn stands before, as it is.
    #[default]
    HumanAssistant,
    /// `### Instruction:\n...\n\n### Response:\n...` below the sentence that tells of the task, which a system turn takes the place of
    /// (`tatsu-lab/stanford_alpaca`, `train.py`); later turns follow after an empty line.
    Alpaca,
    /// `[INST] ... [/INST] ...`, a system turn between `<<SYS>>` and `<</SYS>>` in the first (`meta-llama/llama`, `llama/generation.py`);
    /// an end of text after each answer, and no token before a turn.
    #[serde(rename = "llama-2")]
    Llama2,
    /// `<|im_start|>user\n...<|im_end|>\n<|im_start|>assistant\n...<|im_end|>`, of which the marks are tokens of their own
    /// (`openai/openai-python`, `chatml.md`); an end of text after the last answer alone. A tokenizer that lacks the marks gets them
    /// after its last id.
    #[serde(rename = "chatml")]
    ChatMl,
}

/// A stretch of a dialogue as it is written down. Each is tokenized by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text; what looks like a token in it is text, too.
    Text(Cow<'a, str>),
    /// The token of this content.
    Token(&'static str),
}

impl Piece<'_> {
    /// The text, or the token's content.
    pub fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(token) => token,
        }
    }
}

impl ChatFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::HumanAssistant,
        Self::Alpaca,
        Self::Llama2,
        Self::ChatMl,
    ];

    /// Whether it is the one that recipes need not name.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Its name in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HumanAssistant => "human-assistant",
            Self::Alpaca => "alpaca",
            Self::Llama2 => "llama-2",
            Self::ChatMl => "chatml",
        }
    }

    /// Tokens that it takes for itself: what begins a turn, then what ends one. No text of a document becomes one of them.
    pub const fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &TURN,
            Self::HumanAssistant | Self::Alpaca | Self::Llama2 => &[],
        }
    }

    /// The token that ends an answer, in place of the end of text.
    pub const fn ends(self) -> Option<&'static str> {
        match self {
            Self::ChatMl => Some(TURN[1]),
            Self::HumanAssistant | Self::Alpaca | Self::Llama2 => None,
        }
    }

    /// What stands before an answer: the system turn, if one does, and what the user says, with their marks and that of the answer.
    /// `first` is whether it is the first of the dialogue.
    pub fn question<'a>(
        self,
        system: Option<&'a str>,
        first: bool,
        text: &'a str,
    ) -> Vec<Piece<'a>> {
        if self != Self::ChatMl {
            let mut out = String::new();
            self.ask(system, first, text, &mut out);
            out.push_str(self.answers());
            return vec![Piece::Text(out.into())];
        }
        let mut pieces = Self::turns(system, first, text);
        pieces.extend([Piece::Token(TURN[0]), Piece::Text("assistant\n".into())]);
        pieces
    }

    /// The turns of ChatML that stand before an answer.
    fn turns<'a>(system: Option<&'a str>, first: bool, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let line = || Piece::Text("\n".into());
        if !first {
            pieces.push(line());
        }
        let said = [("system", system), ("user", Some(text))];
        for (role, said) in said {
            let Some(said) = said else {
                continue;
            };
            let said = Piece::Text(format!("{role}\n{said}").into());
            pieces.extend([Piece::Token(TURN[0]), said, Piece::Token(TURN[1]), line()]);
        }
        pieces
    }

    /// Appends what the user says, after the system turn if one stands before it. `first` is whether it is the first of the dialogue.
    pub fn ask(self, system: Option<&str>, first: bool, text: &str, out: &mut String) {
        match self {
            Self::HumanAssistant => {
                out.push_str(system.unwrap_or_default());
                out.extend([HUMAN, " ", text]);
            }
            Self::Alpaca => match (system, first) {
                (Some(system), _) => out.extend([system, "\n\n", INSTRUCTION, text]),
                (None, true) => out.extend([ALPACA, INSTRUCTION, text]),
                (None, false) => out.extend(["\n\n", INSTRUCTION, text]),
            },
            Self::Llama2 => {
                out.push_str("[INST] ");
                if let Some(system) = system {
                    out.extend(["<<SYS>>\n", system, "\n<</SYS>>\n\n"]);
                }
                out.push_str(text);
            }
            Self::ChatMl => {
                let turns = Self::turns(system, first, text);
                turns.iter().for_each(|piece| out.push_str(piece.content()));
            }
        }
    }

    /// What stands between a question and its answer.
    pub const fn answers(self) -> &'static str {
        match self {
            Self::HumanAssistant => ASSISTANT,
            Self::Alpaca => "\n\n### Response:\n",
            Self::Llama2 => " [/INST]",
            Self::ChatMl => "<|im_start|>assistant\n",
        }
    }

    /// What an answer begins with, trained with it: a blank belongs to the word after it, as tokenizers split.
    pub const fn begins(self) -> &'static str {
        match self {
            Self::HumanAssistant | Self::Llama2 => " ",
            Self::Alpaca | Self::ChatMl => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogues_are_written_as_the_page_says() {
        // The table of SPEC.md, `Dialogues`: a first question with and without a system turn, and a later one.
        let page = include_str!("../SPEC.md");
        for format in ChatFormat::ALL {
            let written = |system, first| {
                let mut out = String::new();
                format.ask(system, first, "Q", &mut out);
                out.push_str(format.answers());
                let pieces = format.question(system, first, "Q");
                let pieces = pieces.iter().map(Piece::content);
                assert_eq!(pieces.collect::<String>(), out);
                out + format.begins() + "A" + format.ends().unwrap_or_default()
            };
            let cells = [
                format.name().to_owned(),
                written(Some("S"), true),
                written(None, true),
                written(None, false),
            ];
            let cells =
                cells.map(|cell| format!("`{}`", cell.replace('\n', "\\n").replace('|', "\\|")));
            let row = format!("| {} |\n", cells.join(" | "));
            assert!(page.contains(&row), "{row}");
            let name = serde_json::to_value(format).unwrap();
            assert_eq!(name, format.name());
        }
    }
}
