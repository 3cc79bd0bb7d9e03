//! What is wrong with a manifest: everything at once, each with its place and the way out.

use std::collections::BTreeSet;
use std::path::Path;

use super::{BudgetBytes, Config, Dataset, DatasetManifest, Source, example};
use crate::render::Render;
use crate::source::{StoreSource, UrlListSource, WebSource};
use crate::written::Problem;

/// Everything that is wrong with a manifest by itself, without looking at its source.
pub(super) fn check(file: &Path, source: &str, manifest: &DatasetManifest) -> Vec<Problem> {
    let mut checks = Checks {
        file,
        source,
        problems: Vec::new(),
    };
    checks.names(manifest);
    checks.words(manifest);
    checks.licence(manifest);
    checks.tiers(manifest);
    checks.source(manifest);
    checks.parts(manifest);
    checks.problems
}

struct Checks<'a> {
    file: &'a Path,
    source: &'a str,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn wrong(&mut self, keys: &[&str], message: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem::at(self.file, self.source, keys, message);
        self.problems.push(problem.hint(hint));
    }

    fn names(&mut self, manifest: &DatasetManifest) {
        let stem = self.file.file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy();
        if manifest.name != stem {
            self.wrong(
                &["name"],
                format!("the name `{}` is not the file's", manifest.name),
                format!(
                    "write name = \"{stem}\", or rename the file to {}.toml",
                    manifest.name
                ),
            );
        } else if !is_name(&manifest.name) {
            self.wrong(&["name"], "the name is no plain word", PLAIN_WORD);
        }
        let mut seen = BTreeSet::new();
        for (number, config) in manifest.configs.iter().enumerate() {
            let keys = ["config", &number.to_string(), "name"];
            if !is_name(&config.name) {
                let message = format!("the config's name `{}` is no plain word", config.name);
                self.wrong(&keys, message, PLAIN_WORD);
            }
            if !seen.insert(&config.name) {
                self.wrong(
                    &keys,
                    format!("the config `{}` is there twice", config.name),
                    "give each its own name, or put their files into one",
                );
            }
        }
    }

    fn words(&mut self, manifest: &DatasetManifest) {
        if manifest.description.trim().is_empty() {
            self.wrong(
                &["description"],
                "the dataset says not what it is",
                "write description = \"...\", one sentence",
            );
        }
        let all = |configs: &[Config]| configs.iter().all(|config| config.profile.is_some());
        let of_configs = !manifest.configs.is_empty() && all(&manifest.configs);
        if manifest.profile.trim().is_empty() && !of_configs {
            self.wrong(
                &["profile"],
                "the dataset names no profile",
                "write profile = \"web\" for running text, \"prose\" for documentation, \"code\", or \"task\" for rows of tasks and conversations",
            );
        }
    }

    fn licence(&mut self, manifest: &DatasetManifest) {
        let hint = "write licence = \"CC-BY-4.0\" (its SPDX identifier), or what is known of it in words, such as \
                    licence = \"none stated by the publisher\"";
        if manifest.licence.trim().is_empty() {
            self.wrong(&["licence"], "the dataset says no licence", hint);
        }
        for (number, config) in manifest.configs.iter().enumerate() {
            if config
                .licence
                .as_ref()
                .is_some_and(|licence| licence.trim().is_empty())
            {
                let keys = ["config", &number.to_string(), "licence"];
                self.wrong(&keys, "the config's licence is empty", hint);
            }
        }
    }

    fn tiers(&mut self, manifest: &DatasetManifest) {
        let tiers: BTreeSet<_> = manifest.tiers.iter().collect();
        if tiers.len() < manifest.tiers.len() {
            self.wrong(
                &["tiers"],
                "a tier is there twice",
                "name each tier once; a dataset of several tiers is read once",
            );
        }
        if let Some(BudgetBytes::PerTier(budgets)) = &manifest.budget_bytes
            && tiers != budgets.keys().collect()
        {
            let names: Vec<String> = tiers
                .iter()
                .map(|tier| format!("{} = 20000000000", tier.name()))
                .collect();
            self.wrong(
                &["budget-bytes"],
                "the budgets are not those of the dataset's tiers",
                format!(
                    "write one a tier, budget-bytes = {{ {} }}, or a single number for all",
                    names.join(", ")
                ),
            );
        }
    }

    fn source(&mut self, manifest: &DatasetManifest) {
        if manifest.source.tables().len() != 1 {
            self.wrong(
                &["source"],
                "a dataset has exactly one source",
                format!("write one of {}", SOURCES.join(", ")),
            );
        }
        if let Some(hub) = &manifest.source.hub {
            let access = hub.access.as_ref().is_some_and(|a| !a.trim().is_empty());
            if hub.gated && !access {
                self.wrong(
                    &["source", "hub", "gated"],
                    "the dataset is gated and does not say how to get access",
                    format!(
                        "write access = \"Accept the terms at https://huggingface.co/datasets/{}, then set HF_TOKEN.\"",
                        hub.repository
                    ),
                );
            }
            if !hub.gated && hub.access.is_some() {
                self.wrong(
                    &["source", "hub", "access"],
                    "access only goes with gated = true",
                    "write gated = true, or remove it",
                );
            }
            let configs = &manifest.configs;
            let each = |has: fn(&Config) -> bool| !configs.is_empty() && configs.iter().all(has);
            let trains = !hub.files.is_empty() || each(|config| !config.files.is_empty());
            let tests = !hub.evaluation_files.is_empty()
                || each(|config| !config.evaluation_files.is_empty());
            if !(trains || manifest.evaluation && tests) {
                self.wrong(
                    &["source", "hub"],
                    "the source names no files",
                    "write files = [\"data/train-*.parquet\"] here, or in every [[config]]",
                );
            }
            self.patterns(
                &["source", "hub", "evaluation-files"],
                &hub.evaluation_files,
            );
            self.patterns(&["source", "hub", "shot-files"], &hub.shot_files);
        }
        let web = manifest.source.web.as_ref();
        let url_list = manifest.source.url_list.as_ref();
        let store = manifest.source.store.as_ref();
        let mistakes = [
            ("web", web.map(WebSource::mistakes)),
            ("url-list", url_list.map(UrlListSource::mistakes)),
            ("store", store.map(StoreSource::mistakes)),
        ];
        for (table, mistakes) in mistakes {
            for (key, message, hint) in mistakes.into_iter().flatten() {
                self.wrong(&["source", table, key], message, hint);
            }
        }
        for (table, files, exclude) in patterns(&manifest.source) {
            self.patterns(&["source", table, "files"], files);
            self.patterns(&["source", table, "exclude"], exclude);
        }
        for (number, config) in manifest.configs.iter().enumerate() {
            let number = number.to_string();
            self.patterns(&["config", &number, "files"], &config.files);
            self.patterns(&["config", &number, "exclude"], &config.exclude);
            let keys = ["config", &number, "evaluation-files"];
            self.patterns(&keys, &config.evaluation_files);
        }
    }

    fn patterns(&mut self, keys: &[&str], patterns: &[String]) {
        for pattern in patterns {
            if let Err(error) = globset::Glob::new(pattern) {
                self.wrong(
                    keys,
                    format!("`{pattern}` is not a glob pattern: {}", error.kind()),
                    "`*` stands for a part of a name, `**` for folders, {a,b} for either, [0-9] for a character",
                );
            }
        }
    }

    fn parts(&mut self, manifest: &DatasetManifest) {
        let dataset = Dataset {
            manifest: manifest.clone(),
            file: self.file.to_path_buf(),
        };
        if !manifest.configs.is_empty() && !manifest.examples.is_empty() {
            self.wrong(
                &["example"],
                "a dataset with configs has its examples in them",
                "write [[config.example]] under the config that it is of",
            );
        }
        for part in dataset.parts() {
            let number = part.config.map(|number| number.to_string());
            let keys = |rest: &[&str]| -> Vec<String> {
                let config = number.iter().flat_map(|n| ["config".to_owned(), n.clone()]);
                config
                    .chain(rest.iter().map(|key| (*key).to_owned()))
                    .collect()
            };
            let written = part.config.and_then(|number| manifest.configs.get(number));
            let own = written.is_some_and(|config| config.render.is_some());
            let part = part.dataset.manifest;
            let render = match Render::new(&part.render) {
                Ok(render) => render,
                Err(error) => {
                    let at = if own {
                        keys(&["render"])
                    } else {
                        vec!["render".to_owned()]
                    };
                    let message = match &number {
                        Some(_) => format!("config `{}`: {error}", part.name),
                        None => error.to_string(),
                    };
                    let at: Vec<&str> = at.iter().map(String::as_str).collect();
                    self.wrong(
                        &at,
                        message,
                        "write [render] text = \"the field\", or another form: template, turns, instruction, preference",
                    );
                    continue;
                }
            };
            for (place, example) in part.examples.iter().enumerate() {
                if let Some(mismatch) = example::check(example, part.kind, &render) {
                    let at = keys(&["example", &place.to_string(), mismatch.key]);
                    let at: Vec<&str> = at.iter().map(String::as_str).collect();
                    self.wrong(&at, mismatch.message, mismatch.hint);
                }
            }
        }
    }
}

