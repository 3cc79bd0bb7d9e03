//! Of several solutions to a problem the one that a judge of steps thinks best (Lightman et al., "Let's Verify Step by Step",
//! arXiv:2305.20050), and beside it the one whose answer most of them give (Wang et al., "Self-Consistency Improves Chain of Thought
//! Reasoning in Language Models", arXiv:2203.11171), which costs nothing.

use std::path::Path;

use serde::Serialize;

use super::answers::Reading;
use super::respond;
use super::responses::{Answer, Answers};
use super::score::{Answered, MetricScore, cut_at_stops, read};
use super::task::{Expected, Item, Task};
use crate::checkpoint::{self, State};
use crate::device::{OnBackend, on_device};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::objective::Kind;
use crate::objective::process::{Lines, StepJudge};
use crate::ops::Backend;
use crate::run::{read_dialogues, tokenizer_path};
use crate::sample::Text;

/// A run that was trained to judge steps.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Folder of the run, which has the tokenizer.
    pub run: &'a Path,
    /// Folder of the checkpoint.
    pub checkpoint: &'a Path,
    /// Its state.
    pub state: &'a State,
}

/// Who judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedBy {
    /// Name of the run.
    pub run: String,
    /// Steps of its checkpoint.
    pub step: u64,
    /// Digest of its checkpoint.
    pub checkpoint: String,
}

/// Of each item its completions' judgements ([`StepJudge::judge`]), none for what could not be judged; items without a problem have none.
pub type Judgements = Vec<Vec<Option<f64>>>;

impl Judge<'_> {
    /// That the run was trained to judge steps.
    ///
    /// # Errors
    /// It was not.
    pub fn check(&self) -> Result<()> {
        if self.state.config.objective.kind == Kind::Process {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} was not trained to judge steps\nhint: a judge is a run with objective.kind = \"process\", as the stage `judge` of trainer/strategies/andromeda.toml",
            self.run.display()
        )))
    }

    /// Who it is.
    pub fn name(&self) -> JudgedBy {
        let name = self.run.file_name().unwrap_or_default();
        JudgedBy {
            run: name.to_string_lossy().into_owned(),
            step: self.state.step,
            checkpoint: self.state.digest.clone(),
        }
    }

    /// Judges the completions of each task's items. `told` is told the task and how many of its completions are judged, and ends it with
    /// an error of its own.
    ///
    /// # Errors
    /// A text cannot be tokenized, the checkpoint cannot be read, or the device failed.
    pub fn judge(
        &self,
        tasks: &[(&Task, &[Item], &Answers)],
        told: &mut dyn FnMut(&str, respond::Answered) -> Result<()>,
    ) -> Result<Vec<Judgements>> {
        self.check()?;
        let judging = Judging {
            judge: *self,
            tasks,
            told,
        };
        on_device(&self.state.config.compute, judging)
    }
}

struct Judging<'a, 'b> {
    judge: Judge<'a>,
    tasks: &'b [(&'b Task, &'b [Item], &'b Answers)],
    told: &'b mut dyn FnMut(&str, respond::Answered) -> Result<()>,
}

impl OnBackend for Judging<'_, '_> {
    type Output = Vec<Judgements>;

    fn on<B: Backend>(self, backend: B) -> Result<Self::Output> {
        let Judge {
            run,
            checkpoint,
            state,
        } = self.judge;
        let mut model = Model::zeros(state.config.model, backend)?;
        checkpoint::load_model(checkpoint, state, &mut model)?;
        let path = tokenizer_path(run);
        let text = Text::open(&path, state.end_of_text)?;
        let lines = Lines::open(&path, &state.config.objective)?;
        let judge = StepJudge::new(&model, lines, state.end_of_text)?;
        let format = read_dialogues(run)?.unwrap_or_default().format;
        let mut all = Vec::with_capacity(self.tasks.len());
        for (task, items, answers) in self.tasks {
            let requests = answers
                .iter()
                .flatten()
                .map(samples)
                .map(<[String]>::len)
                .sum();
            let mut done = 0;
            let mut judgements = Judgements::with_capacity(items.len());
            for (item, answers) in items.iter().zip(*answers) {
                let mut of_item = Vec::new();
                let samples = answers.first().map_or(&[][..], samples);
                if let Some(problem) = &item.problem {
                    let prompt = text.encode_pieces(&format.question(None, true, problem))?;
                    for sample in samples {
                        let said = cut_at_stops(item, sample).trim();
                        let solution = text.encode(&format!("{}{said}", format.begins()))?;
                        of_item.push(judge.judge(&prompt, &solution)?);
                    }
                    done += samples.len();
                    (self.told)(&task.name, respond::Answered { done, requests })?;
                }
                judgements.push(of_item);
            }
            all.push(judgements);
        }
        Ok(all)
    }
}

fn samples(answer: &Answer) -> &[String] {
    match answer {
        Answer::Completions(samples) => samples,
        _ => &[],
    }
}

