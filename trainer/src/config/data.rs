//! `[data]`: the batches.

use std::collections::BTreeMap;

use andromeda_format::{LoaderOptions, Packing, Shuffle};
use serde::{Deserialize, Serialize};

/// The largest chunk in tokens, and the most chunks of a group: far above what is of use, and within what TOML can hold.
const LARGEST_CHUNK: u64 = 1 << 40;
const MOST_CHUNKS: u64 = 1 << 20;
/// The largest sum of weights: finer shares than any run could tell.
const LARGEST_WEIGHTS: u64 = 1 << 40;

/// Which sequences of the training split are permuted among each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Those of a group of chunks, which is decoded once ([`Shuffle`]).
    #[default]
    Groups,
    /// All of the split. Of a split of more than 16 chunks each sequence decodes a frame of its own.
    Full,
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataOptions {
    /// T: tokens of a sequence.
    pub sequence_tokens: usize,
    /// Sequences that go through the model at once.
    pub sequences_per_micro_batch: usize,
    /// Micro-batches whose gradients make one step.
    pub micro_batches_per_step: usize,
    /// Tokens over which steps grow from one micro-batch to `micro-batches-per-step`, in even parts (Brown et al., "Language Models
    /// are Few-Shot Learners", 2020; Megatron-LM's `--rampup-batch-size`); 0 for steps of one size.
    #[serde(skip_serializing_if = "is_zero")]
    pub batch_warmup_tokens: u64,
    /// Parts of a step whose gradients are made apart and summed in a tree ([`crate::parallel::tree`]); each has as many micro-batches
    /// as any other or one more. So many workers may share a run at most, and each power of two takes room for another gradient.
    /// It belongs to the run, since it orders its sums.
    pub parts_per_step: usize,
    /// Seed of the order of sequences.
    pub order_seed: u64,
    /// How documents of the training split are laid into sequences. Those evaluated on are always laid end to end, so that
    /// the losses of runs can be compared.
    pub packing: Packing,
    /// How far the order of the training split is from the stored one.
    pub shuffle: Among,
    /// Tokens of a chunk, more or less; at most 2^40. With `best-fit` also the stretch of documents that are packed together.
    pub chunk_tokens: u64,
    /// Chunks of a group, at most 2^20; so many are held in memory. Of no meaning where all of the split is shuffled.
    pub group_chunks: u64,
    /// Whether attention stays within a document, so that the documents of a sequence do not see each other.
    pub stay_in_documents: bool,
    /// Datasets of the build by name, each with its share of the training sequences: its weight of the sum of all weights. A
    /// dataset that is not named is not trained on; without any name, all are, each with its share of the split. Reading
    /// decodes the split once for every dataset named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u64>,
    /// Kinds of datasets (`text`, `chat`, `preference`, `process`) whose datasets alone are trained on, each with its share of their
    /// tokens; without any, all are. What `weights` says of reading holds here too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// Runs without it are written as before there was a warmup of batches.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

impl Default for DataOptions {
    fn default() -> Self {
        let Shuffle {
            chunk_tokens,
            group_chunks,
        } = Shuffle::default();
        Self {
            sequence_tokens: 256,
            sequences_per_micro_batch: 8,
            micro_batches_per_step: 1,
            batch_warmup_tokens: 0,
            parts_per_step: 1,
            order_seed: 0,
            packing: Packing::default(),
            shuffle: Among::default(),
            chunk_tokens,
            group_chunks,
            stay_in_documents: false,
            weights: BTreeMap::new(),
            kinds: Vec::new(),
        }
    }
}

impl DataOptions {
    /// Micro-batches of the step that begins at `position`, sequences consumed before it. A function of the position alone, so that
    /// a resumed run has the same steps.
    pub fn micro_batches_at(&self, position: u64) -> usize {
        let most = self.micro_batches_per_step;
        let read = u128::from(position) * self.sequence_tokens as u128;
        if read >= u128::from(self.batch_warmup_tokens) {
            return most;
        }
        let more = most.saturating_sub(1) as u128 * read / u128::from(self.batch_warmup_tokens);
        usize::try_from(more).map_or(most, |more| more + 1)
    }

    /// Sequences consumed by the first `steps` steps.
    pub fn sequences_after(&self, steps: u64) -> u64 {
        let mut left = steps;
        let mut position = 0_u64;
        for (size, count) in self.smaller_steps() {
            let count = count.min(left);
            position = position.saturating_add(count.saturating_mul(size));
            left -= count;
        }
        position.saturating_add(left.saturating_mul(self.sequences_per_step()))
    }

    /// Steps until `tokens` are read.
    pub fn steps_for(&self, tokens: u64) -> u64 {
        let wanted = tokens.div_ceil(self.sequence_tokens.max(1) as u64);
        let (mut steps, mut position) = (0, 0_u64);
        for (size, count) in self.smaller_steps() {
            let count = count.min(wanted.saturating_sub(position).div_ceil(size));
            position += count * size;
            steps += count;
        }
        steps
            + wanted
                .saturating_sub(position)
                .div_ceil(self.sequences_per_step().max(1))
    }

    /// The steps of the warmup: sequences of a step, and how many of that size follow each other.
    fn smaller_steps(&self) -> impl Iterator<Item = (u64, u64)> {
        let more = self.micro_batches_per_step.saturating_sub(1) as u64;
        let size = self.sequences_per_micro_batch.max(1) as u64;
        let tokens = u128::from(more) * self.sequence_tokens.max(1) as u128;
        let warmup = u128::from(self.batch_warmup_tokens);
        let mut position = 0_u64;
        (1..=more).map(move |micro_batches| {
            // Where steps are larger by the next micro-batch.
            let end = (warmup * u128::from(micro_batches)).div_ceil(tokens);
            let end = u64::try_from(end).unwrap_or(u64::MAX);
            let size = size * micro_batches;
            let count = end.saturating_sub(position).div_ceil(size);
            position = position.saturating_add(count.saturating_mul(size));
            (size, count)
        })
    }

    /// Sequences of one step, after the warmup of batches.
    pub fn sequences_per_step(&self) -> u64 {
        self.sequences_per_micro_batch as u64 * self.micro_batches_per_step as u64
    }

    /// Tokens of one step, after the warmup of batches.
    pub fn tokens_per_step(&self) -> u64 {
        self.sequences_per_step() * self.sequence_tokens as u64
    }

    /// What the loader of the training split is asked for.
    pub fn loader_options(&self) -> LoaderOptions {
        let group_chunks = match self.shuffle {
            Among::Groups => self.group_chunks,
            Among::Full => Shuffle::FULL.group_chunks,
        };
        LoaderOptions {
            packing: self.packing,
            shuffle: Shuffle {
                chunk_tokens: self.chunk_tokens,
                group_chunks,
            },
            ..LoaderOptions::new(self.sequence_tokens, self.order_seed)
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let bounds = [
            ("data.sequence-tokens", self.sequence_tokens as u64, 1 << 20),
            (
                "data.sequences-per-micro-batch",
                self.sequences_per_micro_batch as u64,
                1 << 16,
            ),
            (
                "data.micro-batches-per-step",
                self.micro_batches_per_step as u64,
                1 << 16,
            ),
            ("data.chunk-tokens", self.chunk_tokens, LARGEST_CHUNK),
            ("data.group-chunks", self.group_chunks, MOST_CHUNKS),
        ];
        let mut problems: Vec<String> = bounds
            .iter()
            .filter(|(_, value, most)| *value == 0 || value > most)
            .map(|(name, value, most)| format!("{name} must be between 1 and {most}, not {value}"))
            .collect();
        if self.batch_warmup_tokens > 0 && self.micro_batches_per_step == 1 {
            problems.push(
                "data.batch-warmup-tokens has no meaning with data.micro-batches-per-step = 1; raise that and lower data.sequences-per-micro-batch, or leave it out"
                    .to_owned(),
            );
        }
        if !(1..=self.micro_batches_per_step.max(1)).contains(&self.parts_per_step) {
            problems.push(format!(
                "data.parts-per-step must be between 1 and data.micro-batches-per-step, {}, not {}",
                self.micro_batches_per_step, self.parts_per_step
            ));
        }
        if self.shuffle == Among::Full && self.group_chunks != Shuffle::default().group_chunks {
            problems.push(
                "data.group-chunks has no meaning with data.shuffle = \"full\"; leave one of them out"
                    .to_owned(),
            );
        }
        let mut sum = 0_u64;
        if !(self.weights.is_empty() || self.kinds.is_empty()) {
            problems.push(
                "data.kinds has no meaning beside data.weights, which names the datasets: leave out one of them"
                    .to_owned(),
            );
        }
        for (name, &weight) in &self.weights {
            if weight == 0 {
                problems.push(format!(
                    "data.weights.{name} must be at least 1; leave {name} out to train on none of it"
                ));
            }
            sum = sum.saturating_add(weight);
        }
        if sum > LARGEST_WEIGHTS {
            problems.push(format!(
                "data.weights are {sum} together, and at most {LARGEST_WEIGHTS}; make all smaller"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<DataOptions, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn without_keys_the_loader_has_its_own_defaults() {
        let options = parsed("sequence-tokens = 64\norder-seed = 7").unwrap();
        assert_eq!(options.loader_options(), LoaderOptions::new(64, 7));
        // What a run wrote before there were these keys is read as those defaults.
        assert!(options.problems().is_empty());
    }

    #[test]
    fn each_key_reaches_the_loader() {
        let text = "packing = \"best-fit\"\nchunk-tokens = 4096\ngroup-chunks = 2";
        let options = parsed(text).unwrap();
        let expected = LoaderOptions {
            packing: Packing::BestFit,
            shuffle: Shuffle {
                chunk_tokens: 4096,
                group_chunks: 2,
            },
            ..LoaderOptions::new(256, 0)
        };
        assert_eq!(options.loader_options(), expected);
        assert_eq!(
            parsed("shuffle = \"full\"")
                .unwrap()
                .loader_options()
                .shuffle,
            Shuffle::FULL
        );
        let written = toml::to_string(&options).unwrap();
        assert_eq!(parsed(&written).unwrap(), options);
    }

    #[test]
    fn steps_grow_with_the_position_until_the_warmup_is_over() {
        let options = parsed(
            "sequence-tokens = 10\nsequences-per-micro-batch = 2\nmicro-batches-per-step = 4\nbatch-warmup-tokens = 120",
        )
        .unwrap();
        assert!(options.problems().is_empty());
        // By hand: 12 sequences of warmup in three parts of 4, in which steps have 1, 2 and 3 micro-batches of 2.
        let (mut position, mut walked) = (0, Vec::new());
        for _ in 0..7 {
            let micro_batches = options.micro_batches_at(position);
            walked.push((position, micro_batches));
            position += 2 * micro_batches as u64;
        }
        assert_eq!(
            walked,
            [(0, 1), (2, 1), (4, 2), (8, 3), (14, 4), (22, 4), (30, 4)]
        );
        assert_eq!(options.micro_batches_at(11), 3);
        assert_eq!(options.micro_batches_at(u64::MAX), 4);
    }

    #[test]
    fn steps_and_tokens_of_a_warmup_are_those_of_walking_it() {
        for (sequences, most, warmup) in [
            (1, 1, 0),
            (2, 4, 0),
            (2, 4, 120),
            (3, 7, 1000),
            (1, 5, 3),
            (4, 64, 5000),
            (5, 9, 77),
        ] {
            let options = DataOptions {
                sequence_tokens: 10,
                sequences_per_micro_batch: sequences,
                micro_batches_per_step: most,
                batch_warmup_tokens: warmup,
                ..DataOptions::default()
            };
            let mut position = 0;
            for steps in 0..200 {
                assert_eq!(
                    options.sequences_after(steps),
                    position,
                    "{options:?} {steps}"
                );
                let next = position + (sequences * options.micro_batches_at(position)) as u64;
                // Any number of tokens that only the next step reaches.
                for tokens in [position * 10 + 1, next * 10] {
                    assert_eq!(options.steps_for(tokens), steps + 1, "{options:?} {tokens}");
                }
                position = next;
            }
        }
        let huge = DataOptions {
            micro_batches_per_step: 1 << 16,
            batch_warmup_tokens: u64::MAX,
            ..DataOptions::default()
        };
        assert!(huge.steps_for(u64::MAX) > 0 && huge.sequences_after(u64::MAX) > 0);
    }

    #[test]
    fn values_without_meaning_are_refused() {
        for (text, key) in [
            ("chunk-tokens = 0", "data.chunk-tokens"),
            ("chunk-tokens = 1099511627777", "data.chunk-tokens"),
            ("group-chunks = 0", "data.group-chunks"),
            ("group-chunks = 1048577", "data.group-chunks"),
            ("shuffle = \"full\"\ngroup-chunks = 3", "data.group-chunks"),
            ("weights = { prose = 0, code = 1 }", "data.weights.prose"),
            ("weights = { prose = 1 }\nkinds = [\"chat\"]", "data.kinds"),
            (
                "weights = { prose = 1099511627776, code = 1 }",
                "data.weights",
            ),
            ("batch-warmup-tokens = 9", "data.batch-warmup-tokens"),
            ("parts-per-step = 0", "data.parts-per-step"),
            (
                "parts-per-step = 3\nmicro-batches-per-step = 2",
                "data.parts-per-step",
            ),
        ] {
            let problems = parsed(text).unwrap().problems();
            assert!(
                problems.len() == 1 && problems[0].contains(key),
                "{text}: {problems:?}"
            );
        }
        let error = parsed("packing = \"first-fit\"").unwrap_err();
        assert!(error.contains("best-fit"), "{error}");
        let error = parsed("shuffle = \"none\"").unwrap_err();
        assert!(error.contains("groups"), "{error}");
    }
}
