//! A run's model answers the items of a task.
//!
//! Log-likelihoods as lm-evaluation-harness asks for them: blanks at the end of a context go to the continuation, the whole and the
//! context are tokenized apart, and what the whole has beyond the context's number of tokens is the continuation. What is longer than
//! the model's context loses its beginning, and is counted; a continuation that alone is too long is skipped, and counted. An empty
//! context is an end-of-text. Questions are answered in batches of about one length; which those are depends on the questions alone,
//! and a batch is answered whole or not at all, so that an interrupted evaluation gives the numbers of one that was not.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokenizers_reference::Tokenizer;

use super::answers::cut;
use super::kept::Kept;
use super::metrics::is_space;
use super::responses::{Answer, Answers};
use super::task::{Asked, Item};
use crate::error::{Error, Result};
use crate::model::likelihood::Predicted;
use crate::model::{Cache, Model, Sequences};
use crate::ops::Backend;
use crate::random::Stream;
use crate::sample::{SampleOptions, choose};
use crate::streaming::Streaming;

/// Tokens that go through the model at once, about.
const BATCH_TOKENS: usize = 4096;

/// What answering came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Questions.
    pub requests: usize,
    /// Of these, contexts that lost their beginning.
    pub truncated: usize,
    /// Of these, answers found from before.
    pub found: usize,
}

/// What is told while answering.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Questions that have an answer.
    pub done: usize,
    /// All.
    pub requests: usize,
}

/// How text is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Completions of each request, at least one.
    pub samples: usize,
    /// Temperature, top-k, top-p and seed; the rest is of no account. What is drawn for a request depends on these and the request
    /// alone.
    pub options: SampleOptions,
}

impl Default for Drawing {
    /// One completion, of the likeliest tokens.
    fn default() -> Self {
        let options = SampleOptions {
            temperature: 0.0,
            top_k: 0,
            ..SampleOptions::default()
        };
        Self {
            samples: 1,
            options,
        }
    }
}

/// A model that answers.
pub struct Responder<'a, B: Backend> {
    /// The model.
    pub model: &'a Model<B>,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Token that ends a document.
    pub end_of_text: u32,
    /// Tokens that the model looks back at, the one it predicts not counted.
    pub context_tokens: usize,
    /// How text is made.
    pub drawing: &'a Drawing,
    /// Answers from before.
    pub kept: &'a mut Kept,
}

/// A question for a log-likelihood, in tokens.
struct Likely {
    place: (usize, usize),
    /// What goes in: all tokens but the last.
    inputs: Vec<u32>,
    /// The continuation, the last of all tokens.
    continuation: Vec<u32>,
}

