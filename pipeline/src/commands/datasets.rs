//! `andromeda datasets`, `datasets show`, `datasets add`.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{grouped, megabytes, print, print_json, say, table};
use crate::catalogue::{
    About, BudgetBytes, Catalogue, Dataset, DatasetManifest, Example, Layout, Part, Selection,
    Tier, draft,
};
use crate::cli::Place;
use crate::exit::Usage;
use crate::fetch::{FetchError, Hub, RemoteFile, RepoId};
use crate::lock::Lock;
use crate::plan::{PlanError, first_rows};
use crate::read::{ReadOptions, Row};
use crate::render::Render;
use crate::source::SourceError;

/// Bytes of files that `add` fetches to look at their rows; beyond, one config is taken to be like the first.
const LOOK_BYTES: u64 = 512 << 20;
/// Rows looked at.
const LOOK_ROWS: usize = 200;

pub(super) fn list(place: &Place, as_json: bool) -> anyhow::Result<()> {
    let catalogue = Catalogue::load(&place.manifests.join("datasets"))?;
    if as_json {
        let datasets: Vec<Value> = catalogue.datasets.iter().map(summary).collect();
        return print_json(&json!({ "datasets": datasets }));
    }
    let mut datasets: Vec<&Dataset> = catalogue.datasets.iter().collect();
    // By tier; those that are only asked for by name come last.
    let tier = |dataset: &Dataset| dataset.manifest.tiers.iter().min().copied();
    datasets.sort_by_key(|dataset| (tier(dataset).unwrap_or(Tier::Own), &dataset.manifest.name));
    let rows: Vec<Vec<String>> = datasets.iter().map(|dataset| cells(dataset)).collect();
    print(table(
        &[
            "dataset", "tiers", "kind", "licence", "size", "budget", "gated", "source",
        ],
        &rows,
    ))
}

fn cells(dataset: &Dataset) -> Vec<String> {
    let manifest = &dataset.manifest;
    let name = match manifest.configs.len() {
        0 => manifest.name.clone(),
        configs => format!("{} ({configs} configs)", manifest.name),
    };
    let size = size_bytes(dataset);
    vec![
        name,
        tiers(manifest),
        kinds(dataset).join("+"),
        shortened(&manifest.licence, 36),
        size.map_or_else(|| "-".to_owned(), megabytes),
        budget(manifest.budget_bytes.as_ref()),
        if gated(manifest) { "yes" } else { "-" }.to_owned(),
        manifest.source.place(),
    ]
}

fn tiers(manifest: &DatasetManifest) -> String {
    let mut tiers: Vec<&str> = manifest.tiers.iter().map(|tier| tier.name()).collect();
    if manifest.evaluation {
        tiers.push("evaluation");
    }
    if tiers.is_empty() {
        "-".to_owned()
    } else {
        tiers.join(",")
    }
}

fn kinds(dataset: &Dataset) -> Vec<&'static str> {
    let parts = dataset.parts();
    let kinds: BTreeSet<&str> = parts
        .iter()
        .map(|part| part.dataset.manifest.kind.name())
        .collect();
    kinds.into_iter().collect()
}

/// The dataset's published size, or that of its configs where all of them say it.
fn size_bytes(dataset: &Dataset) -> Option<u64> {
    let manifest = &dataset.manifest;
    let of_configs = || -> Option<u64> {
        let sizes = manifest.configs.iter().map(|config| config.size_bytes);
        (!manifest.configs.is_empty()).then(|| sizes.sum())?
    };
    manifest.size_bytes.or_else(of_configs)
}

fn rows(dataset: &Dataset) -> Option<u64> {
    let manifest = &dataset.manifest;
    let of_configs = || -> Option<u64> {
        let rows = manifest.configs.iter().map(|config| config.rows);
        (!manifest.configs.is_empty()).then(|| rows.sum())?
    };
    manifest.rows.or_else(of_configs)
}

fn budget(budget: Option<&BudgetBytes>) -> String {
    match budget {
        None => "all".to_owned(),
        Some(BudgetBytes::Whole(bytes)) => megabytes(*bytes),
        Some(BudgetBytes::PerTier(tiers)) => {
            let tiers: Vec<String> = tiers
                .iter()
                .map(|(tier, bytes)| format!("{} {}", tier.name(), megabytes(*bytes)))
                .collect();
            tiers.join(", ")
        }
    }
}

