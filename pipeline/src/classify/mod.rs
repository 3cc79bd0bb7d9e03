//! Linear text classifiers in fastText's format, read, trained and written without fastText.
//!
//! The principal type is [`Classifier`]: a supervised model of fastText (Joulin et al. 2016, arXiv 1607.01759; the program's
//! source, <https://github.com/facebookresearch/fastText>, defines the format and all behaviour), plain (`.bin`) or
//! quantized (`.ftz`, Joulin et al. 2016, arXiv 1612.03651). [`train`] makes one from good and bad texts, [`rule`] makes a filter of one.
//!
//! What fastText does to a line is done here to a whole text, with its line breaks as spaces, as those who filter corpora
//! with it do (DCLM, `FineWeb`): the words, then the end-of-line word. Probabilities are fastText's own, which are 0.00001 too
//! high: it takes logarithms of a probability and that much.

pub(crate) mod arithmetic;
mod dictionary;
mod loss;
mod matrix;
mod read;
pub mod rule;
pub mod train;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use dictionary::Dictionary;
use loss::Output;
use matrix::Matrix;

use crate::digest::Digest;

/// What fastText adds to a probability before it takes the logarithm.
const EPSILON: f64 = 1e-5;

/// A supervised model. Shared by all threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    arguments: Arguments,
    dictionary: Dictionary,
    input: Matrix,
    output: Output,
}

/// A label and its probability, as fastText gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Number of the label.
    pub label: usize,
    /// Its probability; by fastText's rounding, up to 1.00001.
    pub probability: f64,
}

/// What predicting needs besides the text; one thread's, kept from text to text, so that nothing is allocated.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Vec<u32>,
    hashes: Vec<u32>,
    word: Vec<u8>,
    hidden: Vec<f32>,
    scores: Vec<f64>,
    paths: Vec<(usize, f64)>,
}

/// Why a file is no model that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The operating system refused; the message names the file.
    #[error("the model cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It does not begin as one.
    #[error(
        "this is no fastText model: name the .bin or .ftz file that fastText or `andromeda quality train` wrote"
    )]
    Foreign,
    /// It is of a version nobody knows.
    #[error("the model is of fastText's format {0}; formats 11 and 12 are read")]
    Version(i32),
    /// It was trained without labels.
    #[error(
        "the model has word vectors and no labels: name one that was trained with `fasttext supervised`"
    )]
    Unsupervised,
    /// A count in it cannot be.
    #[error("the model is damaged: {0}")]
    Damaged(String),
    /// It has no such label.
    #[error("the model has no label `{label}`; it has {has}")]
    Label {
        /// What was asked for.
        label: String,
        /// Some that there are.
        has: String,
    },
}

/// How a model was trained, as far as it matters to reading it, in fastText's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arguments {
    /// Numbers of the hidden layer.
    pub(crate) dim: i32,
    pub(crate) ws: i32,
    pub(crate) epoch: i32,
    pub(crate) min_count: i32,
    pub(crate) neg: i32,
    /// Words of an n-gram at most.
    pub(crate) word_ngrams: i32,
    pub(crate) loss: Loss,
    /// Rows for n-grams.
    pub(crate) bucket: i32,
    /// Characters of a piece of a word, at least.
    pub(crate) minn: i32,
    /// And at most; 0 where words are not cut.
    pub(crate) maxn: i32,
    pub(crate) lr_update_rate: i32,
    pub(crate) t: f64,
}

/// How the hidden layer becomes probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    HierarchicalSoftmax = 1,
    NegativeSampling = 2,
    Softmax = 3,
    OneVersusAll = 4,
}

impl Classifier {
    /// Reads a model from a file.
    ///
    /// # Errors
    /// If it cannot be read or is none. No count that the file states is believed before the file was seen to be long enough.
    pub fn open(file: &Path) -> Result<Self, ModelError> {
        let opened = fs_err::File::open(file)?;
        let bytes = opened.metadata()?.len();
        Self::read(
            &mut std::io::BufReader::with_capacity(1 << 20, opened),
            bytes,
        )
    }

    /// Reads a model from at most `bytes` bytes.
    ///
    /// # Errors
    /// As [`Classifier::open`].
    pub fn read(from: &mut impl std::io::Read, bytes: u64) -> Result<Self, ModelError> {
        read::model(from, bytes)
    }

    /// The labels, without the prefix `__label__`, by number: the most frequent first.
    #[must_use]
    pub fn labels(&self) -> Vec<&str> {
        (0..self.dictionary.labels())
            .map(|label| self.name(label))
            .collect()
    }

    /// The name of a label without its prefix; empty for a number that is none.
    #[must_use]
    pub fn name(&self, label: usize) -> &str {
        let name = self.dictionary.label(label);
        name.strip_prefix(dictionary::PREFIX).unwrap_or(name)
    }

