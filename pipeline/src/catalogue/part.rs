//! What a manifest means: one part for the whole dataset, or one a config with all that the config does not say inherited.

use super::{BudgetBytes, Config, Dataset};

/// A dataset, or one config of it, with nothing left to inherit: what a plan pins, reads and counts.
#[derive(Debug, Clone)]
pub struct Part {
    /// The part as a dataset of its own, named `dataset` or `dataset/config`, without configs.
    pub dataset: Dataset,
    /// Its place among the dataset's configs, if it is one.
    pub config: Option<usize>,
    /// Glob patterns that choose among the files of the source; all of them where there is none.
    pub only: Vec<String>,
    /// Glob patterns of files that the config leaves out.
    pub exclude: Vec<String>,
    /// Glob patterns of held-out files, which are never training data.
    pub held_out: Vec<String>,
}

impl Dataset {
    /// The parts that a build plans, in the order in which they are written.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        if self.manifest.configs.is_empty() {
            return vec![Part {
                dataset: self.clone(),
                config: None,
                only: Vec::new(),
                exclude: Vec::new(),
                held_out: self.held_out(),
            }];
        }
        let configs = self.manifest.configs.iter().enumerate();
        configs
            .map(|(number, config)| self.part(number, config))
            .collect()
    }

    fn held_out(&self) -> Vec<String> {
        let source = &self.manifest.source;
        let held_out = [
            source.hub.as_ref().map(|source| &source.evaluation_files),
            source.web.as_ref().map(|source| &source.evaluation_files),
            source
                .url_list
                .as_ref()
                .map(|source| &source.evaluation_files),
        ];
        held_out.into_iter().flatten().flatten().cloned().collect()
    }

    fn part(&self, number: usize, config: &Config) -> Part {
        let mut held_out = self.held_out();
        held_out.extend(config.evaluation_files.iter().cloned());
        let mut dataset = self.clone();
        let manifest = &mut dataset.manifest;
        manifest.name = format!("{}/{}", manifest.name, config.name);
        manifest.configs.clear();
        // Sources that list by pattern are asked for the config's files alone.
        if !config.files.is_empty() {
            let source = &mut manifest.source;
            let files = [
                source.hub.as_mut().map(|source| &mut source.files),
                source.folder.as_mut().map(|source| &mut source.files),
                source.cargo.as_mut().map(|source| &mut source.files),
                source.url_list.as_mut().map(|source| &mut source.files),
                source.store.as_mut().map(|source| &mut source.files),
            ];
            for files in files.into_iter().flatten() {
                files.clone_from(&config.files);
            }
        }
        if let Some(kind) = config.kind {
            manifest.kind = kind;
        }
        if let Some(profile) = &config.profile {
            manifest.profile.clone_from(profile);
        }
        if let Some(licence) = &config.licence {
            manifest.licence.clone_from(licence);
            // A note is on its licence.
            manifest.licence_note.clone_from(&config.licence_note);
        } else if config.licence_note.is_some() {
            manifest.licence_note.clone_from(&config.licence_note);
        }
        if let Some(near_duplicates) = config.near_duplicates {
            manifest.near_duplicates = near_duplicates;
        }
        if let Some(read) = &config.read {
            manifest.read.clone_from(read);
        }
        if let Some(render) = &config.render {
            manifest.render.clone_from(render);
        }
        manifest.size_bytes = config.size_bytes;
        manifest.rows = config.rows;
        manifest.budget_bytes = config.budget_bytes.map(BudgetBytes::Whole);
        manifest.examples.clone_from(&config.examples);
        Part {
            dataset,
            config: Some(number),
            only: config.files.clone(),
            exclude: config.exclude.clone(),
            held_out,
        }
    }
}
