//! What models say of documents: their languages and their quality, as the profile of their dataset asks.
//!
//! Languages come before the rules, since lines may be cut; quality comes after them, since it costs most.

use super::block::json;
use super::store::{SectionFile, Sections, StoreError, column_u32, column_u64};
use crate::classify;
use crate::classify::rule::QualityRule;
use crate::filter::FilterOptions;
use crate::language::rule::{LanguageRule, RuleScratch};

/// The models of a profile.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) language: Option<LanguageRule>,
    pub(super) quality: Option<QualityRule>,
}

impl Judge {
    /// Of a profile whose models the plan has read.
    pub(super) fn new(options: &FilterOptions) -> Self {
        let language = options.language.as_ref().map(|options| {
            let model = options.model.as_ref().and_then(|model| model.loaded());
            LanguageRule::new(options.clone(), model)
        });
        let quality = options.quality.as_ref().map(|options| {
            let model = options.model.loaded().expect("the plan read the models");
            QualityRule::new(options, model).expect("the plan checked the label")
        });
        Self { language, quality }
    }
}

/// What models said of the documents of a block, a value a row; one thread's.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Of the languages that there are, by number from 1.
    names: Vec<String>,
    languages: Vec<u32>,
    scores: Vec<f32>,
    other_bytes: Vec<u64>,
    qualities: Vec<f32>,
    rule: RuleScratch,
    classifier: classify::Scratch,
}

/// Stands for a value that a row has not.
const NONE: f32 = f32::NAN;

impl Noted {
    /// Notes the language of a row's text, if it has one, and cuts lines if it may; why the document goes, if it does.
    pub(super) fn language(
        &mut self,
        judge: &Judge,
        text: Option<&mut String>,
        may_cut: bool,
    ) -> Option<(&'static str, String)> {
        let rule = judge.language.as_ref()?;
        let verdict = text.map(|text| rule.judge(text, may_cut, &mut self.rule));
        let verdict = verdict.unwrap_or_default();
        let number = verdict.language.map_or(0, |language| {
            let known = self.names.iter().position(|name| *name == language);
            let at = known.unwrap_or_else(|| {
                self.names.push(language);
                self.names.len() - 1
            });
            u32::try_from(at + 1).expect("a model has fewer than 2^32 labels")
        });
        self.languages.push(number);
        #[expect(clippy::cast_possible_truncation, reason = "a score has few digits")]
        self.scores.push(if number == 0 {
            NONE
        } else {
            verdict.score as f32
        });
        self.other_bytes.push(verdict.other_bytes);
        let reason = verdict.reason?;
        let at = usize::try_from(number).unwrap_or_default().checked_sub(1);
        let language = at.and_then(|at| self.names.get(at));
        let evidence = language.map(|language| format!("{language} {:.3}", verdict.score));
        Some((reason, evidence.unwrap_or_default()))
    }

    /// Notes the quality of a row's text, if it is judged; why the document goes, if it does.
    pub(super) fn quality(
        &mut self,
        judge: &Judge,
        text: Option<&str>,
    ) -> Option<(&'static str, String)> {
        let rule = judge.quality.as_ref()?;
        let (score, reason) = match text {
            Some(text) => rule.judge(text, &mut self.classifier),
            None => (f64::NAN, None),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a score has few digits")]
        self.qualities.push(score as f32);
        reason.map(|reason| (reason, format!("score {score:.4}")))
    }

    /// The columns of a block, where its profile asks for any.
    pub(super) fn write(&self, sections: &mut Sections) {
        let bits = |numbers: &[f32]| column_u32(numbers.iter().map(|number| number.to_bits()));
        if !self.languages.is_empty() {
            sections.push("language-names", json(&self.names));
            sections.push("languages", column_u32(self.languages.iter().copied()));
            sections.push("language-scores", bits(&self.scores));
            sections.push(
                "language-others",
                column_u64(self.other_bytes.iter().copied()),
            );
        }
        if !self.qualities.is_empty() {
            sections.push("quality-scores", bits(&self.qualities));
        }
    }
}

/// The columns of a block, read.
#[derive(Debug, Default)]
pub(super) struct Said {
    names: Vec<String>,
    languages: Vec<u32>,
    scores: Vec<u32>,
    other_bytes: Vec<u64>,
    qualities: Vec<u32>,
}

impl Said {
    /// Of a block.
    pub(super) fn read(block: &SectionFile) -> Result<Self, StoreError> {
        let mut said = Self::default();
        if block.has("languages") {
            said.names = block.read_json("language-names")?;
            said.languages = block.read_u32("languages")?;
            said.scores = block.read_u32("language-scores")?;
            said.other_bytes = block.read_u64("language-others")?;
        }
        if block.has("quality-scores") {
            said.qualities = block.read_u32("quality-scores")?;
        }
        Ok(said)
    }

