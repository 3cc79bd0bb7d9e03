//! How a dialogue is written down: what stands before and after what each speaker says. Marks are text, so that they need no tokens of
//! their own and any tokenizer will do, but for ChatML's; what is trained is what the assistant says, and what ends it.

use serde::{Deserialize, Serialize};

use super::chat::ALPACA_PLAIN;
use super::chatml;
use super::content::{ASSISTANT, HUMAN};

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
    /// (`openai/openai-python`, `chatml.md`). A tokenizer that lacks them gets them after its last id.
    #[serde(rename = "chatml")]
    ChatMl,
}

impl ChatFormat {
    /// Whether it is the one that recipes need not name.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::HumanAssistant => "human-assistant",
            Self::Alpaca => "alpaca",
            Self::Llama2 => "llama-2",
            Self::ChatMl => "chatml",
        }
    }

    /// Tokens that it takes for itself: what begins a turn, then what ends one. No text of a document becomes one of them.
    pub fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &chatml::TOKENS,
            Self::HumanAssistant | Self::Alpaca | Self::Llama2 => &[],
        }
    }

    /// Appends what the user says, after the system turn if one stands before it.
    pub(super) fn ask(self, system: Option<&str>, first: bool, text: &str, out: &mut String) {
        match self {
            Self::HumanAssistant => {
                out.push_str(system.unwrap_or_default());
                out.extend([HUMAN, " ", text]);
            }
            Self::Alpaca => {
                const MARK: &str = "### Instruction:\n";
                match (system, first) {
                    (Some(system), _) => out.extend([system, "\n\n", MARK, text]),
                    // It ends with the mark.
                    (None, true) => out.extend([ALPACA_PLAIN, text]),
                    (None, false) => out.extend(["\n\n", MARK, text]),
                }
            }
            Self::Llama2 => {
                out.push_str("[INST] ");
                if let Some(system) = system {
                    out.extend(["<<SYS>>\n", system, "\n<</SYS>>\n\n"]);
                }
                out.push_str(text);
            }
            // Its marks are no text.
            Self::ChatMl => out.push_str(text),
        }
    }

    /// What stands between a question and its answer.
    pub(super) fn answers(self) -> &'static str {
        match self {
            Self::HumanAssistant => ASSISTANT,
            Self::Alpaca => "\n\n### Response:\n",
            Self::Llama2 => " [/INST]",
            Self::ChatMl => "",
        }
    }

    /// What an answer begins with, trained with it: a blank belongs to the word after it, as tokenizers split.
    pub(super) fn begins(self) -> &'static str {
        match self {
            Self::HumanAssistant | Self::Llama2 => " ",
            Self::Alpaca | Self::ChatMl => "",
        }
    }
}
