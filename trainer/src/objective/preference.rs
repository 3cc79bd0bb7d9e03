//! Preference between two answers to one prompt, without a reward model: DPO (Rafailov et al., "Direct Preference Optimization",
//! arXiv:2305.18290, with the smoothing of the authors' note on noisy labels) and IPO (Azar et al., "A General Theoretical Paradigm to
//! Understand Learning from Human Preferences", arXiv:2310.12036, over means a token as trl computes it).
//!
//! With n nats of an answer under the model and r those under the reference, of the chosen answer w and the rejected one l, the
//! margin is `h = (n_l - n_w) - (r_l - r_w)`. DPO: `-(1 - e) ln s(b h) - e ln s(-b h)`, s the logistic function. IPO:
//! `(h - 1 / (2 b))^2`, h of nats a token. The gradient reaches the model through the two sums of nats, so each answer's loss is
//! scaled by the derivative; both go through the model in one pass, the prompt that they share once. The reference is the model at the beginning of the run; its nats are computed once
//! and kept in the run's folder.

use std::collections::BTreeMap;
use std::path::Path;

use andromeda_format::{Build, Split};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ObjectiveOptions, Step};
use crate::data::{MicroBatch, Row, Sequences as Stream, Source};
use crate::documents::{Document, Documents};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::fork::Continuations;
use crate::ops::Backend;
use crate::order::Shuffled;
use crate::progress::{Event, Progress};

/// Which loss a margin has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreferenceLoss {
    /// DPO's.
    #[default]
    Sigmoid,
    /// IPO's.
    Ipo,
}

/// The pairs of a split as sequences: end of text, prompt, chosen, rejected, of which only the chosen answer is marked as trained.
/// A prompt that is too long loses its beginning; a pair with an answer that is longer than a sequence is left out, and
/// so is one of equal answers.
#[derive(Debug)]
pub struct Pairs {
    documents: Documents,
    /// Documents that are pairs and fit.
    usable: Vec<u32>,
    order: Shuffled,
    end_of_text: u32,
    sequence_tokens: usize,
    document: Document,
}

/// What was left out of a split, or cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Documents with an answer or a step that a sequence cannot hold.
    pub too_long: u64,
    /// Documents whose loss spans are not those of their kind.
    pub unlike: u64,
    /// Pairs whose answers are the same tokens: nothing is to be learnt from them.
    pub equal: u64,
    /// Prompts that lost their beginning.
    pub cut: u64,
}

impl Omitted {
    /// Counts what was left out of another split, too.
    pub fn add(&mut self, other: Self) {
        self.too_long += other.too_long;
        self.unlike += other.unlike;
        self.equal += other.equal;
        self.cut += other.cut;
    }