    /// The number of a label, with its prefix or without.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn label(&self, name: &str) -> Result<usize, ModelError> {
        let bare = name.strip_prefix(dictionary::PREFIX).unwrap_or(name);
        let labels = self.labels();
        labels
            .iter()
            .position(|label| *label == bare)
            .ok_or_else(|| {
                let some: Vec<&str> = labels.iter().take(12).copied().collect();
                let rest = labels.len() - some.len();
                let more = if rest > 0 {
                    format!(" and {rest} more")
                } else {
                    String::new()
                };
                ModelError::Label {
                    label: name.to_owned(),
                    has: some.join(", ") + &more,
                }
            })
    }

    /// The `most` likeliest labels, likeliest first; of equals the first. Nothing if the model knows nothing of the text.
    pub fn predict(&self, text: &str, most: usize, scratch: &mut Scratch) -> Vec<Prediction> {
        if !self.hide(text, scratch) {
            return Vec::new();
        }
        self.output
            .all(&scratch.hidden, &mut scratch.scores, &mut scratch.paths);
        let mut all: Vec<Prediction> = scratch
            .scores
            .iter()
            .enumerate()
            .map(|(label, probability)| Prediction {
                label,
                probability: *probability,
            })
            .collect();
        all.sort_by(|a, b| f64::total_cmp(&b.probability, &a.probability));
        all.truncate(most);
        all
    }

    /// The likeliest label. `None` if the model knows nothing of the text.
    pub fn best(&self, text: &str, scratch: &mut Scratch) -> Option<Prediction> {
        self.hide(text, scratch)
            .then(|| {
                self.output
                    .best(&scratch.hidden, &mut scratch.scores, &mut scratch.paths)
            })
            .flatten()
    }

    /// The probability of one label. `None` if the model knows nothing of the text, or there is no such label.
    pub fn probability(&self, text: &str, label: usize, scratch: &mut Scratch) -> Option<f64> {
        self.hide(text, scratch)
            .then(|| self.output.one(&scratch.hidden, label, &mut scratch.scores))
            .flatten()
    }

    /// The hidden layer of a text: the mean of the rows of its words and n-grams. Whether it has any.
    fn hide(&self, text: &str, scratch: &mut Scratch) -> bool {
        self.dictionary.rows(text, &self.arguments, scratch);
        if scratch.rows.is_empty() {
            return false;
        }
        self.input.mean(&scratch.rows, &mut scratch.hidden);
        true
    }
}

/// A model that a recipe names: `path`, or `path@sha256:hex` to take no other. Relative paths are relative to the manifests'
/// folder; `hf://owner/name/path` and `hf://owner/name@revision/path` are files of model repositories on the hub, pinned in
/// the lock file.
///
/// A plan resolves it: from then on it is written as `file name@sha256:hex`, so that keys, fingerprint and the build's manifest
/// depend on what the model is and not on where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The path as written.
    path: String,
    /// What the file must hash to.
    sha256: Option<Digest>,
    /// The model, once it was resolved.
    loaded: Option<Arc<Classifier>>,
}

impl ModelFile {
    /// A model by path, not resolved yet.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            sha256: None,
            loaded: None,
        }
    }

    /// Hashes and reads the file, for which `find` has the place on this machine; `known` are models that were read before.
    ///
    /// # Errors
    /// If it cannot be found or read, is another one than was pinned, or no model.
    pub fn resolve(
        &mut self,
        find: &mut dyn FnMut(&str) -> Result<PathBuf, String>,
        known: &mut BTreeMap<Digest, Arc<Classifier>>,
    ) -> Result<Arc<Classifier>, String> {
        let place = find(&self.path)?;
        let digest = Digest::of_file(&place)
            .map_err(|error| format!("the model cannot be read: {error}"))?;
        if let Some(pinned) = self.sha256.filter(|pinned| *pinned != digest) {
            return Err(format!(
                "{} has sha256 {digest}, and the recipe pins {pinned}: put that file there, or change the pin",
                place.display()
            ));
        }
        let model = match known.get(&digest) {
            Some(model) => Arc::clone(model),
            None => {
                let model = Classifier::open(&place)
                    .map_err(|error| format!("{}: {error}", place.display()))?;
                Arc::clone(known.entry(digest).or_insert(Arc::new(model)))
            }
        };
        self.sha256 = Some(digest);
        self.loaded = Some(Arc::clone(&model));
        Ok(model)
    }

    /// The model, once it was resolved.
    #[must_use]
    pub fn loaded(&self) -> Option<Arc<Classifier>> {
        self.loaded.clone()
    }
}

impl Serialize for ModelFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.sha256 {
            Some(digest) => {
                let name = Path::new(&self.path).file_name().unwrap_or_default();
                serializer.collect_str(&format_args!("{}@sha256:{digest}", name.to_string_lossy()))
            }
            None => serializer.serialize_str(&self.path),
        }
    }
}

impl<'de> Deserialize<'de> for ModelFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        Ok(match written.rsplit_once("@sha256:") {
            Some((path, hex)) => Self {
                sha256: Some(Digest::deserialize(hex.into_deserializer())?),
                ..Self::new(path)
            },
            None => Self::new(&written),
        })
    }
}

#[cfg(test)]
mod tests;
