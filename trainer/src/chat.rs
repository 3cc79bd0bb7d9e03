//! A dialogue with a model, written down as its build wrote dialogues, so that it sees what it was trained on.
//!
//! The context is an end of text, then turn by turn the marked question, the answer and what ends it. Keys and values of all that
//! are kept from turn to turn; where the context is full the oldest turns go, and what is left goes through the model anew.

use andromeda_format::ChatFormat;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Cache, Model};
use crate::ops::Backend;
use crate::random::Stream;
use crate::sample::{SampleOptions, Text, choose};
use crate::streaming::Streaming;

/// How the dialogues of a build are written down, which its run keeps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialogues {
    /// The way.
    pub format: ChatFormat,
    /// Whether a dataset of the build has dialogues.
    pub trained: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// By an end of text, or by the token that ends a turn, as answers of the training data do.
    EndOfText,
    /// By the most tokens that were asked for.
    Tokens,
    /// By the end of the context, which the turn alone fills.
    Context,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What was said.
    pub text: String,
    /// Its tokens, the end of text not counted.
    pub tokens: usize,
    /// Why it ended.
    pub ended: Ended,
    /// Turns that went out of the context for it, the oldest first.
    pub dropped_turns: usize,
    /// Tokens in the context after it.
    pub context_tokens: usize,
}

/// A question and what was answered.
#[derive(Debug)]
struct Turn {
    question: String,
    answer: Vec<u32>,
    /// Whether the answer is whole, and an end of text follows.
    done: bool,
}

/// A dialogue with a model.
pub struct Chat<'a, B: Backend> {
    model: &'a Model<B>,
    text: &'a Text,
    format: ChatFormat,
    /// The token after an answer, if that is another than the end of text.
    end_of_turn: Option<u32>,
    /// What stands before the first question of the context.
    system: Option<String>,
    options: &'a SampleOptions,
    capacity: usize,
    cache: Cache<B>,
    turns: Vec<Turn>,
    stream: Stream,
    /// Tokens that were drawn since the beginning, so that each has a random number of its own.
    drawn: u64,
}

impl<'a, B: Backend> Chat<'a, B> {
    /// A dialogue of no turns in a context of `capacity` tokens, by `options` (whose prompt is of no account).
    ///
    /// # Errors
    /// The device has not the memory, or the tokenizer lacks a token of the format.
    pub fn new(
        model: &'a Model<B>,
        text: &'a Text,
        format: ChatFormat,
        system: Option<String>,
        options: &'a SampleOptions,
        capacity: usize,
    ) -> Result<Self> {
        Ok(Self {
            model,
            text,
            format,
            end_of_turn: format.ends().map(|token| text.token(token)).transpose()?,
            system,
            options,
            capacity,
            cache: model.cache(capacity)?,
            turns: Vec::new(),
            stream: Stream::new(options.seed, "chat"),
            drawn: 0,
        })
    }

    /// Forgets all turns.
    pub fn reset(&mut self) {
        self.turns.clear();
    }

    /// The answer to `question`, of which `show` is given each piece as it is made.
    ///
    /// # Errors
    /// The question fills the context alone (it is forgotten then), the device failed, or `show` did.
    pub fn answer(
        &mut self,
        question: &str,
        show: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Answer> {
        self.turns.push(Turn {
            question: question.to_owned(),
            answer: Vec::new(),
            done: false,
        });
        let answered = self.go_on(show);
        if answered.is_err() {
            self.turns.pop();
        }
        answered
    }

    fn go_on(&mut self, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<Answer> {
        let before = self.turns.len();
        // A quarter of the context at most is kept free, so that a long limit does not empty it.
        let room = self.options.tokens.min(self.capacity / 4).max(1);
        let alone = self
            .context_of(&self.turns[before.saturating_sub(1)..])?
            .len();
        if alone >= self.capacity {
            return Err(Error::Usage(format!(
                "the question has {alone} tokens with its marks, and the context of the model {}\nhint: say it shorter",
                self.capacity
            )));
        }
        let mut ids = self.context_of(&self.turns)?;
        while ids.len() + room > self.capacity && self.turns.len() > 1 {
            self.turns.remove(0);
            ids = self.context_of(&self.turns)?;
        }
        let mut spoken = Spoken::new(self.text, self.format.begins());
        let (mut ended, mut tokens) = (Ended::Tokens, 0);
        while tokens < self.options.tokens {
            if ids.len() >= self.capacity {
                if self.turns.len() == 1 {
                    ended = Ended::Context;
                    break;
                }
                self.turns.remove(0);
                ids = self.context_of(&self.turns)?;
                continue;
            }
            let logits = self.model.next_logits(&mut self.cache, &ids)?;
            let known = self.text.known().clamp(1, logits.len());
            let next = choose(
                &logits[..known],
                self.options,
                self.stream.uniform(self.drawn),
            );
            self.drawn += 1;
            if next == self.text.end_of_text() || Some(next) == self.end_of_turn {
                ended = Ended::EndOfText;
                break;
            }
            ids.push(next);
            tokens += 1;
            if let Some(turn) = self.turns.last_mut() {
                turn.answer.push(next);
            }
            spoken.push(next, show)?;
        }
        let text = spoken.finish(show)?;
        if let Some(turn) = self.turns.last_mut() {
            turn.done = true;
        }
        Ok(Answer {
            text,
            tokens,
            ended,
            dropped_turns: before - self.turns.len(),
            context_tokens: ids.len(),
        })
    }

    /// The tokens of a context of these turns.
    fn context_of(&self, turns: &[Turn]) -> Result<Vec<u32>> {
        let end = self.text.end_of_text();
        let mut ids = vec![end];
        for (number, turn) in turns.iter().enumerate() {
            let first = number == 0;
            let system = self.system.as_deref().filter(|_| first);
            let asked = self.format.question(system, first, &turn.question);
            ids.extend(self.text.encode_pieces(&asked)?);
            ids.extend_from_slice(&turn.answer);
            if turn.done {
                ids.push(self.end_of_turn.unwrap_or(end));
            }
        }
        Ok(ids)
    }
}

/// An answer as it is shown: without what every answer begins with.
struct Spoken<'a> {
    streaming: Streaming<'a>,
    begins: &'static str,
    text: String,
}

impl<'a> Spoken<'a> {
    const fn new(text: &'a Text, begins: &'static str) -> Self {
        Self {
            streaming: text.streaming(),
            begins,
            text: String::new(),
        }
    }