    /// What a person is told; nothing where nothing was left out.
    pub fn message(&self) -> Option<String> {
        let parts = [
            (
                self.too_long,
                "documents left out since a sequence is shorter (data.sequence-tokens)",
            ),
            (
                self.unlike,
                "documents left out since their loss spans are not those of their kind",
            ),
            (
                self.equal,
                "pairs left out since their two answers are the same",
            ),
            (
                self.cut,
                "prompts cut at the beginning to fit into a sequence",
            ),
        ];
        let said: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

/// Lengths of prompt, chosen and rejected answer; none if the document is no pair.
fn parts(documents: &Documents, number: usize) -> Option<[usize; 3]> {
    let [chosen] = &documents.trained_stretches(number)[..] else {
        return None;
    };
    let tokens = usize::try_from(documents.tokens(number)).ok()?;
    let rejected = tokens.checked_sub(chosen.end)?;
    (rejected > 0).then_some([chosen.start, chosen.len(), rejected])
}

impl Pairs {
    /// The pairs of `split`.
    ///
    /// # Errors
    /// A shard cannot be opened.
    pub fn open(
        build: &Build,
        split: Split,
        sequence_tokens: usize,
        seed: u64,
    ) -> Result<(Self, Omitted)> {
        let mut documents = Documents::open(build, split, "preference")?;
        let (mut usable, mut omitted) = (Vec::new(), Omitted::default());
        let mut document = Document::default();
        for (number, name) in (0..documents.len()).zip(0_u32..) {
            match parts(&documents, number) {
                None => omitted.unlike += 1,
                Some([_, chosen, rejected]) if chosen.max(rejected) > sequence_tokens => {
                    omitted.too_long += 1;
                }
                // Of the few answers of one length alone the tokens are looked at.
                Some([prompt, chosen, rejected])
                    if chosen == rejected && {
                        documents.read(number, &mut document)?;
                        document.ids[prompt..prompt + chosen] == document.ids[prompt + chosen..]
                    } =>
                {
                    omitted.equal += 1;
                }
                Some([prompt, chosen, rejected]) => {
                    omitted.cut += u64::from(prompt + chosen.max(rejected) > sequence_tokens);
                    usable.push(name);
                }
            }
        }
        let pairs = Self {
            order: Shuffled::new(seed, "preference", usable.len()),
            documents,
            usable,
            end_of_text: build.manifest().tokenizer.end_of_text.id,
            sequence_tokens,
            document,
        };
        Ok((pairs, omitted))
    }
}

impl Stream for Pairs {
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
        let [prompt, chosen, rejected] = parts(&self.documents, number).unwrap_or_default();
        let kept =
            prompt.min(self.sequence_tokens - chosen.max(rejected).min(self.sequence_tokens));
        let cut = prompt - kept;
        *row = Row {
            ids: std::iter::once(self.end_of_text)
                .chain(self.document.ids[cut..].iter().copied())
                .collect(),
            trained: self.document.trained[cut..].to_vec(),
            documents: vec![self.document.row],
            datasets: vec![self.document.dataset],
            ..Row::default()
        };
        Ok(())
    }
}

/// The two answers of a micro-batch that is one pair, chosen and rejected, after the prompt that they share.
struct Answers {
    /// The prompt but for its last token, from which both answers are asked for.
    prompt: Vec<u32>,
    inputs: [Vec<u32>; 2],
    next: [Vec<u32>; 2],
}

impl Answers {
    fn of(micro: &MicroBatch) -> Result<Self> {
        let broken = || {
            Error::Usage("a micro-batch that is no pair; this is a fault of the program".to_owned())
        };
        let first = micro.trained.iter().position(|&t| t).ok_or_else(broken)?;
        let chosen = micro.trained[first..].iter().take_while(|&&t| t).count();
        let (middle, end) = (first + chosen, micro.next.len());
        if middle == end {
            return Err(broken());
        }
        let next = [first..middle, middle..end].map(|answer| micro.next[answer].to_vec());
        let inputs = next.each_ref().map(|answer| {
            let before = std::iter::once(micro.ids[first]);
            before
                .chain(answer[..answer.len() - 1].iter().copied())
                .collect()
        });
        Ok(Self {
            prompt: micro.ids[..first].to_vec(),
            inputs,
            next,
        })
    }

    fn continuations(&self) -> Continuations<'_> {
        Continuations {
            beginning: &self.prompt,
            inputs: self.inputs.each_ref().map(Vec::as_slice),
            next: self.next.each_ref().map(Vec::as_slice),
        }
    }

    /// Tokens of each.
    fn tokens(&self) -> [usize; 2] {
        self.next.each_ref().map(Vec::len)
    }

    fn nats<B: Backend>(&self, model: &Model<B>) -> Result<Nats> {
        Ok(Nats::of(model.continuation_nats(&self.continuations())?))
    }
}

/// Nats of both answers of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Nats {
    chosen: f64,
    rejected: f64,
}

impl Nats {
    const fn of([chosen, rejected]: [f64; 2]) -> Self {
        Self { chosen, rejected }
    }
}

/// What a pair's margin comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Margin {
    /// h, in nats, or in nats a token for IPO.
    margin: f64,
    loss: f64,
    /// Derivative of the loss by the nats of the chosen answer, and of the rejected one.
    slopes: [f64; 2],
}

/// ln(1 + e^x) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

