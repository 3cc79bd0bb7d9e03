//! Judging the steps of a solution: a process reward model (Lightman et al., "Let's Verify Step by Step", arXiv:2305.20050) without a
//! head of its own. At the last token of each step the model is to predict one of two marks, `+` or `-`, as in Wang et al.,
//! "Math-Shepherd", arXiv:2312.08935; what it thinks of the step is the probability of the one between the two. A neutral rating counts
//! as right, and nothing is asked after the first wrong step, as in PRM800K's paper.
//!
//! A stored document (kind `process`) is the problem, masked; the steps before the first wrong one, a line each, trained; the wrong
//! step, masked, and an end of text, which is trained only where no step is wrong. Steps are told apart by their line ends, so a
//! right step of several lines counts as that many, and of a wrong one only the last line is marked.

use std::path::Path;

use andromeda_format::{Build, Split};
use serde::Serialize;
use tokenizers_reference::Tokenizer;

use super::ObjectiveOptions;
use super::preference::Omitted;
use crate::data::{MicroBatch, Row, Sequences as Stream, Source};
use crate::documents::{Document, Documents};
use crate::error::{Error, Result};
use crate::model::{Model, ModelConfig, Sequences};
use crate::ops::Backend;
use crate::order::Shuffled;

/// The ids of the two marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// After a right step.
    pub good: u32,
    /// After a wrong one.
    pub bad: u32,
}

/// What a tokenizer's tokens mean for steps.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The marks.
    pub marks: Marks,
    /// By id: whether it has anything that can be seen, and whether it ends a line.
    tokens: Vec<(bool, bool)>,
}

impl Lines {
    /// Reads the tokenizer at `path`.
    ///
    /// # Errors
    /// It is none, or a mark is not one token of it.
    pub fn open(path: &Path, options: &ObjectiveOptions) -> Result<Self> {
        let tokenizer = Tokenizer::from_file(path).map_err(|error| Error::Tokenizer {
            path: path.to_owned(),
            problem: format!("not a tokenizer: {error}"),
        })?;
        let mark = |key: &str, text: &str| -> Result<u32> {
            let encoded = tokenizer.encode(text, false);
            let ids = encoded.map(|encoded| encoded.get_ids().to_vec());
            match ids.as_deref() {
                Ok([id]) => Ok(*id),
                Ok(ids) => Err(Error::Usage(format!(
                    "objective.{key} = {text:?} is {} tokens of {}\nhint: choose a text that is one token",
                    ids.len(),
                    path.display()
                ))),
                Err(error) => Err(Error::Usage(format!(
                    "objective.{key} = {text:?} cannot be tokenized: {error}"
                ))),
            }
        };
        let marks = Marks {
            good: mark("good", &options.good)?,
            bad: mark("bad", &options.bad)?,
        };
        if marks.good == marks.bad {
            return Err(Error::Usage(format!(
                "objective.good and objective.bad are the same token of {}\nhint: choose two texts that are one token each",
                path.display()
            )));
        }
        let count = u32::try_from(tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX);
        let meaning = |id: u32| {
            let text = tokenizer.decode(&[id], false).unwrap_or_default();
            let seen = text.chars().any(|c| !c.is_whitespace());
            (seen, text.contains('\n'))
        };
        Ok(Self {
            marks,
            tokens: (0..count).map(meaning).collect(),
        })
    }

    fn seen(&self, id: u32) -> bool {
        self.tokens.get(id as usize).is_some_and(|token| token.0)
    }

    fn breaks(&self, id: u32) -> bool {
        self.tokens.get(id as usize).is_some_and(|token| token.1)
    }

    /// The last token of each step of `document`, and whether the step is right.
    fn steps(&self, document: &Document) -> Vec<(usize, bool)> {
        let Some((&closing, ids)) = document.ids.split_last() else {
            return Vec::new();
        };
        let right = document.trained.last() == Some(&true);
        let last = ids.iter().rposition(|&id| self.seen(id));
        let ends = (0..ids.len()).filter(|&at| {
            let next = document.ids.get(at + 1).copied().unwrap_or(closing);
            self.seen(ids[at]) && (Some(at) == last || self.breaks(ids[at]) || self.breaks(next))
        });
        ends.filter_map(|at| {
            let trained = document.trained[at];
            let wrong = !right && !trained && Some(at) == last;
            (trained || wrong).then_some((at, trained))
        })
        .collect()
    }
}