    /// The language of a row.
    pub(super) fn language(&self, row: usize) -> Option<&str> {
        let number = (*self.languages.get(row)? as usize).checked_sub(1)?;
        self.names.get(number).map(String::as_str)
    }

    /// How sure that is.
    pub(super) fn language_score(&self, row: usize) -> Option<f32> {
        number(&self.scores, row)
    }

    /// Bytes of its lines in other languages.
    pub(super) fn other_language_bytes(&self, row: usize) -> Option<u64> {
        self.other_bytes.get(row).copied()
    }

    /// The quality of a row.
    pub(super) fn quality(&self, row: usize) -> Option<f32> {
        number(&self.qualities, row)
    }
}

fn number(bits: &[u32], row: usize) -> Option<f32> {
    bits.get(row)
        .map(|bits| f32::from_bits(*bits))
        .filter(|number| !number.is_nan())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::classify::ModelFile;
    use crate::classify::rule::{LOW, QualityOptions};
    use crate::digest::Digest;
    use crate::execute::store::Store;
    use crate::language::rule::{LANGUAGE, LanguageOptions};
    use crate::progress::Stage;

    const ENGLISH: &str =
        "The river runs past the old mill, under the bridge and out into the open country.";
    const GERMAN: &str =
        "Der Fluss fließt an der alten Mühle vorbei und unter der Brücke hindurch ins Freie.";

    /// What a block says of its rows, written and read again.
    fn written(noted: &Noted) -> Said {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"block");
        let mut attempt = store.attempt().unwrap();
        let mut sections = Sections::default();
        noted.write(&mut sections);
        sections.write(&mut attempt).unwrap();
        store
            .commit(Stage::Extract, key, attempt, &0, BTreeMap::new())
            .unwrap();
        let file = SectionFile::open(&store.data(Stage::Extract, key)).unwrap();
        Said::read(&file).unwrap()
    }

    #[test]
    fn what_is_said_of_rows_is_read_by_row_and_rows_without_a_text_have_nothing() {
        let mut model = ModelFile::new("tests/fasttext/tree.bin");
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        model
            .resolve(&mut |path| Ok(here.join(path)), &mut BTreeMap::new())
            .unwrap();
        let judge = Judge::new(&FilterOptions {
            language: Some(LanguageOptions {
                allowed: vec!["en".to_owned()],
                ..LanguageOptions::default()
            }),
            quality: Some(QualityOptions {
                model,
                label: "en".to_owned(),
                min_score: Some(0.5),
            }),
            ..FilterOptions::default()
        });
        let mut noted = Noted::default();
        let reasons: Vec<_> = [Some(ENGLISH), None, Some(GERMAN), Some("12 34")]
            .into_iter()
            .map(|text| {
                let mut text = text.map(str::to_owned);
                let language = noted.language(&judge, text.as_mut(), true);
                (language, noted.quality(&judge, text.as_deref()))
            })
            .collect();
        assert_eq!(reasons[0], (None, None));
        assert_eq!(reasons[1].1, None);
        let (Some((language, evidence)), Some((low, score))) = &reasons[2] else {
            panic!("{:?}", reasons[2]);
        };
        assert_eq!((*language, *low), (LANGUAGE, LOW));
        assert!(
            evidence.starts_with("de ") && score.starts_with("score 0."),
            "{reasons:?}"
        );
        let said = written(&noted);
        let languages: Vec<_> = (0..5).map(|row| said.language(row)).collect();
        assert_eq!(languages, [Some("en"), None, Some("de"), None, None]);
        assert!(said.language_score(0).unwrap() > 0.9);
        assert!(said.language_score(2).unwrap() > 0.9);
        assert_eq!(
            (said.language_score(1), said.language_score(3)),
            (None, None)
        );
        assert!(said.quality(0).unwrap() >= 0.5);
        assert_eq!(said.quality(1), None);
        assert!(said.quality(2).unwrap() < 0.5);
        assert_eq!(said.other_language_bytes(0), Some(0));
        assert_eq!(said.other_language_bytes(4), None);
    }

    #[test]
    fn a_profile_without_models_says_nothing_and_writes_nothing() {
        let judge = Judge::new(&FilterOptions::default());
        let mut noted = Noted::default();
        let mut text = GERMAN.to_owned();
        assert_eq!(noted.language(&judge, Some(&mut text), true), None);
        assert_eq!(noted.quality(&judge, Some(&text)), None);
        let said = written(&noted);
        assert_eq!((said.language(0), said.quality(0)), (None, None));
        assert!(said.languages.is_empty() && said.qualities.is_empty());
    }
}
