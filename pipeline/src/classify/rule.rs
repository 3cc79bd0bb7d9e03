//! What a classifier must say of a document: `[profile.X.quality]` of a recipe.
//!
//! DCLM keeps the tenth of its pages that a fastText model finds likest to instruction data and explained answers (arXiv
//! 2406.11794, section 4.4); `FineWeb-Edu` and others do likewise with other models. The model is any of fastText's format, so
//! one that `andromeda quality train` made too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Classifier, ModelError, ModelFile, Scratch};

/// Dropped: the score is too low.
pub const LOW: &str = "quality-low";

/// Which model judges, and from which score on a document stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QualityOptions {
    /// The model's file.
    pub model: ModelFile,
    /// The label whose probability is the score, with its prefix or without.
    pub label: String,
    /// The score from which on a document stays, 0 to 1. Without it all stay, and their scores are written to the documents table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
}

impl QualityOptions {
    /// What cannot be meant: the key and the message.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        match self.min_score {
            Some(score) if !(0.0..=1.0).contains(&score) => {
                vec![("min-score", "a score is from 0 to 1".to_owned())]
            }
            _ => Vec::new(),
        }
    }
}

/// The rule, ready to judge. Shared by all threads.
#[derive(Debug)]
pub struct QualityRule {
    model: Arc<Classifier>,
    label: usize,
    min_score: Option<f64>,
}

impl QualityRule {
    /// A rule; `model` is what the options' path leads to.
    ///
    /// # Errors
    /// If the model has no such label.
    pub fn new(options: &QualityOptions, model: Arc<Classifier>) -> Result<Self, ModelError> {
        Ok(Self {
            label: model.label(&options.label)?,
            min_score: options.min_score,
            model,
        })
    }

    /// The score of a document, 0 to 1, and why it goes, if it does. A text of which the model knows nothing has 0.
    pub fn judge(&self, text: &str, scratch: &mut Scratch) -> (f64, Option<&'static str>) {
        let score = self.model.probability(text, self.label, scratch);
        let score = score.unwrap_or(0.0).clamp(0.0, 1.0);
        let is_low = self.min_score.is_some_and(|least| score < least);
        (score, is_low.then_some(LOW))
    }
}