/// The judged solutions of a split as sequences: end of text, problem, steps. The targets at the ends of steps are the marks, and only
/// they are trained. A solution that is longer than a sequence is left out.
#[derive(Debug)]
pub struct Steps {
    documents: Documents,
    lines: Lines,
    usable: Vec<u32>,
    order: Shuffled,
    end_of_text: u32,
    document: Document,
}

impl Steps {
    /// The solutions of `split`. Reads all of them once.
    ///
    /// # Errors
    /// A shard cannot be read.
    pub fn open(
        build: &Build,
        split: Split,
        sequence_tokens: usize,
        seed: u64,
        lines: Lines,
    ) -> Result<(Self, Omitted)> {
        let mut documents = Documents::open(build, split, "process")?;
        let (mut usable, mut omitted) = (Vec::new(), Omitted::default());
        let mut document = Document::default();
        for (number, name) in (0..documents.len()).zip(0_u32..) {
            if documents.tokens(number) > sequence_tokens as u64 {
                omitted.too_long += 1;
                continue;
            }
            documents.read(number, &mut document)?;
            if lines.steps(&document).is_empty() {
                omitted.unlike += 1;
            } else {
                usable.push(name);
            }
        }
        let steps = Self {
            order: Shuffled::new(seed, "process", usable.len()),
            documents,
            lines,
            usable,
            end_of_text: build.manifest().tokenizer.end_of_text.id,
            document,
        };
        Ok((steps, omitted))
    }
}

impl Stream for Steps {
    fn sequences(&self) -> u64 {
        self.usable.len() as u64
    }

    fn read(&mut self, position: u64, row: &mut Row) -> Result<()> {
        let index = self.order.at(position);
        self.read_in_order(index, row)
    }

    fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
        let number = usize::try_from(index)
            .ok()
            .and_then(|at| self.usable.get(at))
            .map_or(usize::MAX, |&number| number as usize);
        self.documents.read(number, &mut self.document)?;
        *row = row_of(&self.document, &self.lines, self.end_of_text);
        Ok(())
    }
}

/// A solution as a sequence.
fn row_of(document: &Document, lines: &Lines, end_of_text: u32) -> Row {
    let mut row = Row {
        ids: std::iter::once(end_of_text)
            .chain(document.ids.iter().copied())
            .collect(),
        trained: vec![false; document.ids.len()],
        targets: Some(document.ids.clone()),
        documents: vec![document.row],
        datasets: vec![document.dataset],
        ..Row::default()
    };
    let Marks { good, bad } = lines.marks;
    for (at, right) in lines.steps(document) {
        // The inputs begin with an end of text: token `at` stands at place `at + 1`.
        if let (Some(trained), Some(targets)) = (row.trained.get_mut(at + 1), &mut row.targets) {
            *trained = true;
            targets[at + 1] = if right { good } else { bad };
        }
    }
    row
}

/// Which of several solutions is right, as judged step by step.
pub struct StepJudge<'a, B: Backend> {
    model: &'a Model<B>,
    lines: Lines,
    end_of_text: u32,
    direction: Vec<f64>,
}

impl<'a, B: Backend> StepJudge<'a, B> {
    /// A model that was trained to judge steps, with the marks of its training.
    ///
    /// # Errors
    /// The device failed, or the model does not know the marks.
    pub fn new(model: &'a Model<B>, lines: Lines, end_of_text: u32) -> Result<Self> {
        let direction = direction(model, lines.marks)?;
        Ok(Self {
            model,
            lines,
            end_of_text,
            direction,
        })
    }

    /// The logarithm of the probability that every step of `solution`, tokens that follow those of `prompt`, is right: that of the
    /// product of the steps' probabilities, by which Lightman et al. choose among solutions (section 2.6). None for a solution in
    /// which there is no step.
    ///
    /// # Errors
    /// The device failed.
    pub fn judge(&self, prompt: &[u32], solution: &[u32]) -> Result<Option<f64>> {
        let mut document = Document::default();
        for (ids, trained) in [
            (prompt, false),
            (solution, true),
            (&[self.end_of_text][..], true),
        ] {
            document.ids.extend_from_slice(ids);
            document.trained.resize(document.ids.len(), trained);
        }
        let row = row_of(&document, &self.lines, self.end_of_text);
        if !row.trained.contains(&true) {
            return Ok(None);
        }
        let steps = judged(self.model, &self.direction, self.lines.marks, &row)?;
        let nats = |(odds, _): (f64, bool)| (-odds).max(0.0) + (-odds.abs()).exp().ln_1p();
        Ok(Some(-steps.into_iter().map(nats).sum::<f64>()))
    }
}