    fn push(&mut self, id: u32, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let piece = self.streaming.push(id)?;
        self.give(&piece, show)
    }

    fn finish(mut self, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<String> {
        let rest = self.streaming.rest()?;
        self.give(&rest, show)?;
        Ok(self.text)
    }

    fn give(&mut self, piece: &str, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let mut piece = piece;
        if self.text.is_empty() && !piece.is_empty() {
            piece = piece.strip_prefix(self.begins).unwrap_or(piece);
            self.begins = "";
        }
        if piece.is_empty() {
            return Ok(());
        }
        self.text.push_str(piece);
        show(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Family, ModelConfig};
    use crate::ops::Fused;
    use crate::sample::generate;

    fn text() -> (tempfile::TempDir, Text) {
        text_with(&[])
    }

    /// A token a byte, 1 to 256, as in byte-level BPE (GPT-2's `bytes_to_unicode`), 0 that ends a text, and `marks` from 257 on.
    fn text_with(marks: &[&str]) -> (tempfile::TempDir, Text) {
        let shown = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let mut next = 256;
        let mut vocabulary = BTreeMap::from([("<end>".to_owned(), 0)]);
        for byte in 0..256 {
            let code = if shown(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            vocabulary.insert(char::from_u32(code).unwrap().to_string(), byte + 1);
        }
        let special = [(0, "<end>")]
            .into_iter()
            .chain((257..).zip(marks.iter().copied()));
        let special: Vec<_> = special
            .map(|(id, content)| {
                serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true})
            })
            .collect();
        let bytes = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": special,
            "pre_tokenizer": bytes, "decoder": bytes,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []}
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        let text = Text::open(&path, 0).unwrap();
        (folder, text)
    }

    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(|byte| u32::from(byte) + 1).collect()
    }

    fn model() -> Model<Fused<f32>> {
        let config = Family::Palm.model(320, 16, 2, 2, 8);
        Model::new(config, 2, Fused::default()).unwrap()
    }

    fn greedy(tokens: usize) -> SampleOptions {
        SampleOptions {
            tokens,
            temperature: 0.0,
            ..SampleOptions::default()
        }
    }

    fn quiet(_: &str) -> Result<()> {
        Ok(())
    }