const PLAIN_WORD: &str = "use letters, digits, `.`, `-`, `_` and `+`: names stand in document ids and on the command line";

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
}

/// Every kind of source, as a manifest names it.
const SOURCES: [&str; 6] = [
    "[source.hub]",
    "[source.folder]",
    "[source.cargo]",
    "[source.web]",
    "[source.url-list]",
    "[source.store]",
];

impl Source {
    /// The tables that are there.
    pub(super) fn tables(&self) -> Vec<&'static str> {
        let there = [
            self.hub.is_some(),
            self.folder.is_some(),
            self.cargo.is_some(),
            self.web.is_some(),
            self.url_list.is_some(),
            self.store.is_some(),
        ];
        SOURCES
            .into_iter()
            .zip(there)
            .filter(|(_, there)| *there)
            .map(|(table, _)| table)
            .collect()
    }
}

/// The sources that list by pattern: table, files, exclude.
fn patterns(source: &Source) -> Vec<(&'static str, &Vec<String>, &Vec<String>)> {
    let hub = source.hub.as_ref().map(|s| ("hub", &s.files, &s.exclude));
    let folder = source.folder.as_ref();
    let cargo = source.cargo.as_ref();
    let url_list = source.url_list.as_ref();
    let store = source.store.as_ref();
    [
        hub,
        folder.map(|s| ("folder", &s.files, &s.exclude)),
        cargo.map(|s| ("cargo", &s.files, &s.exclude)),
        url_list.map(|s| ("url-list", &s.files, &s.exclude)),
        store.map(|s| ("store", &s.files, &s.exclude)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
