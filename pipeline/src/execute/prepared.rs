//! What judging documents needs beside the recipe's numbers: made once a run, when the first block asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::store::StoreError;
use crate::decontaminate::{Builder, Index};
use crate::filter::FilterOptions;
use crate::filter::beside::BesideFilters;
use crate::filter::lists::Lists;
use crate::plan::{Benchmark, Plan, Unit};
use crate::read::{self, Row};
use crate::redact::Redactor;
use crate::render::{Content, Render};

/// See above.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    index: OnceLock<Result<Index, String>>,
    /// By name of the profile.
    beside: OnceLock<Result<BTreeMap<String, BesideFilters>, String>>,
    /// By name of the profile.
    redactors: OnceLock<BTreeMap<String, Redactor>>,
}

impl Prepared {
    /// The rules of a profile that ask for more than the text, with their lists; `None` where it has none.
    pub(super) fn beside(
        &self,
        plan: &Plan,
        profile: &str,
    ) -> Result<Option<&BesideFilters>, StoreError> {
        let made = self.beside.get_or_init(|| {
            let lists = plan.lists.iter();
            let lists = Lists::new(lists.map(|list| (list.name.clone(), list.path.clone())));
            let profiles: BTreeMap<&str, &FilterOptions> = plan
                .datasets
                .iter()
                .map(|dataset| (dataset.profile.as_str(), &dataset.filter))
                .collect();
            let mut made = BTreeMap::new();
            for (name, filter) in profiles {
                if let Some(filters) = BesideFilters::new(filter, &lists)? {
                    made.insert(name.to_owned(), filters);
                }
            }
            Ok(made)
        });
        match made {
            Ok(made) => Ok(made.get(profile)),
            Err(error) => Err(StoreError::Io(std::io::Error::other(error.clone()))),
        }
    }

    /// What replaces personal data in documents of a profile; `None` where the profile does not say so.
    pub(super) fn redactor(&self, plan: &Plan, profile: &str) -> Option<&Redactor> {
        let redactors = self.redactors.get_or_init(|| {
            let profiles = plan.recipe.profile.iter();
            profiles
                .filter_map(|(name, profile)| {
                    Some((name.clone(), Redactor::new(profile.pii.as_ref()?)))
                })
                .collect()
        });
        redactors.get(profile)
    }

    /// The items that documents are held against; `None` where the recipe names none. `places` are where the files of the
    /// plan are, those of the evaluation sets after the others.
    pub(super) fn index(
        &self,
        plan: &Plan,
        places: &[Vec<Vec<PathBuf>>],
    ) -> Result<Option<&Index>, StoreError> {
        let Some(options) = &plan.recipe.decontaminate else {
            return Ok(None);
        };
        let made = self.index.get_or_init(|| {
            let mut builder = Builder::new(options);
            let places = places.get(plan.datasets.len()..).unwrap_or_default();
            for (benchmark, places) in plan.benchmarks.iter().zip(places) {
                add(self, plan, benchmark, places, &mut builder).map_err(|error| {
                    format!("evaluation set {}: {error}", benchmark.dataset.name)
                })?;
            }
            builder.build().map_err(|error| error.to_string())
        });
        match made {
            Ok(index) => Ok(Some(index)),
            Err(error) => Err(StoreError::Io(std::io::Error::other(error.clone()))),
        }
    }
}

/// Adds the rows of an evaluation set, each with an id such as a document would have.
fn add(
    prepared: &Prepared,
    plan: &Plan,
    benchmark: &Benchmark,
    places: &[Vec<PathBuf>],
    builder: &mut Builder,
) -> Result<(), String> {
    let of = &benchmark.dataset;
    let render = match benchmark.rendered {
        true => Some(Render::new(&of.render).map_err(|error| error.to_string())?),
        false => None,
    };
    let profiles: BTreeSet<&str> = plan.datasets.iter().map(|d| d.profile.as_str()).collect();
    let redactors: Vec<&Redactor> = profiles
        .into_iter()
        .filter_map(|profile| prepared.redactor(plan, profile))
        .collect();
    builder.set(&of.name);
    for (unit, places) in of.units.iter().zip(places) {
        for (file, place) in unit.files.iter().zip(places) {
            each_row(unit, place, of, render.as_ref(), &mut |row, fields| {
                let normalize = |text: &str| plan.recipe.normalize.normalize(text).into_owned();
                let mut texts = Vec::new();
                fields.values().for_each(|value| strings(value, &mut texts));
                let texts: Vec<String> = texts.into_iter().map(normalize).collect();
                let whole = render
                    .as_ref()
                    .and_then(|render| whole(render, fields.clone()));
                let whole: Option<String> = whole.as_deref().map(normalize);
                // Documents whose personal data is replaced have it replaced in the items too.
                let redacted: Vec<String> = texts
                    .iter()
                    .chain(&whole)
                    .flat_map(|text| redactors.iter().filter_map(|r| r.redact(text)))
                    .map(|(text, _)| text)
                    .collect();
                let fields: Vec<&str> = texts.iter().chain(&redacted).map(String::as_str).collect();
                let id = format!("{}/{}#{row}", of.name, file.path);
                let added = builder.item(id, &fields, whole.as_deref());
                added.map_err(|error| error.to_string())
            })?;
        }
    }
    Ok(())
}

/// Reads a file from end to end. A row that cannot be read is no item; a file that cannot be is an error, since what it
/// holds would be looked for in vain.
fn each_row(
    unit: &Unit,
    place: &std::path::Path,
    of: &crate::plan::PlannedDataset,
    render: Option<&Render>,
    each: &mut dyn FnMut(u64, Row) -> Result<(), String>,
) -> Result<(), String> {
    let mut options = of.read.clone();
    options.format = Some(unit.format);
    options.compression = Some(unit.compression);
    options.fields = render.map(Render::fields);
    let mut source = read::open(place, &options).map_err(|error| error.to_string())?;
    while let Some(block) = source.next_block().map_err(|error| error.to_string())? {
        let mut result = Ok(());
        let decoded = block.decode(&mut |row, fields| {
            if let (Ok(()), Ok(fields)) = (&result, fields) {
                result = each(row, fields);
            }
        });
        decoded.map_err(|error| error.to_string())?;
        result?;
    }
    Ok(())
}

/// All strings of a value, however deep, in order.
fn strings<'a>(value: &'a serde_json::Value, into: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::String(text) => into.push(text),
        serde_json::Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}

/// The document that a row makes, if it makes one: test rows without their answers make none.
fn whole(render: &Render, row: Row) -> Option<String> {
    match render.render(row).ok()?.content {
        Content::Text(text) => Some(text),
        other => Some(other.segments().into_iter().map(|s| s.text).collect()),
    }
}