fn budget_json(budget: Option<&BudgetBytes>) -> Value {
    match budget {
        None => Value::Null,
        Some(BudgetBytes::Whole(bytes)) => json!(bytes),
        Some(BudgetBytes::PerTier(tiers)) => json!(tiers),
    }
}

fn gated(manifest: &DatasetManifest) -> bool {
    let hub = manifest.source.hub.as_ref();
    hub.is_some_and(|hub| hub.gated)
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

fn summary(dataset: &Dataset) -> Value {
    let manifest = &dataset.manifest;
    let tiers: Vec<&str> = manifest.tiers.iter().map(|tier| tier.name()).collect();
    let configs: Vec<&str> = manifest.configs.iter().map(|c| c.name.as_str()).collect();
    json!({
        "name": manifest.name, "description": manifest.description, "tiers": tiers, "evaluation": manifest.evaluation,
        "kinds": kinds(dataset), "profile": manifest.profile, "licence": manifest.licence,
        "licence_note": manifest.licence_note, "stands_in_for": manifest.stands_in_for, "homepage": manifest.homepage,
        "size_bytes": size_bytes(dataset), "rows": rows(dataset),
        "budget_bytes": budget_json(manifest.budget_bytes.as_ref()), "gated": gated(manifest),
        "source": manifest.source.place(), "configs": configs, "file": dataset.file,
    })
}

pub(super) fn show(name: &str, place: &Place, as_json: bool) -> anyhow::Result<()> {
    let catalogue = Catalogue::load(&place.manifests.join("datasets"))?;
    let selected = catalogue.select(&Selection::Datasets(vec![name.to_owned()]), true)?;
    for chosen in &selected.chosen {
        if as_json {
            let mut value = summary(&chosen.dataset);
            value["parts"] = chosen.parts.iter().map(part_json).collect();
            print_json(&value)?;
        } else {
            print(shown(&chosen.dataset, &chosen.parts))?;
        }
    }
    Ok(())
}

/// The texts that an example's row gives, or why it gives none.
fn given(part: &Part, example: &Example) -> Vec<Result<String, String>> {
    match Render::new(&part.dataset.manifest.render) {
        Ok(render) => render
            .render_all(example.row.clone())
            .into_iter()
            .map(|document| match document {
                Ok(content) => Ok(content.to_text().into_owned()),
                Err(fault) => Err(fault.to_string()),
            })
            .collect(),
        Err(error) => vec![Err(error.to_string())],
    }
}

fn part_json(part: &Part) -> Value {
    let manifest = &part.dataset.manifest;
    let examples: Vec<Value> = manifest
        .examples
        .iter()
        .map(|example| {
            let documents: Vec<Value> = given(part, example)
                .into_iter()
                .map(|document| match document {
                    Ok(text) => json!({ "text": text }),
                    Err(fault) => json!({ "fault": fault }),
                })
                .collect();
            json!({ "row": example.row, "documents": documents })
        })
        .collect();
    json!({
        "name": manifest.name, "kind": manifest.kind.name(), "profile": manifest.profile, "licence": manifest.licence,
        "licence_note": manifest.licence_note, "rows": manifest.rows, "size_bytes": manifest.size_bytes,
        "budget_bytes": budget_json(manifest.budget_bytes.as_ref()), "files": files(part), "held_out": part.held_out, "shots": shots(&part.dataset),
        "read": manifest.read, "render": manifest.render, "examples": examples,
    })
}

/// The patterns that name a part's files.
fn files(part: &Part) -> Vec<String> {
    if !part.only.is_empty() {
        return part.only.clone();
    }
    let source = &part.dataset.manifest.source;
    let hub = source.hub.as_ref().map(|source| &source.files);
    let folder = source.folder.as_ref().map(|source| &source.files);
    let cargo = source.cargo.as_ref().map(|source| &source.files);
    let url_list = source.url_list.as_ref().map(|source| &source.files);
    let store = source.store.as_ref().map(|source| &source.files);
    let patterns = [hub, folder, cargo, url_list, store];
    match (&source.web, patterns.into_iter().flatten().next()) {
        (Some(web), _) => web.files.iter().map(|file| file.path.clone()).collect(),
        (None, patterns) => patterns.cloned().unwrap_or_default(),
    }
}

/// The patterns of the examples that stand before an evaluation's questions.
fn shots(dataset: &Dataset) -> &[String] {
    let hub = dataset.manifest.source.hub.as_ref();
    hub.map_or(&[], |hub| &hub.shot_files)
}

fn shown(dataset: &Dataset, parts: &[Part]) -> String {
    let manifest = &dataset.manifest;
    let mut lines = vec![manifest.name.clone()];
    let mut line = |key: &str, value: String| lines.push(format!("  {key:<14} {value}"));
    line("what", manifest.description.clone());
    line("tiers", tiers(manifest));
    line("licence", manifest.licence.clone());
    if let Some(note) = &manifest.licence_note {
        line("", note.clone());
    }
    if let Some(named) = &manifest.stands_in_for {
        line("stands in for", named.clone());
    }
    if manifest.evaluation {
        line(
            "evaluation",
            "its rows are training data only with --with-benchmarks".to_owned(),
        );
    }
    line("source", manifest.source.place());
    if let Some(hub) = &manifest.source.hub {
        line("revision", hub.revision.clone());
        if let Some(access) = &hub.access {
            line("gated", access.clone());
        }
    }
    if let Some(size) = size_bytes(dataset) {
        line("size", megabytes(size));
    }
    if let Some(rows) = rows(dataset) {
        line("rows", grouped(rows));
    }
    line("budget", budget(manifest.budget_bytes.as_ref()));
    if let Some(homepage) = &manifest.homepage {
        line("read about it", homepage.clone());
    }
    line("manifest", dataset.file.display().to_string());
    for part in parts {
        let of = &part.dataset.manifest;
        lines.push(String::new());
        if part.config.is_some() {
            lines.push(of.name.clone());
        }
        let mut line = |key: &str, value: String| lines.push(format!("  {key:<14} {value}"));
        line(
            "kind",
            format!("{}, profile {}", of.kind.name(), of.profile),
        );
        if of.licence != manifest.licence {
            line("licence", of.licence.clone());
        }
        if part.config.is_some() {
            if let Some(rows) = of.rows {
                line("rows", grouped(rows));
            }
            if let Some(size) = of.size_bytes {
                line("size", megabytes(size));
            }
        }
        line("files", files(part).join(", "));
        if !part.held_out.is_empty() {
            line("held out", part.held_out.join(", "));
        }
        if !shots(dataset).is_empty() {
            line("shots", shots(dataset).join(", "));
        }
        // Options without a TOML form do not exist: they were read from TOML.
        let render = toml::to_string(&of.render).unwrap_or_default();
        for (number, written) in render.trim_end().lines().enumerate() {
            line(if number == 0 { "render" } else { "" }, written.to_owned());
        }
        for example in &of.examples {
            line(
                "example",
                serde_json::to_string(&example.row).unwrap_or_default(),
            );
            for document in given(part, example) {
                let text = document.unwrap_or_else(|fault| format!("({fault})"));
                for (number, written) in text.lines().enumerate() {
                    line(if number == 0 { "gives" } else { "" }, written.to_owned());
                }
            }
        }
    }
    lines.join("\n")
}

pub(super) fn add(
    repository: &str,
    name: Option<&str>,
    place: &Place,
    as_json: bool,
) -> anyhow::Result<()> {
    let (id, revision) = address(repository)?;
    let name = name.map_or_else(|| name_of(&id), str::to_owned);
    let file = place
        .manifests
        .join("datasets")
        .join(format!("{name}.toml"));
    if file.exists() {
        return Err(Usage(format!(
            "{} is there already and is not overwritten\n  hint: choose another name with --name",
            file.display()
        ))
        .into());
    }
    let failed = |error: FetchError| {
        PlanError::Source(SourceError::Fetch {
            dataset: id.to_string(),
            error,
        })
    };
    let mut lock = Lock::open(
        &place.manifests.join("datasets.lock"),
        &place.work.join("listings"),
    )?;
    let hub = Hub::from_env().map_err(failed)?;
    let commit = match lock.commit(hub.endpoint(), &id, &revision) {
        Some(commit) => commit,
        None => {
            let commit = hub.resolve(&id, &revision).map_err(failed)?;
            lock.pin(hub.endpoint(), &id, &revision, &commit);
            commit
        }
    };
    let listed = lock.listing(&hub, &id, &commit).map_err(failed)?;
    let Some(layout) = Layout::of(&listed) else {
        return Err(Usage(format!(
            "{id} has no file of a format that can be read\n  hint: its {} files are like {}; a repository of scripts may \
             have its rows at hf://{id}@refs/convert/parquet",
            listed.len(),
            crate::catalogue::like("", &listed)
        ))
        .into());
    };
    let fetch = |file: &RemoteFile| hub.fetch(&id, &commit, file, &|_| {}).map_err(failed);
    let mut rows: Vec<Vec<Row>> = Vec::new();
    let mut looked = 0;
    for (_, specimen) in layout.specimens() {
        if looked > 0 && looked + specimen.bytes > LOOK_BYTES {
            rows.push(rows[0].clone());
            continue;
        }
        looked += specimen.bytes;
        say(format!(
            "looking at {} ({})",
            specimen.path,
            megabytes(specimen.bytes)
        ));
        let local = fetch(specimen)?;
        let found = first_rows(&local, &options_of(specimen), LOOK_ROWS);
        rows.push(found.with_context(|| format!("{} of {id}", specimen.path))?);
    }
    let card = match listed.iter().find(|file| file.path == "README.md") {
        // A card that is no text says nothing.
        Some(file) => fs_err::read_to_string(fetch(file)?).ok(),
        None => None,
    };
    let about = About {
        repository: &id,
        revision: &revision,
        homepage: &format!("https://huggingface.co/datasets/{id}"),
        card: card.as_deref(),
    };
    let text = draft(&name, &about, &layout, &rows);
    // A draft with a mistake would spoil the whole catalogue.
    let dataset = Dataset::parse(&file, &text)?;
    andromeda_format::write_atomic(&file, text.as_bytes())?;
    lock.save()?;
    let decisions = text.matches("DECIDE").count().saturating_sub(1);
    if as_json {
        let mut value = summary(&dataset);
        value["decisions"] = json!(decisions);
        value["commit"] = json!(commit);
        return print_json(&value);
    }
    say(format!(
        "a draft of `{name}` at commit {commit}; decide at its {decisions} comments with DECIDE"
    ));
    print(file.display())
}

fn options_of(file: &RemoteFile) -> ReadOptions {
    let path = std::path::Path::new(&file.path);
    let known = crate::read::FileFormat::from_path(path);
    ReadOptions {
        format: known.map(|(format, _)| format),
        compression: known.map(|(_, compression)| compression),
        ..ReadOptions::default()
    }
}

/// `hf://owner/name` or `hf://owner/name@revision`; the hub's own `hf://datasets/` is understood.
fn address(written: &str) -> anyhow::Result<(RepoId, String)> {
    let Some(rest) = written.strip_prefix("hf://") else {
        return Err(Usage(format!(
            "`{written}` is no address of a dataset on the hub\n  hint: write hf://owner/name; a folder or an address on the web \
             is described by hand (CONTRIBUTING.md has the manifest to copy)"
        ))
        .into());
    };
    let rest = rest.strip_prefix("datasets/").unwrap_or(rest);
    let (id, revision) = rest.split_once('@').unwrap_or((rest, "main"));
    let id: RepoId = id
        .parse()
        .map_err(|error: FetchError| Usage(error.to_string()))?;
    crate::fetch::check_revision(revision).map_err(|error| Usage(error.to_string()))?;
    Ok((id, revision.to_owned()))
}

/// The repository's name as a dataset's: lower case.
fn name_of(id: &RepoId) -> String {
    let name = id.as_str().rsplit('/').next().unwrap_or(id.as_str());
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_repository_and_a_revision() {
        let read = |text: &str| {
            address(text).map(|(id, revision)| (id.to_string(), revision, name_of(&id)))
        };
        let expected = |id: &str, revision: &str, name: &str| {
            (id.to_owned(), revision.to_owned(), name.to_owned())
        };
        assert_eq!(
            read("hf://allenai/c4").unwrap(),
            expected("allenai/c4", "main", "c4")
        );
        assert_eq!(
            read("hf://datasets/QingyiSi/Alpaca-CoT@refs/convert/parquet").unwrap(),
            expected("QingyiSi/Alpaca-CoT", "refs/convert/parquet", "alpaca-cot")
        );
        for wrong in [
            "allenai/c4",
            "https://x/y",
            "hf://",
            "hf://a/b/c",
            "hf://a/b@../x",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
