//! Profiles by the names that people give them: those of a recipe, and single rules and compositions with their published
//! values.

use std::collections::BTreeMap;

use super::{FilterOptions, rules};
use crate::written::nearest;

/// A profile and what it was called.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedProfile {
    /// The name that was written.
    pub name: String,
    /// Its rules.
    pub options: FilterOptions,
}

/// A name that stands for no profile, or cannot stand where it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is called so.
    #[error("no profile is called `{name}`: {}", hint(.nearest.as_deref()))]
    Unknown {
        /// The name.
        name: String,
        /// The one most like it.
        nearest: Option<String>,
    },
    /// It was written before.
    #[error("the profile `{0}` is named twice: write it once")]
    Twice(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || {
            "`andromeda profiles` lists those that there are; --recipe brings those of a recipe"
                .to_owned()
        },
        |name| format!("did you mean `{name}`?"),
    )
}

/// The profiles of these names, in their order: `recipe` has those that come before the rules and compositions that the
/// program knows. A rule without its publisher is DCLM's, as in a recipe.
///
/// # Errors
/// All names that stand for nothing or stand twice, not only the first.
pub fn named(
    names: &[String],
    recipe: &BTreeMap<String, FilterOptions>,
) -> Result<Vec<NamedProfile>, Vec<NameError>> {
    let mut found: Vec<NamedProfile> = Vec::new();
    let mut errors = Vec::new();
    for name in names {
        if found.iter().any(|profile| profile.name == *name) {
            errors.push(NameError::Twice(name.clone()));
            continue;
        }
        let rule = || {
            let is_known = rules::rule(name).is_some() || rules::names().any(|known| known == name);
            is_known.then(|| FilterOptions {
                rules: vec![name.clone()],
                ..FilterOptions::default()
            })
        };
        match recipe.get(name).cloned().or_else(rule) {
            Some(options) => found.push(NamedProfile {
                name: name.clone(),
                options,
            }),
            None => {
                let mut known: Vec<&str> = recipe.keys().map(String::as_str).collect();
                for rule in rules::names() {
                    known.push(rule);
                }
                errors.push(NameError::Unknown {
                    name: name.clone(),
                    nearest: nearest(name, known).map(str::to_owned),
                });
            }
        }
    }
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filters;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_rule_and_composition_is_a_profile_and_a_recipe_comes_first() {
        let all: Vec<String> = rules::names().map(str::to_owned).collect();
        for profile in named(&all, &BTreeMap::new()).unwrap() {
            assert!(
                !Filters::new(&profile.options).unwrap().is_empty(),
                "{}",
                profile.name
            );
        }
        let own: FilterOptions = toml::from_str("[length]\nmin-characters = 7").unwrap();
        let recipe = BTreeMap::from([("code".to_owned(), own.clone())]);
        let found = named(&names(&["code", "gopher-quality"]), &recipe).unwrap();
        assert_eq!(found[0].options, own);
        let dclm = Filters::new(&found[1].options).unwrap();
        let reason = dclm.judge("few words", &mut crate::analysis::Scratch::default());
        assert!(reason.reason().is_some());
    }

    #[test]
    fn all_wrong_names_are_told() {
        let recipe = BTreeMap::from([("prose".to_owned(), FilterOptions::default())]);
        let errors = named(
            &names(&["c4", "c5@datatrove", "prosa", "c4", "nothing like it"]),
            &recipe,
        );
        let said: Vec<String> = errors
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(said.len(), 4);
        assert!(said[0].contains("did you mean `c4@datatrove`?"), "{said:?}");
        assert!(said[1].contains("did you mean `prose`?"), "{said:?}");
        assert!(said[2].contains("`c4` is named twice"), "{said:?}");
        assert!(said[3].contains("`andromeda profiles` lists"), "{said:?}");
    }
}