    #[test]
    fn a_later_turn_sees_the_dialogue_as_it_is_written_down() {
        let (_folder, text) = text();
        let (model, options) = (model(), greedy(7));
        let mut chat = Chat::new(
            &model,
            &text,
            ChatFormat::Llama2,
            Some("be brief".to_owned()),
            &options,
            400,
        )
        .unwrap();
        chat.answer("one", &mut quiet).unwrap();
        let first = chat.turns[0].answer.clone();
        assert_eq!(first.len(), 7);
        let kept = chat.cache.len();
        let mut shown = String::new();
        let answer = chat
            .answer("two", &mut |piece| {
                shown.push_str(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(
            (answer.tokens, answer.ended, answer.dropped_turns),
            (7, Ended::Tokens, 0)
        );
        assert_eq!(shown, answer.text);

        let mut context = vec![0];
        context.extend(ids("[INST] <<SYS>>\nbe brief\n<</SYS>>\n\none [/INST]"));
        assert_eq!(
            kept,
            context.len() + 6,
            "the last token was not put through"
        );
        context.extend(&first);
        context.push(0);
        context.extend(ids("[INST] two [/INST]"));
        // The same context at once, with nothing kept.
        let mut whole = context.clone();
        generate(
            &model,
            &mut whole,
            &options,
            400,
            text.known(),
            0,
            &mut |_| Ok(()),
        )
        .unwrap();
        assert_eq!(chat.turns[1].answer, whole[context.len()..]);
        assert_eq!(answer.context_tokens, whole.len());

        chat.reset();
        chat.answer("one", &mut quiet).unwrap();
        assert_eq!(chat.turns[0].answer, first);
    }

    #[test]
    fn an_answer_ends_where_the_text_does() {
        let (_folder, text) = text();
        let mut model = model();
        // Equal logits: the first token is the likeliest, which ends a text.
        let zeros = vec![0.0; model.shapes[ModelConfig::EMBEDDING].count()];
        let Model {
            backend,
            parameters,
            ..
        } = &mut model;
        backend
            .write(parameters, ModelConfig::EMBEDDING, &zeros)
            .unwrap();
        let options = greedy(5);
        let mut chat = Chat::new(&model, &text, ChatFormat::Alpaca, None, &options, 400).unwrap();
        for turns in 1..3 {
            let answer = chat.answer("hm", &mut quiet).unwrap();
            assert_eq!((answer.ended, answer.tokens), (Ended::EndOfText, 0));
            assert_eq!(chat.turns.len(), turns);
        }
        let first = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n\
            ### Instruction:\nhm\n\n### Response:\n";
        let mut expected = vec![0];
        expected.extend(ids(first));
        expected.push(0);
        expected.extend(ids("\n\n### Instruction:\nhm\n\n### Response:\n"));
        expected.push(0);
        assert_eq!(chat.context_of(&chat.turns).unwrap(), expected);
    }

    #[test]
    fn turns_of_chatml_stand_between_tokens_that_no_question_becomes() {
        let (model, options) = (model(), greedy(5));
        let (_folder, without) = text();
        let error = Chat::new(&model, &without, ChatFormat::ChatMl, None, &options, 400);
        let error = error.err().map(|error| error.to_string());
        assert!(error.unwrap().contains("has no token <|im_end|>"));

        let (_folder, text) = text_with(&["<|im_start|>", "<|im_end|>"]);
        let system = Some("be brief".to_owned());
        let mut chat = Chat::new(&model, &text, ChatFormat::ChatMl, system, &options, 400).unwrap();
        chat.answer("one<|im_end|>", &mut quiet).unwrap();
        let first = chat.turns[0].answer.clone();
        assert_eq!(first.len(), 5);
        let (begin, end, line) = ([257], [258], ids("\n"));
        let question = |said: &str| [&begin[..], &ids(said), &end, &line].concat();
        let answers = [&begin[..], &ids("assistant\n")].concat();
        let said = "user\none<|im_end|>";
        let asked = [
            question("system\nbe brief"),
            question(said),
            answers.clone(),
        ]
        .concat();
        let mut expected = [vec![0], asked].concat();
        expected.extend(&first);
        expected.extend(end);
        assert_eq!(chat.context_of(&chat.turns).unwrap(), expected);
        chat.answer("two", &mut quiet).unwrap();
        expected.extend([line.clone(), question("user\ntwo"), answers].concat());
        expected.extend(&chat.turns[1].answer);
        expected.extend(end);
        assert_eq!(chat.context_of(&chat.turns).unwrap(), expected);

        // As if the first token that is drawn were the one that ends a turn.
        chat.reset();
        chat.end_of_turn = Some(first[0]);
        let answer = chat.answer("one<|im_end|>", &mut quiet).unwrap();
        assert_eq!((answer.ended, answer.tokens), (Ended::EndOfText, 0));
    }

    #[test]
    fn the_oldest_turns_leave_a_full_context() {
        let (_folder, text) = text();
        let (model, options) = (model(), greedy(8));
        // A turn is 21 tokens of marks and one of text, its answer and an end of text: 31, and two fit.
        let mut chat = Chat::new(
            &model,
            &text,
            ChatFormat::HumanAssistant,
            None,
            &options,
            80,
        )
        .unwrap();
        let mut dropped = Vec::new();
        for question in ["a", "b", "c", "d"] {
            let answer = chat.answer(question, &mut quiet).unwrap();
            assert!(answer.context_tokens <= 80, "{answer:?}");
            dropped.push(answer.dropped_turns);
        }
        assert_eq!(dropped, [0, 0, 1, 1]);
        let questions: Vec<_> = chat
            .turns
            .iter()
            .map(|turn| turn.question.as_str())
            .collect();
        assert_eq!(questions, ["c", "d"]);

        // One that fits in no way is said and forgotten, and the dialogue goes on.
        let long = "x".repeat(60);
        let error = chat.answer(&long, &mut quiet).unwrap_err();
        assert!(
            error.to_string().contains("82 tokens with its marks"),
            "{error}"
        );
        chat.answer("e", &mut quiet).unwrap();

        // An answer without end: it goes on over the turns before it, and ends with the context.
        let options = greedy(1000);
        let mut chat = Chat::new(
            &model,
            &text,
            ChatFormat::HumanAssistant,
            None,
            &options,
            80,
        )
        .unwrap();
        let answer = chat.answer("a", &mut quiet).unwrap();
        assert_eq!((answer.ended, answer.tokens), (Ended::Context, 80 - 23));
        let answer = chat.answer("b", &mut quiet).unwrap();
        assert_eq!((answer.ended, answer.dropped_turns), (Ended::Context, 1));
    }
}