impl<B: Backend> Responder<'_, B> {
    /// Answers `items`. `told` is told how far it is.
    ///
    /// # Errors
    /// A text cannot be tokenized, the device failed, or answers cannot be kept.
    pub fn answer(
        &mut self,
        items: &[Item],
        told: &mut dyn FnMut(Answered) -> Result<()>,
    ) -> Result<(Answers, Counts)> {
        let mut counts = Counts::default();
        let mut answers: BTreeMap<(usize, usize), Answer> = BTreeMap::new();
        let mut likely = Vec::new();
        let mut generations = Vec::new();
        for (number, item) in items.iter().enumerate() {
            for (request, asked) in item.asked.iter().enumerate() {
                counts.requests += 1;
                let place = (number, request);
                match asked {
                    Asked::LogLikelihood {
                        context,
                        continuation,
                    } => match self.likely(place, context, continuation, &mut counts)? {
                        Ok(question) => likely.push(question),
                        Err(reason) => {
                            answers.insert(place, Answer::Skipped(reason.to_owned()));
                        }
                    },
                    Asked::Generate {
                        context,
                        stop,
                        tokens,
                    } => generations.push((place, context, stop, *tokens)),
                }
            }
        }
        // The longest first: what does not fit into memory fails at once. Of equals those with the same tokens together.
        likely.sort_by(|a, b| {
            let longer = b.inputs.len().cmp(&a.inputs.len());
            longer
                .then_with(|| a.inputs.cmp(&b.inputs))
                .then_with(|| a.place.cmp(&b.place))
        });
        for batch in batches(&likely) {
            self.answer_batch(batch, &mut answers, &mut counts)?;
            told(Answered {
                done: answers.len(),
                requests: counts.requests,
            })?;
        }
        for (place, context, stop, tokens) in generations {
            let texts = self.generate(context, stop, tokens, &mut counts)?;
            answers.insert(place, Answer::Completions(texts));
            told(Answered {
                done: answers.len(),
                requests: counts.requests,
            })?;
        }
        let mut of_items = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let of_item =
                (0..item.asked.len()).filter_map(|request| answers.remove(&(number, request)));
            of_items.push(of_item.collect());
        }
        Ok((of_items, counts))
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let encoded = self.tokenizer.encode(text, false);
        let encoded = encoded
            .map_err(|error| Error::Usage(format!("a prompt cannot be tokenized: {error}")))?;
        let ids = encoded.get_ids().to_vec();
        let vocabulary = self.model.config.vocabulary;
        match ids.iter().find(|&&id| id as usize >= vocabulary) {
            None => Ok(ids),
            Some(id) => Err(Error::Usage(format!(
                "token {id} of a prompt is unknown to the model, which has {vocabulary}\nhint: the run's tokenizer.json is not the one it was trained with"
            ))),
        }
    }

    fn likely(
        &self,
        place: (usize, usize),
        context: &str,
        continuation: &str,
        counts: &mut Counts,
    ) -> Result<Result<Likely, &'static str>> {
        let bare = context.trim_end_matches(is_space);
        let continuation = format!("{}{continuation}", &context[bare.len()..]);
        let (mut tokens, before) = if bare.is_empty() {
            let mut tokens = vec![self.end_of_text];
            tokens.extend(self.tokens(&continuation)?);
            (tokens, 1)
        } else {
            let before = self.tokens(bare)?.len();
            (self.tokens(&format!("{bare}{continuation}"))?, before)
        };
        let continuation = tokens.get(before..).unwrap_or_default().to_vec();
        if continuation.is_empty() {
            return Ok(Err("a continuation has no token of its own"));
        }
        if continuation.len() > self.context_tokens {
            return Ok(Err("a continuation is longer than the model's context"));
        }
        let over = tokens.len().saturating_sub(self.context_tokens + 1);
        counts.truncated += usize::from(over > 0);
        tokens.drain(..over);
        tokens.pop();
        Ok(Ok(Likely {
            place,
            inputs: tokens,
            continuation,
        }))
    }

    fn answer_batch(
        &mut self,
        batch: &[Likely],
        answers: &mut BTreeMap<(usize, usize), Answer>,
        counts: &mut Counts,
    ) -> Result<()> {
        let mut hash = Sha256::new();
        for question in batch {
            for tokens in [&question.inputs, &question.continuation] {
                hash.update((tokens.len() as u64).to_le_bytes());
                tokens.iter().for_each(|id| hash.update(id.to_le_bytes()));
            }
        }
        let key = hex(&hash.finalize());
        let of_batch = match self.kept.get(&key).filter(|kept| kept.len() == batch.len()) {
            Some(kept) => {
                counts.found += batch.len();
                kept.clone()
            }
            None => {
                let made = self.likelihoods(batch)?;
                self.kept.put(&key, &made)?;
                made
            }
        };
        answers.extend(batch.iter().map(|question| question.place).zip(of_batch));
        Ok(())
    }

    fn likelihoods(&self, batch: &[Likely]) -> Result<Vec<Answer>> {
        let positions = batch
            .iter()
            .map(|question| question.inputs.len())
            .max()
            .unwrap_or(0);
        let mut ids: Vec<u32> = Vec::with_capacity(batch.len() * positions);
        let mut rows = Vec::with_capacity(batch.len());
        let mut last: Option<&[u32]> = None;
        for question in batch {
            // Equal inputs go through the model once.
            if last != Some(question.inputs.as_slice()) {
                ids.extend_from_slice(&question.inputs);
                // Nothing looks at what stands to the right of it.
                ids.resize(ids.len().next_multiple_of(positions), self.end_of_text);
                last = Some(&question.inputs);
            }
            let start = ids.len() - positions;
            rows.push(start + question.inputs.len() - question.continuation.len());
        }
        let predicted: Vec<_> = batch
            .iter()
            .zip(rows)
            .map(|(question, row)| Predicted {
                row,
                ids: &question.continuation,
            })
            .collect();
        let sequences = Sequences {
            ids: &ids,
            starts: None,
        };
        let length = self.model.length(positions)?;
        let made = self.model.likelihoods(sequences, &length, &predicted)?;
        let answers = made.into_iter().map(|made| Answer::LogLikelihood {
            nats: made.nats,
            greedy: made.greedy,
        });
        Ok(answers.collect())
    }

    /// What is drawn after `context`, up to a text of `stop`, as often as it is asked for. Half of the model's context at most is kept
    /// for it.
    fn generate(
        &mut self,
        context: &str,
        stop: &[String],
        tokens: usize,
        counts: &mut Counts,
    ) -> Result<Vec<String>> {
        let mut ids = self.tokens(context)?;
        if ids.is_empty() {
            ids.push(self.end_of_text);
        }
        let tokens = tokens.min((self.context_tokens / 2).max(1));
        let over = ids
            .len()
            .saturating_sub((self.context_tokens + 1).saturating_sub(tokens).max(1));
        counts.truncated += usize::from(over > 0);
        ids.drain(..over);
        let mut hash = Sha256::new();
        hash.update((tokens as u64).to_le_bytes());
        for stop in stop {
            hash.update((stop.len() as u64).to_le_bytes());
            hash.update(stop);
        }
        ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        let Drawing { samples, options } = self.drawing;
        if options.temperature > 0.0 {
            for number in [options.temperature, options.top_p] {
                hash.update(number.to_le_bytes());
            }
            for number in [options.top_k as u64, options.seed, *samples as u64] {
                hash.update(number.to_le_bytes());
            }
        }
        let key = hex(&hash.finalize());
        if let Some([Answer::Completions(texts)]) = self.kept.get(&key).map(Vec::as_slice)
            && texts.len() == *samples
        {
            counts.found += 1;
            return Ok(texts.clone());
        }
        let mut cache = self.model.cache(self.context_tokens)?;
        let mut texts = Vec::with_capacity(*samples);
        for sample in 0..*samples {
            // All but the last token of the prompt is known from the sample before.
            cache.shorten(ids.len() - 1);
            let stream = Stream::new(options.seed, &format!("{key} {sample}"));
            texts.push(self.draw(&mut cache, &ids, stop, tokens, &stream)?);
        }
        // All of a request or none: a sample after others differs from one alone by rounding.
        self.kept.put(&key, &[Answer::Completions(texts.clone())])?;
        Ok(texts)
    }

    /// A completion of `prompt`.
    fn draw(
        &self,
        cache: &mut Cache<B>,
        prompt: &[u32],
        stop: &[String],
        tokens: usize,
        stream: &Stream,
    ) -> Result<String> {
        let known = self.tokenizer.get_vocab_size(true);
        let mut ids = prompt.to_vec();
        let (mut streaming, mut text) = (Streaming::new(self.tokenizer), String::new());
        for counter in 0..tokens as u64 {
            let logits = self.model.next_logits(cache, &ids)?;
            let logits = &logits[..known.clamp(1, logits.len())];
            let options = &self.drawing.options;
            let next = if options.temperature == 0.0 {
                likeliest_token(logits)
            } else {
                choose(logits, options, stream.uniform(counter))
            };
            if next == self.end_of_text {
                break;
            }
            ids.push(next);
            text.push_str(&streaming.push(next)?);
            if cut(&text, stop).len() < text.len() {
                break;
            }
        }
        text.push_str(&streaming.rest()?);
        Ok(cut(&text, stop).to_owned())
    }
}