fn margin(options: &ObjectiveOptions, own: Nats, reference: Nats, tokens: [usize; 2]) -> Margin {
    let (beta, e) = (options.beta, options.smoothing);
    match options.loss {
        PreferenceLoss::Sigmoid => {
            let h = (own.rejected - own.chosen) - (reference.rejected - reference.chosen);
            let (toward, away) = (logistic(-beta * h), logistic(beta * h));
            // By h: -b (1 - e) s(-b h) + b e s(b h); h falls by the nats of the chosen answer.
            let slope = beta * ((1.0 - e) * toward - e * away);
            Margin {
                margin: h,
                loss: (1.0 - e) * softplus(-beta * h) + e * softplus(beta * h),
                slopes: [slope, -slope],
            }
        }
        PreferenceLoss::Ipo => {
            let [chosen, rejected] = tokens.map(|tokens| tokens.max(1) as f64);
            let h = (own.rejected - reference.rejected) / rejected
                - (own.chosen - reference.chosen) / chosen;
            let off = h - 1.0 / (2.0 * beta);
            Margin {
                margin: h,
                loss: off * off,
                slopes: [-2.0 * off / chosen, 2.0 * off / rejected],
            }
        }
    }
}

/// What the margins of pairs add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Margins {
    /// Pairs.
    pub pairs: u64,
    /// Those whose chosen answer gained more over the reference than the rejected one; a tie counts half.
    pub right: f64,
    /// Sum of the margins.
    pub margin: f64,
    /// Sum of what the chosen answers gained over the reference, in nats.
    pub chosen_gain: f64,
    /// The same of the rejected ones. Both falling is DPO's known disease.
    pub rejected_gain: f64,
}

impl Margins {
    fn add(&mut self, margin: f64, own: Nats, reference: Nats) {
        self.pairs += 1;
        self.right += match margin.total_cmp(&0.0) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        self.margin += margin;
        self.chosen_gain += reference.chosen - own.chosen;
        self.rejected_gain += reference.rejected - own.rejected;
    }
}

/// How pairs that were not trained on are told apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreferenceFigures {
    /// Pairs.
    pub pairs: u64,
    /// Mean loss a pair.
    pub preference_loss: f64,
    /// The part of the pairs whose chosen answer gained more over the reference than the rejected one; a tie counts half.
    pub preference_accuracy: f64,
    /// Its standard error, `sqrt(p (1 - p) / n)`.
    pub preference_accuracy_error: f64,
    /// Mean margin: nats, or nats a token for IPO.
    pub margin: f64,
    /// What the chosen answers gained over the reference, mean nats.
    pub chosen_gain: f64,
    /// The same of the rejected ones.
    pub rejected_gain: f64,
}

impl PreferenceFigures {
    /// The means over pairs whose losses and margins add up to these; none of none.
    pub fn new(loss: f64, margins: &Margins) -> Option<Self> {
        let pairs = (margins.pairs > 0).then_some(margins.pairs as f64)?;
        let accuracy = margins.right / pairs;
        Some(Self {
            pairs: margins.pairs,
            preference_loss: loss / pairs,
            preference_accuracy: accuracy,
            preference_accuracy_error: (accuracy * (1.0 - accuracy) / pairs).sqrt(),
            margin: margins.margin / pairs,
            chosen_gain: margins.chosen_gain / pairs,
            rejected_gain: margins.rejected_gain / pairs,
        })
    }
}

/// Which run is prepared.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Its folder.
    pub run: &'a Path,
    /// Root hash of the build.
    pub root: &'a str,
    /// Steps done.
    pub step: u64,
}

/// The objective: options and the nats of every pair under the reference, by the row of its document.
#[derive(Debug)]
pub struct Preference {
    options: ObjectiveOptions,
    reference: BTreeMap<u64, Nats>,
}

impl Preference {
    pub(super) fn prepare<B: Backend>(
        at: &At<'_>,
        options: ObjectiveOptions,
        model: &Model<B>,
        sources: [&mut Source; 3],
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let sizes = sources
            .each_ref()
            .map(|source| source.sequences.sequences());
        let weights = if at.step == 0 {
            Some(digest(model)?)
        } else {
            None
        };
        let header = Header {
            root: at.root.to_owned(),
            sequence_tokens: sources[0].sequence_tokens,
            pairs: sizes.iter().sum(),
            weights: weights.clone(),
        };
        if let Some(reference) = header.read(at.run)? {
            return Ok(Self { options, reference });
        }
        if weights.is_none() {
            return Err(Error::Integrity {
                path: at.run.join(REFERENCE),
                problem: "the nats of the pairs under the reference are not those of this run's pairs, or are gone\n\
                          hint: restore the file, or begin the run anew under another name".to_owned(),
            });
        }
        let mut reference = BTreeMap::new();
        let mut row = Row::default();
        for source in sources {
            for index in 0..source.sequences.sequences() {
                source.sequences.read_in_order(index, &mut row)?;
                let mut micro = MicroBatch::default();
                micro.push(&row)?;
                let nats = Answers::of(&micro)?.nats(model)?;
                reference.insert(row.documents.first().copied().unwrap_or_default(), nats);
                progress.report(&Event::Prepared {
                    what: "pairs under the reference",
                    done: reference.len() as u64,
                    of: header.pairs,
                });
            }
        }
        header.write(at.run, &reference)?;
        Ok(Self { options, reference })
    }

