//! The models that profiles name: checked when a recipe is read, and read when a build is planned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Recipe;
use crate::filter::FilterOptions;
use crate::language::Identifier;
use crate::written::{Problem, Problems};

/// What cannot be meant in the tables of a profile that name models: table, key and message.
pub(super) fn faults(filter: &FilterOptions) -> Vec<(&'static str, &'static str, String)> {
    let language = filter.language.iter().flat_map(|options| options.faults());
    let language = language.map(|(key, message)| ("language", key, message));
    let quality = filter.quality.iter().flat_map(|options| options.faults());
    let quality = quality.map(|(key, message)| ("quality", key, message));
    language.chain(quality).collect()
}

/// What the language model in the program is, where a profile asks it: another one judges otherwise.
pub(super) fn embedded(filter: &FilterOptions) -> Option<String> {
    let language = filter.language.as_ref()?;
    language.model.is_none().then(Identifier::embedded_version)
}

impl Recipe {
    /// Reads the models of all profiles, so that a run that lacks one stops before it begins; `find` has the place on this
    /// machine of what the recipe names.
    ///
    /// # Errors
    /// Models that cannot be found or read or that lack a label, all of them, where the recipe names them.
    pub fn read_models(
        &mut self,
        find: &mut dyn FnMut(&str) -> Result<PathBuf, String>,
        file: &Path,
    ) -> Result<(), Problems> {
        let mut known = BTreeMap::new();
        let mut problems = Vec::new();
        let mut wrong = |profile: &str, table: &str, key: &str, message: String| {
            problems.push(match fs_err::read_to_string(file) {
                Ok(source) => {
                    Problem::at(file, &source, &["profile", profile, table, key], message)
                }
                Err(_) => Problem::of_file(file, message, None),
            });
        };
        for (name, filter) in &mut self.profile {
            if let Some(options) = &mut filter.language
                && let Some(file) = &mut options.model
            {
                match file.resolve(find, &mut known) {
                    Err(error) => wrong(name, "language", "model", error),
                    Ok(model) => {
                        for language in &options.allowed {
                            if let Err(error) = model.label(language) {
                                wrong(name, "language", "allowed", error.to_string());
                            }
                        }
                    }
                }
            }
            if let Some(options) = &mut filter.quality {
                match options.model.resolve(find, &mut known) {
                    Err(error) => wrong(name, "quality", "model", error),
                    Ok(model) => {
                        if let Err(error) = model.label(&options.label) {
                            wrong(name, "quality", "label", error.to_string());
                        }
                    }
                }
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
        }
    }
}