/// How steps that were not trained on are judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessFigures {
    /// Right steps.
    pub right_steps: u64,
    /// Wrong steps.
    pub wrong_steps: u64,
    /// Mean cross-entropy between the two marks, nats a step.
    pub process_loss: f64,
    /// The probability that a right step is given more than a wrong one (area under the curve of the receiver); a tie counts half. 0.5 is
    /// chance. None without steps of both kinds.
    pub ranking: Option<f64>,
    /// Its standard error (Hanley and `McNeil`, "The meaning and use of the area under a receiver operating characteristic (ROC)
    /// curve", 1982).
    pub ranking_error: Option<f64>,
}

/// The logarithm of the odds that each judged step of `row` is right, in order, with what was said of it.
fn judged<B: Backend>(
    model: &Model<B>,
    direction: &[f64],
    marks: Marks,
    row: &Row,
) -> Result<Vec<(f64, bool)>> {
    let mut micro = MicroBatch::default();
    micro.push(row)?;
    let length = model.length(micro.ids.len())?;
    let sequences = Sequences {
        ids: &micro.ids,
        starts: None,
    };
    let hidden = model.backend.numbers(&model.hidden(sequences, &length)?)?;
    let states = hidden.chunks_exact(model.config.width.max(1));
    let targets = micro.trained.iter().zip(&micro.next);
    let at_steps = states.zip(targets).filter(|(_, (trained, _))| **trained);
    let odds = |(state, (_, &target)): (&[f64], (&bool, &u32))| {
        let odds = state.iter().zip(direction).map(|(h, d)| h * d).sum();
        (odds, target == marks.good)
    };
    Ok(at_steps.map(odds).collect())
}

/// From the embedding of the bad mark to that of the good one: what a state's logits differ by.
fn direction<B: Backend>(model: &Model<B>, marks: Marks) -> Result<Vec<f64>> {
    let head = model
        .backend
        .read(&model.parameters, ModelConfig::EMBEDDING)?;
    let width = model.config.width;
    let of = |id: u32| head.get(id as usize * width..(id as usize + 1) * width);
    let (Some(good), Some(bad)) = (of(marks.good), of(marks.bad)) else {
        return Err(Error::Usage(
            "a mark of the objective is outside the model's vocabulary".to_owned(),
        ));
    };
    let pairs = good.iter().zip(bad);
    Ok(pairs.map(|(&g, &b)| f64::from(g) - f64::from(b)).collect())
}

pub(super) fn judge<B: Backend>(
    model: &Model<B>,
    marks: Marks,
    held_out: &mut Source,
    most: u64,
) -> Result<Option<ProcessFigures>> {
    let direction = direction(model, marks)?;
    let mut all = Vec::new();
    let mut row = Row::default();
    for index in 0..held_out.sequences.sequences().min(most) {
        held_out.sequences.read_in_order(index, &mut row)?;
        all.extend(judged(model, &direction, marks, &row)?);
    }
    Ok(figures(all))
}

