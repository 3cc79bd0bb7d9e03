//! `andromeda status`.

use serde_json::json;

use super::{builds, grouped, megabytes, print, print_json, table};
use crate::cli::Place;
use crate::execute::store::{self, Usage as StoreUsage};

pub(super) fn run(place: &Place, as_json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for folder in builds(&place.shards) {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match andromeda_format::Build::open(&folder) {
            Ok(build) => {
                let manifest = build.manifest();
                let tokens: u64 = manifest.splits.values().map(|s| s.tokens).sum();
                let documents = manifest.funnel.kept.documents;
                rows.push(vec![
                    name.clone(),
                    "complete".to_owned(),
                    grouped(documents),
                    grouped(tokens),
                    manifest.root[..12].to_owned(),
                ]);
                values.push(json!({"name": name, "state": "complete", "documents": documents, "tokens": tokens, "root": manifest.root}));
            }
            Err(_) if !folder.join("manifest.json").exists() => {
                rows.push(vec![name.clone(), "unfinished".to_owned()]);
                values.push(json!({"name": name, "state": "unfinished"}));
            }
            Err(error) => {
                rows.push(vec![name.clone(), "damaged".to_owned()]);
                values.push(json!({"name": name, "state": "damaged", "fault": error.to_string()}));
            }
        }
    }
    let owner = store::owner(&place.work);
    let usage: Vec<StoreUsage> = store::usage(&place.work)?;
    if as_json {
        return print_json(&json!({"builds": values, "running": owner, "intermediates": usage}));
    }
    if rows.is_empty() {
        print(format!(
            "{} holds no builds; `make shards` makes one",
            place.shards.display()
        ))?;
    } else {
        print(table(
            &["build", "state", "documents", "tokens", "root"],
            &rows,
        ))?;
    }
    match owner {
        Some(process) => print(format!(
            "\nprocess {process} is building in {}",
            place.work.display()
        ))?,
        None => print(format!("\nnobody is building in {}", place.work.display()))?,
    }
    let rows: Vec<Vec<String>> = usage
        .iter()
        .map(|u| vec![u.stage.clone(), grouped(u.tasks), megabytes(u.bytes)])
        .collect();
    if !rows.is_empty() {
        print(format!(
            "\n{}",
            table(&["intermediates", "tasks", "bytes"], &rows)
        ))?;
    }
    Ok(())
}
