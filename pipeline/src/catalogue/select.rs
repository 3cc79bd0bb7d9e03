//! What a build is made of: datasets by tier, by name, or one manifest outside the catalogue.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Catalogue, Dataset, Part, Tier};
use crate::written::{self, Problem, Problems};

/// What a build is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The datasets of these tiers.
    Tiers(Vec<Tier>),
    /// These datasets, or single configs of them: `glue`, `glue/cola`.
    Datasets(Vec<String>),
    /// One dataset manifest that need not be in the catalogue.
    File(PathBuf),
}

/// A dataset of a selection.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The dataset.
    pub dataset: Dataset,
    /// The tiers it is taken in, most important first; never empty.
    pub tiers: Vec<Tier>,
    /// The parts of it that were asked for; never empty.
    pub parts: Vec<Part>,
}

/// What a selection comes to.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    /// Most important tier first, then by name.
    pub chosen: Vec<Chosen>,
    /// Benchmarks that were asked for and left out.
    pub benchmarks: Vec<String>,
}

impl Catalogue {
    /// The datasets of a selection. Benchmarks are among them only where `with_benchmarks` says so.
    pub fn select(
        &self,
        selection: &Selection,
        with_benchmarks: bool,
    ) -> Result<Selected, Problems> {
        let mut selected = Selected {
            chosen: match selection {
                Selection::Tiers(tiers) => self.of_tiers(tiers)?,
                Selection::Datasets(names) => self.named(names)?,
                Selection::File(file) => vec![Dataset::load(file)?.whole()],
            },
            benchmarks: Vec::new(),
        };
        if !with_benchmarks {
            let (benchmarks, chosen) = selected
                .chosen
                .into_iter()
                .partition(|chosen| chosen.dataset.manifest.evaluation);
            let benchmarks: Vec<Chosen> = benchmarks;
            selected.chosen = chosen;
            selected.benchmarks = benchmarks
                .into_iter()
                .map(|chosen| chosen.dataset.manifest.name)
                .collect();
            if selected.chosen.is_empty() {
                return Err(self.problem(
                    format!(
                        "nothing is left to build: {} is for evaluation, and its rows are not training data",
                        selected.benchmarks.join(", ")
                    ),
                    Some(
                        "--with-benchmarks builds it all the same, and marks the build with what it contaminates"
                            .to_owned(),
                    ),
                ));
            }
        }
        selected
            .chosen
            .sort_by(|a, b| (a.tiers[0], a.name()).cmp(&(b.tiers[0], b.name())));
        Ok(selected)
    }

    fn problem(&self, message: String, hint: Option<String>) -> Problems {
        Problems(vec![Problem::of_file(&self.folder, message, hint)])
    }

    fn of_tiers(&self, tiers: &[Tier]) -> Result<Vec<Chosen>, Problems> {
        let tiers: BTreeSet<Tier> = tiers.iter().copied().collect();
        let chosen: Vec<Chosen> = self
            .datasets
            .iter()
            .filter_map(|dataset| {
                let of_dataset: BTreeSet<Tier> = dataset.manifest.tiers.iter().copied().collect();
                let tiers: Vec<Tier> = tiers.intersection(&of_dataset).copied().collect();
                (!tiers.is_empty()).then(|| Chosen {
                    tiers,
                    ..dataset.clone().whole()
                })
            })
            .collect();
        if chosen.is_empty() {
            let names: Vec<_> = tiers.iter().map(|t| t.name()).collect();
            let message = format!("no dataset serves the tier {}", names.join(", "));
            return Err(self.problem(message, None));
        }
        Ok(chosen)
    }

    fn named(&self, names: &[String]) -> Result<Vec<Chosen>, Problems> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for name in names {
            let (of_dataset, config) = match name.split_once('/') {
                Some((dataset, config)) => (dataset, Some(config)),
                None => (name.as_str(), None),
            };
            let Some(dataset) = self.datasets.iter().find(|d| d.manifest.name == of_dataset) else {
                return Err(self.problem(
                    format!("no dataset is called `{name}`"),
                    Some(self.nearest(name, of_dataset)),
                ));
            };
            let whole = dataset.clone().whole();
            let parts: Vec<Part> = match config {
                None => whole.parts.clone(),
                Some(_) => {
                    let of_name = |part: &&Part| part.dataset.manifest.name == *name;
                    whole
                        .parts
                        .iter()
                        .find(of_name)
                        .cloned()
                        .into_iter()
                        .collect()
                }
            };
            if parts.is_empty() {
                let configs = &dataset.manifest.configs;
                let names = configs.iter().map(|config| config.name.as_str());
                let hint = match written::nearest(config.unwrap_or_default(), names.clone()) {
                    Some(near) => format!("did you mean `{of_dataset}/{near}`?"),
                    None if configs.is_empty() => {
                        format!("`{of_dataset}` is not divided: name it as it is")
                    }
                    None => format!("it has {}", names.collect::<Vec<_>>().join(", ")),
                };
                return Err(Problems(vec![
                    Problem::of_file(
                        &dataset.file,
                        format!(
                            "dataset `{of_dataset}` has no config `{}`",
                            config.unwrap_or_default()
                        ),
                        None,
                    )
                    .hint(hint),
                ]));
            }
            match chosen.iter_mut().find(|c| c.name() == of_dataset) {
                Some(already) => already.parts.extend(parts),
                None => chosen.push(Chosen { parts, ..whole }),
            }
        }
        for dataset in &mut chosen {
            dataset.parts.sort_by_key(|part| part.config);
            dataset.parts.dedup_by_key(|part| part.config);
        }
        Ok(chosen)
    }

    /// What a person who wrote `name` most likely meant.
    fn nearest(&self, name: &str, of_dataset: &str) -> String {
        let of_repository = self.datasets.iter().find(|dataset| {
            let hub = dataset.manifest.source.hub.as_ref();
            hub.is_some_and(|hub| hub.repository.as_str().eq_ignore_ascii_case(name))
        });
        if let Some(dataset) = of_repository {
            return format!(
                "the repository {name} is called `{}` here",
                dataset.manifest.name
            );
        }
        let all = self.datasets.iter().map(|d| d.manifest.name.as_str());
        match written::nearest(of_dataset, all.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", all.collect::<Vec<_>>().join(", ")),
        }
    }
}

impl Chosen {
    /// The dataset's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.dataset.manifest.name
    }
}

impl Dataset {
    /// All of it, in the most important of its tiers.
    fn whole(self) -> Chosen {
        let tier = self.manifest.tiers.iter().min().copied();
        Chosen {
            parts: self.parts(),
            tiers: vec![tier.unwrap_or(Tier::Own)],
            dataset: self,
        }
    }
}
