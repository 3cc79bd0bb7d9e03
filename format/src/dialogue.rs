//! How a dialogue is written down: what stands before and after what each speaker says. Marks are text, so that they need no tokens of
//! their own and any tokenizer will do; what is trained is what the assistant says, and the end of text after it. A build's recipe
//! names the way as `chat.format`; without it, it is the first.

use serde::{Deserialize, Serialize};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";
/// `tatsu-lab/stanford_alpaca`, `train.py`, `PROMPT_DICT`.
const ALPACA: &str = "Below is an instruction that describes a task. Write a response that appropriately \
    completes the request.\n\n";
const INSTRUCTION: &str = "### Instruction:\n";

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
}

impl ChatFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HumanAssistant, Self::Alpaca, Self::Llama2];

    /// Its name in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HumanAssistant => "human-assistant",
            Self::Alpaca => "alpaca",
            Self::Llama2 => "llama-2",
        }
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
        }
    }

    /// What stands between a question and its answer.
    pub const fn answers(self) -> &'static str {
        match self {
            Self::HumanAssistant => ASSISTANT,
            Self::Alpaca => "\n\n### Response:\n",
            Self::Llama2 => " [/INST]",
        }
    }

    /// What an answer begins with, trained with it: a blank belongs to the word after it, as tokenizers split.
    pub const fn begins(self) -> &'static str {
        match self {
            Self::HumanAssistant | Self::Llama2 => " ",
            Self::Alpaca => "",
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
                out + format.answers() + format.begins() + "A"
            };
            let cells = [
                format.name().to_owned(),
                written(Some("S"), true),
                written(None, true),
                written(None, false),
            ];
            let cells = cells.map(|cell| format!("`{}`", cell.replace('\n', "\\n")));
            let row = format!("| {} |\n", cells.join(" | "));
            assert!(page.contains(&row), "{row}");
            let name = serde_json::to_value(format).unwrap();
            assert_eq!(name, format.name());
        }
    }
}