/// Figures of the odds of steps and whether each is right; none of none.
fn figures(mut all: Vec<(f64, bool)>) -> Option<ProcessFigures> {
    if all.is_empty() {
        return None;
    }
    let count = all.len() as f64;
    let nats = |&(odds, right): &(f64, bool)| {
        let against = if right { -odds } else { odds };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    let process_loss = all.iter().map(nats).sum::<f64>() / count;
    let right = all.iter().filter(|(_, right)| *right).count();
    let wrong = all.len() - right;
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Ranks from 1, ties sharing their mean: the sum over right steps gives the pairs in which they are above (Mann and Whitney).
    let (mut at, mut ranks) = (0, 0.0);
    while at < all.len() {
        let tied = all[at..].iter().take_while(|(odds, _)| *odds == all[at].0);
        let tied = tied.count().max(1);
        let rank = at as f64 + (tied as f64 + 1.0) / 2.0;
        let of_right = all[at..at + tied].iter().filter(|(_, right)| *right);
        ranks += rank * of_right.count() as f64;
        at += tied;
    }
    let (r, w) = (right as f64, wrong as f64);
    let ranking = (right > 0 && wrong > 0).then(|| (ranks - r * (r + 1.0) / 2.0) / (r * w));
    let error = |area: f64| {
        let (one, two) = (area / (2.0 - area), 2.0 * area * area / (1.0 + area));
        let square = area * area;
        let sum = area * (1.0 - area) + (r - 1.0) * (one - square) + (w - 1.0) * (two - square);
        (sum.max(0.0) / (r * w)).sqrt()
    };
    Some(ProcessFigures {
        right_steps: right as u64,
        wrong_steps: wrong as u64,
        process_loss,
        ranking,
        ranking_error: ranking.map(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranking_is_the_part_of_pairs_in_the_right_order() {
        let all = vec![
            (2.0, true),
            (0.5, true),
            (0.5, false),
            (-1.0, true),
            (-0.25, false),
            (-3.0, false),
            (4.0, true),
        ];
        // Every pair by itself.
        let (mut pairs, mut above) = (0.0, 0.0);
        for right in all.iter().filter(|(_, right)| *right) {
            for wrong in all.iter().filter(|(_, right)| !*right) {
                pairs += 1.0;
                above += f64::from(u8::from(right.0 > wrong.0))
                    + 0.5 * f64::from(u8::from(right.0 == wrong.0));
            }
        }
        let found = figures(all).unwrap();
        assert_eq!((found.right_steps, found.wrong_steps), (4, 3));
        assert!((found.ranking.unwrap() - above / pairs).abs() < 1e-12);
        // Python's math: the mean of log1p(exp(-+x)); and for an area of 9.5 / 12 over 4 and 3 steps
        // sqrt((.164931 + 3 * .028436 + 2 * .072876) / 12).
        assert!(
            (found.process_loss - 0.504_431_5).abs() < 1e-6,
            "{}",
            found.process_loss
        );
        let area: f64 = 9.5 / 12.0;
        assert!((found.ranking.unwrap() - area).abs() < 1e-12);
        assert!(
            (found.ranking_error.unwrap() - 0.181_657).abs() < 1e-5,
            "{found:?}"
        );
        let one_kind = figures(vec![(1.0, true), (2.0, true)]).unwrap();
        assert_eq!((one_kind.ranking, one_kind.ranking_error), (None, None));
        assert!(figures(Vec::new()).is_none());
    }

    #[test]
    fn steps_end_with_their_lines_and_only_the_last_can_be_wrong() {
        // 1 is a line end, 2 a blank, 3 both seen and a line end, all others seen.
        let mut tokens = vec![(true, false); 10];
        tokens[1] = (false, true);
        tokens[2] = (false, false);
        tokens[3] = (true, true);
        let lines = Lines {
            marks: Marks { good: 8, bad: 9 },
            tokens,
        };
        let steps = |ids: &[u32], trained: &[u8]| {
            lines.steps(&Document {
                row: 0,
                dataset: 0,
                ids: ids.to_vec(),
                trained: trained.iter().map(|&t| t == 1).collect(),
            })
        };
        // Problem, two right steps, a blank line between them, closed by a trained end of text.
        assert_eq!(
            steps(&[7, 1, 4, 5, 1, 1, 6, 0], &[0, 0, 1, 1, 1, 1, 1, 1]),
            [(3, true), (6, true)]
        );
        // A right step, then a wrong one of two tokens and a blank.
        assert_eq!(
            steps(&[7, 4, 1, 5, 6, 2, 0], &[0, 1, 0, 0, 0, 0, 0]),
            [(1, true), (4, false)]
        );
        // A token that holds its line's end, and a first step that is wrong.
        assert_eq!(steps(&[7, 3, 6, 0], &[0, 1, 1, 1]), [(1, true), (2, true)]);
        assert_eq!(steps(&[7, 6, 0], &[0, 0, 0]), [(1, false)]);
        assert!(steps(&[], &[]).is_empty() && steps(&[2, 0], &[0, 0]).is_empty());
    }
}