    fn reference(&self, row: &[u64]) -> Result<Nats> {
        let row = row.first().copied().unwrap_or_default();
        self.reference.get(&row).copied().ok_or_else(|| {
            Error::Usage(format!(
                "the pair of row {row} was not there when the run began\nhint: begin the run anew under another name"
            ))
        })
    }

    pub(super) fn add_gradients<B: Backend>(
        &self,
        pass: &Step<'_, B>,
        model: &Model<B>,
        micro: &MicroBatch,
        gradients: &mut B::Store,
        margins: &mut Margins,
    ) -> Result<f64> {
        let reference = self.reference(&micro.documents)?;
        let answers = Answers::of(micro)?;
        let count = pass.count.max(1) as f64;
        let mut of_nats = |nats: [f64; 2]| {
            let own = Nats::of(nats);
            margin(&self.options, own, reference, answers.tokens())
                .slopes
                .map(|slope| slope / count)
        };
        let keep = pass.config.compute.keep();
        let continuations = answers.continuations();
        let nats =
            model.add_continuation_gradients(&continuations, &mut of_nats, keep, gradients)?;
        let own = Nats::of(nats);
        let margin = margin(&self.options, own, reference, answers.tokens());
        margins.add(margin.margin, own, reference);
        Ok(margin.loss)
    }

    pub(super) fn judge<B: Backend>(
        &self,
        model: &Model<B>,
        held_out: &mut Source,
        most: u64,
    ) -> Result<Option<PreferenceFigures>> {
        let (mut loss, mut margins) = (0.0, Margins::default());
        let mut row = Row::default();
        for index in 0..held_out.sequences.sequences().min(most) {
            held_out.sequences.read_in_order(index, &mut row)?;
            let mut micro = MicroBatch::default();
            micro.push(&row)?;
            let answers = Answers::of(&micro)?;
            let own = answers.nats(model)?;
            let reference = self.reference(&row.documents)?;
            let margin = margin(&self.options, own, reference, answers.tokens());
            loss += margin.loss;
            margins.add(margin.margin, own, reference);
        }
        Ok(PreferenceFigures::new(loss, &margins))
    }
}

/// Name of the file in a run's folder.
const REFERENCE: &str = "reference.bin";
const MAGIC: &[u8; 8] = b"ANDRREF1";