/// What choosing comes to: for each reading of the task, exact match of the sample judged best (of equals the first; one that could not be
/// judged is the last), and of the first sample with the answer that most have. Items without an answer are left out, as in scores.
pub fn best_of(
    task: &Task,
    items: &[Item],
    answers: &Answers,
    judgements: &Judgements,
) -> Vec<MetricScore> {
    let Some(generate) = &task.generate else {
        return Vec::new();
    };
    let most = answers.iter().flatten().map(|answer| samples(answer).len());
    let most = most.max().unwrap_or(0);
    let mut metrics = Vec::new();
    for &reading in &generate.readings {
        let judged = |at: usize, _: &Item, _: &[String]| {
            let of_item = judgements.get(at).map_or(&[][..], Vec::as_slice);
            best(of_item)
        };
        let majority =
            |_: usize, item: &Item, samples: &[String]| commonest(reading, item, samples);
        let named = |name: &str, score: MetricScore| MetricScore {
            metric: format!("{}, {name} of {most}", score.metric),
            ..score
        };
        metrics.push(named("best", chosen(reading, items, answers, &judged)));
        metrics.push(named(
            "majority",
            chosen(reading, items, answers, &majority),
        ));
    }
    metrics
}

/// Exact match of one sample of each item: the one at the place that `choose` says, given the item's place, itself and its samples.
fn chosen(
    reading: Reading,
    items: &[Item],
    answers: &Answers,
    choose: &dyn Fn(usize, &Item, &[String]) -> usize,
) -> MetricScore {
    let one = |(at, (item, answers)): (usize, (&Item, &Vec<Answer>))| {
        let samples = answers.first().map_or(&[][..], samples);
        let sample = samples.get(choose(at, item, samples)).or(samples.first())?;
        Some(vec![Answer::Completions(vec![sample.clone()])])
    };
    let all = items.iter().zip(answers).enumerate();
    let made: Vec<Option<Vec<Answer>>> = all.map(one).collect();
    let answered = items.iter().zip(&made);
    let answered: Vec<Answered<'_>> = answered
        .filter_map(|(item, made)| Some((item, made.as_deref()?)))
        .collect();
    read(reading, &answered).score()
}

/// The place of the largest; of equals the first, and what is none is below all.
fn best(judgements: &[Option<f64>]) -> usize {
    let mut best = 0;
    for (at, judgement) in judgements.iter().enumerate() {
        let above = match (judgement, judgements[best]) {
            (Some(this), Some(other)) => this.total_cmp(&other).is_gt(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if above {
            best = at;
        }
    }
    best
}

/// The first sample with the answer that most samples give; of answers as common, that which came first. A sample without an answer counts
/// for none.
fn commonest(reading: Reading, item: &Item, samples: &[String]) -> usize {
    let Expected::Answer(target) = &item.expected else {
        return 0;
    };
    let answer = |sample: &String| reading.answer(cut_at_stops(item, sample), target);
    let answers: Vec<Option<String>> = samples.iter().map(answer).collect();
    let mut best = (0, 0);
    for (at, answer) in answers.iter().enumerate() {
        let count = match answer {
            Some(_) => answers.iter().filter(|other| *other == answer).count(),
            None => 0,
        };
        if count > best.1 {
            best = (at, count);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::task::{Asked, task};

    fn item(index: usize, target: &str) -> Item {
        Item {
            part: String::new(),
            index,
            asked: vec![Asked::Generate {
                context: String::new(),
                stop: vec!["Question:".to_owned()],
                tokens: 9,
            }],
            expected: Expected::Answer(target.to_owned()),
            problem: Some("1 + 1?".to_owned()),
        }
    }

    #[test]
    fn the_best_and_the_commonest_are_chosen() {
        let task = task("gsm8k").unwrap();
        let items = [
            item(0, "It is #### 2"),
            item(1, "#### 7"),
            item(2, "#### 5"),
        ];
        let completions = |texts: &[&str]| {
            let texts = texts.iter().map(|&text| text.to_owned());
            vec![Answer::Completions(texts.collect())]
        };
        let answers = vec![
            // The judge is right and most are wrong.
            completions(&["#### 3", "#### 2", "#### 3 Question: #### 2"]),
            // The judge is wrong and most are right; what most do not say is not an answer.
            completions(&["nothing", "nothing", "#### 7"]),
            vec![Answer::Skipped("too long".to_owned())],
        ];
        let judgements = vec![
            vec![Some(-3.0), Some(-0.1), Some(-0.1)],
            vec![None, Some(-9.0), None],
            vec![],
        ];
        let scores = best_of(&task, &items, &answers, &judgements);
        let found: Vec<(&str, Option<f64>, usize)> = scores
            .iter()
            .map(|score| (score.metric.as_str(), score.value, score.items))
            .collect();
        let name = |reading: &str, how: &str| format!("exact-match ({reading}), {how} of 3");
        let expected = [
            (name("gsm8k-strict", "best"), Some(0.5), 2),
            (name("gsm8k-strict", "majority"), Some(0.5), 2),
            (name("gsm8k-flexible", "best"), Some(0.5), 2),
            (name("gsm8k-flexible", "majority"), Some(0.5), 2),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value, items)| (name.as_str(), *value, *items))
            .collect();
        assert_eq!(found, expected);
        // The chosen ones are those: with the other item alone, the two ways part.
        let first = best_of(
            &task,
            &items[..1],
            &answers[..1].to_vec(),
            &judgements[..1].to_vec(),
        );
        let values: Vec<Option<f64>> = first.iter().map(|score| score.value).collect();
        assert_eq!(values, [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]);
    }

    #[test]
    fn of_equals_the_first_and_what_is_not_judged_last() {
        assert_eq!(best(&[None, Some(-5.0), Some(-5.0)]), 1);
        assert_eq!(best(&[None, None]), 0);
        assert_eq!(best(&[Some(f64::NEG_INFINITY), None]), 0);
        assert_eq!(best(&[]), 0);
    }
}