/// The first of the largest.
fn likeliest_token(logits: &[f64]) -> u32 {
    let ids = (0u32..).zip(logits);
    let best = ids.fold((0, f64::NEG_INFINITY), |best, (id, &logit)| {
        if logit > best.1 { (id, logit) } else { best }
    });
    best.0
}

/// Stretches of questions, in order of falling length, of about [`BATCH_TOKENS`] at the length of their first; equal inputs are
/// counted once and stay together.
fn batches(questions: &[Likely]) -> Vec<&[Likely]> {
    let mut batches = Vec::new();
    let (mut start, mut distinct) = (0, 0);
    for at in 0..questions.len() {
        let new = at == start || questions[at].inputs != questions[at - 1].inputs;
        if new && at > start && (distinct + 1) * questions[start].inputs.len() > BATCH_TOKENS {
            batches.push(&questions[start..at]);
            (start, distinct) = (at, 0);
        }
        distinct += usize::from(new);
    }
    if start < questions.len() {
        batches.push(&questions[start..]);
    }
    batches
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tokenizer of a run.
///
/// # Errors
/// It cannot be read.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    Tokenizer::from_file(path).map_err(|error| Error::Tokenizer {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::task::Expected;
    use crate::model::{Family, Positions};
    use crate::ops::Fused;

    /// Words of one letter and a blank: ` b` is another token than `b`, and `ab` one of its own.
    fn letters() -> Tokenizer {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false},
            "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
            "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
            "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,
            "vocab":{"a":0,"b":1,"c":2,"Ġ":3,"Ġb":4,"ab":5},"merges":["Ġ b","a b"]}}"#;
        json.parse().unwrap()
    }

    fn asked(context: &str, continuation: &str) -> Asked {
        Asked::LogLikelihood {
            context: context.to_owned(),
            continuation: continuation.to_owned(),
        }
    }

    fn item(index: usize, asked: Vec<Asked>) -> Item {
        Item {
            part: String::new(),
            index,
            asked,
            expected: Expected::Completion,
            problem: None,
        }
    }

    /// Token by token, each from all before it: another path through the model.
    fn one_by_one(model: &Model<Fused<f32>>, before: &[u32], tokens: &[u32]) -> (f64, bool) {
        let mut ids = before.to_vec();
        let (mut nats, mut greedy) = (0.0, true);
        for &token in tokens {
            let mut cache = model.cache(16).unwrap();
            let logits = model.next_logits(&mut cache, &ids).unwrap();
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            nats += logits[token as usize] - sum.ln();
            greedy &= likeliest_token(&logits) == token;
            ids.push(token);
        }
        (nats, greedy)
    }

    #[test]
    fn likelihoods_are_those_of_the_tokens_the_harness_takes() {
        let tokenizer = letters();
        for positions in [Positions::Xpos, Positions::Alibi] {
            let mut config = Family::Palm.model(64, 8, 1, 2, 4);
            config.positions = positions;
            let model = Model::new(config, 3, Fused::<f32>::default()).unwrap();
            let mut kept = Kept::nothing();
            let mut responder = Responder {
                model: &model,
                tokenizer: &tokenizer,
                end_of_text: 63,
                context_tokens: 8,
                drawing: &Drawing::default(),
                kept: &mut kept,
            };
            // The tokens of context and continuation, by hand.
            let cases: [(Asked, &[u32], &[u32]); 6] = [
                (asked("a c", " b"), &[0, 3, 2], &[4]),
                (asked("a c", " bc"), &[0, 3, 2], &[4, 2]),
                // The blank goes to the continuation, and makes one token with its letter.
                (asked("a c ", "b"), &[0, 3, 2], &[4]),
                // One token reaches over the border: what the whole has beyond the context's number of tokens.
                (asked("ca", "bc"), &[2, 5], &[2]),
                (asked("", "cc"), &[63], &[2, 2]),
                // 12 tokens: the last nine.
                (asked("abcabcabcabc", "cc"), &[2, 5, 2, 5, 2, 5, 2], &[2, 2]),
            ];
            let items: Vec<Item> = cases
                .iter()
                .enumerate()
                .map(|(index, case)| item(index, vec![case.0.clone()]))
                .collect();
            let (answers, counts) = responder.answer(&items, &mut |_| Ok(())).unwrap();
            assert_eq!((counts.requests, counts.truncated, counts.found), (6, 1, 0));
            for (case, answers) in cases.iter().zip(&answers) {
                let (nats, greedy) = one_by_one(&model, case.1, case.2);
                let Answer::LogLikelihood {
                    nats: ours,
                    greedy: our_greedy,
                } = answers[0]
                else {
                    panic!("{answers:?}");
                };
                assert!((ours - nats).abs() < 1e-4, "{:?}: {ours} {nats}", case.0);
                assert_eq!(our_greedy, greedy, "{:?}", case.0);
            }
            let (again, counts) = responder.answer(&items, &mut |_| Ok(())).unwrap();
            assert_eq!((again, counts.found), (answers, 6));
        }
    }

    #[test]
    fn what_is_made_ends_before_a_stop() {
        let tokenizer = letters();
        let model = Model::new(
            Family::Palm.model(64, 8, 1, 2, 4),
            3,
            Fused::<f32>::default(),
        )
        .unwrap();
        let mut kept = Kept::nothing();
        let mut responder = Responder {
            model: &model,
            tokenizer: &tokenizer,
            end_of_text: 63,
            context_tokens: 16,
            drawing: &Drawing::default(),
            kept: &mut kept,
        };
        let mut made = |stop: &[&str]| {
            let asked = Asked::Generate {
                context: "abc".to_owned(),
                stop: stop.iter().map(|&stop| stop.to_owned()).collect(),
                tokens: 6,
            };
            let (answers, _) = responder
                .answer(&[item(0, vec![asked])], &mut |_| Ok(()))
                .unwrap();
            match &answers[0][0] {
                Answer::Completions(texts) => texts[0].clone(),
                other => panic!("{other:?}"),
            }
        };
        let whole = made(&[]);
        assert!(whole.len() >= 6, "{whole:?}");
        let stop = &whole[2..4];
        assert_eq!(made(&[stop]), whole[..whole.find(stop).unwrap()]);
    }
}