/// SHA-256 of all parameters.
fn digest<B: Backend>(model: &Model<B>) -> Result<String> {
    let mut hash = Sha256::new();
    for index in 0..model.shapes.len() {
        for number in model.backend.read(&model.parameters, index)? {
            hash.update(number.to_le_bytes());
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// What the file of reference nats is of: magic, length of this as JSON (u32), this, entries of (row u64, chosen f64, rejected f64),
/// SHA-256 of all before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Header {
    root: String,
    sequence_tokens: usize,
    pairs: u64,
    /// Digest of the parameters; not compared once the parameters have moved.
    weights: Option<String>,
}

impl Header {
    /// The nats that were kept for this; none if there are none, or others.
    fn read(&self, run: &Path) -> Result<Option<BTreeMap<u64, Nats>>> {
        let bytes = match fs_err::read(run.join(REFERENCE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("reading the reference")(error)),
        };
        Ok(self.parse(&bytes))
    }

    fn parse(&self, bytes: &[u8]) -> Option<BTreeMap<u64, Nats>> {
        let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Sha256::digest(body)[..] != *digest {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (header, entries) = rest.split_at_checked(length)?;
        let found: Self = serde_json::from_slice(header).ok()?;
        let same = Self {
            weights: self.weights.clone().or_else(|| found.weights.clone()),
            ..self.clone()
        };
        let (entries, rest) = entries.as_chunks::<24>();
        if found != same || !rest.is_empty() {
            return None;
        }
        let word = |entry: &[u8; 24], at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&entry[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let entry = |entry: &[u8; 24]| {
            let nats = Nats {
                chosen: f64::from_bits(word(entry, 8)),
                rejected: f64::from_bits(word(entry, 16)),
            };
            (word(entry, 0), nats)
        };
        Some(entries.iter().map(entry).collect())
    }

    fn write(&self, run: &Path, reference: &BTreeMap<u64, Nats>) -> Result<()> {
        let header = serde_json::to_vec(self).map_err(|error| Error::Io {
            what: "writing the reference".to_owned(),
            source: error.into(),
        })?;
        let mut bytes = MAGIC.to_vec();
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&header);
        for (row, nats) in reference {
            bytes.extend_from_slice(&row.to_le_bytes());
            bytes.extend_from_slice(&nats.chosen.to_bits().to_le_bytes());
            bytes.extend_from_slice(&nats.rejected.to_bits().to_le_bytes());
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        crate::run::publish(run, REFERENCE, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WrittenConfig;
    use crate::ops::Fused;

    fn options(loss: PreferenceLoss, smoothing: f64) -> ObjectiveOptions {
        ObjectiveOptions {
            beta: 0.3,
            loss,
            smoothing,
            ..ObjectiveOptions::default()
        }
    }

    const LOSSES: [(PreferenceLoss, f64); 3] = [
        (PreferenceLoss::Sigmoid, 0.0),
        (PreferenceLoss::Sigmoid, 0.2),
        (PreferenceLoss::Ipo, 0.0),
    ];

    #[test]
    fn losses_of_a_margin_are_those_of_the_papers() {
        let own = Nats {
            chosen: 10.0,
            rejected: 14.0,
        };
        let reference = Nats {
            chosen: 11.0,
            rejected: 12.0,
        };
        let loss = |(loss, smoothing)| margin(&options(loss, smoothing), own, reference, [5, 4]);
        // h = 4 - 1 = 3. -ln s(.9) = ln(1 + e^-.9); with e = .2: .8 of it and .2 of ln(1 + e^.9).
        let [plain, smooth, ipo] = LOSSES.map(loss);
        assert!((plain.margin - 3.0).abs() < 1e-12);
        assert!((plain.loss - 0.341_153_9).abs() < 1e-6, "{plain:?}");
        assert!(
            (smooth.loss - (0.341_153_9 + 0.2 * 0.9)).abs() < 1e-6,
            "{smooth:?}"
        );
        // h = 2 / 4 + 1 / 5 = .7; (.7 - 1 / .6)^2.
        assert!((ipo.margin - 0.7).abs() < 1e-12);
        assert!((ipo.loss - 0.934_444_4).abs() < 1e-6, "{ipo:?}");
        // Far off, nothing overflows.
        let far = Nats {
            chosen: 1e6,
            rejected: 0.0,
        };
        let far = margin(
            &options(PreferenceLoss::Sigmoid, 0.1),
            far,
            Nats::default(),
            [1, 1],
        );
        assert!(
            far.loss.is_finite() && far.slopes.iter().all(|s| s.is_finite()),
            "{far:?}"
        );
    }

    /// A pair: prompt 5 6, chosen 1 2 0, rejected 3 0.
    fn pair() -> MicroBatch {
        let mut micro = MicroBatch::default();
        let row = Row {
            ids: vec![0, 5, 6, 1, 2, 0, 3, 0],
            trained: vec![false, false, true, true, true, false, false],
            documents: vec![4],
            ..Row::default()
        };
        micro.push(&row).unwrap();
        micro
    }

    #[test]
    fn a_pair_is_two_continuations_of_one_prompt() {
        let answers = Answers::of(&pair()).unwrap();
        let of = answers.continuations();
        assert_eq!(of.beginning, [0, 5]);
        assert_eq!((of.inputs[0], of.next[0]), (&[6, 1, 2][..], &[1, 2, 0][..]));
        assert_eq!((of.inputs[1], of.next[1]), (&[6, 3][..], &[3, 0][..]));
        assert_eq!(answers.tokens(), [3, 2]);
        let mut nothing_rejected = pair();
        nothing_rejected.trained.fill(true);
        assert!(Answers::of(&nothing_rejected).is_err());
    }

    /// The gradient against central differences of the loss in double precision, for every parameter of a tiny model.
    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let text = "[model]\nwidth = 8\nlayers = 1\nheads = 2\nhead-size = 4\n[data]\nsequences-per-micro-batch = 1\n[objective]\nkind = \"preference\"";
        let config = toml::from_str::<WrittenConfig>(text)
            .unwrap()
            .resolve(8, Path::new("test"))
            .unwrap();
        let mut model = Model::new(config.model, 3, Fused::<f64>::default()).unwrap();
        let length = model.length(4).unwrap();
        let micro = pair();
        let reference = Nats {
            chosen: 5.0,
            rejected: 4.5,
        };
        for (loss, smoothing) in LOSSES {
            let preference = Preference {
                options: options(loss, smoothing),
                reference: BTreeMap::from([(4, reference)]),
            };
            let pass = Step {
                config: &config,
                length: &length,
                count: 2,
            };
            let mut gradients = model.store().unwrap();
            let mut margins = Margins::default();
            let total = preference
                .add_gradients(&pass, &model, &micro, &mut gradients, &mut margins)
                .unwrap();
            assert_eq!(margins.pairs, 1);
            let value = |model: &Model<Fused<f64>>| {
                let own = Answers::of(&micro).unwrap().nats(model).unwrap();
                margin(&preference.options, own, reference, [3, 2]).loss / 2.0
            };
            assert!((value(&model) - total / 2.0).abs() < 1e-12);
            let mut seen = 0.0_f64;
            for index in 0..model.shapes.len() {
                let gradient = model.backend.read(&gradients, index).unwrap();
                let numbers = model.backend.read(&model.parameters, index).unwrap();
                for at in (0..numbers.len()).step_by(7) {
                    let mut moved = numbers.clone();
                    // Stores are written in single precision: the step is what really comes of it.
                    let h = 1e-4_f32;
                    moved[at] = numbers[at] + h;
                    let up = f64::from(moved[at]);
                    model
                        .backend
                        .write(&mut model.parameters, index, &moved)
                        .unwrap();
                    let above = value(&model);
                    moved[at] = numbers[at] - h;
                    let down = f64::from(moved[at]);
                    model
                        .backend
                        .write(&mut model.parameters, index, &moved)
                        .unwrap();
                    let below = value(&model);
                    model
                        .backend
                        .write(&mut model.parameters, index, &numbers)
                        .unwrap();
                    let slope = (above - below) / (up - down);
                    let found = f64::from(gradient[at]);
                    assert!(
                        (slope - found).abs() < 1e-5 * (1.0 + slope.abs()),
                        "{loss:?} {}[{at}]: {found}, but {slope}",
                        model.shapes[index].name
                    );
                    seen = seen.max(found.abs());
                }
            }
            assert!(seen > 1e-3, "{seen}");
        }
    }

    #[test]
    fn the_reference_is_kept_bit_for_bit_and_only_for_its_own_pairs() {
        let run = tempfile::tempdir().unwrap();
        let header = Header {
            root: "r".to_owned(),
            sequence_tokens: 64,
            pairs: 2,
            weights: Some("w".to_owned()),
        };
        let nats = Nats {
            chosen: 0.1 + 0.2,
            rejected: f64::MIN_POSITIVE,
        };
        let reference = BTreeMap::from([(3, nats), (9, Nats::default())]);
        assert_eq!(header.read(run.path()).unwrap(), None);
        header.write(run.path(), &reference).unwrap();
        assert_eq!(header.read(run.path()).unwrap(), Some(reference.clone()));
        // Once parameters have moved they say nothing.
        let later = Header {
            weights: None,
            ..header.clone()
        };
        assert_eq!(later.read(run.path()).unwrap(), Some(reference));
        for other in [
            Header {
                root: "s".to_owned(),
                ..header.clone()
            },
            Header {
                sequence_tokens: 65,
                ..header.clone()
            },
            Header {
                pairs: 3,
                ..header.clone()
            },
            Header {
                weights: Some("v".to_owned()),
                ..header.clone()
            },
        ] {
            assert_eq!(other.read(run.path()).unwrap(), None, "{other:?}");
        }
        let path = run.path().join(REFERENCE);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(header.parse(&damaged), None, "byte {at}");
            assert_eq!(header.parse(&whole[..at]), None, "the first {at} bytes");
        }
    }
}
