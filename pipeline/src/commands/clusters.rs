//! `andromeda clusters`.

use std::collections::BTreeMap;
use std::path::Path;

use andromeda_format::Build;
use serde_json::json;

use super::side_by_side::side_by_side;
use super::{grouped, print, print_json};
use crate::documents::{self, Document};
use crate::execute::BuildTexts;
use crate::screen::safe;

/// Which clusters are shown, and how much of each.
pub(super) struct Shown {
    /// Clusters.
    pub largest: usize,
    /// Members of each besides the one that stays.
    pub members: usize,
    /// Characters of each text.
    pub characters: usize,
}

pub(super) fn run(folder: &Path, work: &Path, shown: &Shown, as_json: bool) -> anyhow::Result<()> {
    let build = Build::open(folder)?;
    let texts = BuildTexts::open(work, &build.manifest().name)?;
    let clusters = documents::largest_clusters(folder, shown.largest)?;
    if clusters.is_empty() && !as_json {
        return print("no document has a duplicate");
    }
    for (number, members) in (1..).zip(&clusters) {
        let (kept, others) = choose(members, shown.members);
        if as_json {
            let text = |document: &Document| texts.of_row(document.row);
            let mut values = Vec::new();
            for document in kept.iter().chain(&others) {
                values.push(json!({ "document": document, "text": text(document)? }));
            }
            print_json(&json!({
                "cluster": members[0].cluster, "documents": members.len(), "least_similar": least(members), "members": values,
            }))?;
            continue;
        }
        let lowest = least(members).map_or_else(String::new, |share| {
            format!(", the least alike to {:.0} %", 100.0 * share)
        });
        print(format!(
            "cluster {number}: {} documents{lowest}; {}",
            grouped(members.len() as u64),
            origins(members)
        ))?;
        for other in &others {
            // A cluster may keep several: each that goes has its own that stays.
            let own_build = other.kept.filter(|_| other.kept_build.is_none());
            let left = own_build.and_then(|row| kept.iter().find(|kept| kept.row == row));
            print(pair(left.copied(), other, &texts, shown.characters)?)?;
        }
    }
    Ok(())
}

/// The one that stays, and the others that say most: the least similar first.
fn choose(members: &[Document], most: usize) -> (Vec<&Document>, Vec<&Document>) {
    let (kept, mut others): (Vec<&Document>, Vec<&Document>) =
        members.iter().partition(|d| d.verdict != "duplicate");
    let similarity = |d: &Document| d.similarity.unwrap_or(0.0);
    others
        .sort_by(|a, b| (similarity(a).total_cmp(&similarity(b))).then_with(|| a.row.cmp(&b.row)));
    others.truncate(most);
    (kept, others)
}

fn least(members: &[Document]) -> Option<f32> {
    let shares = members.iter().filter_map(|d| d.similarity);
    shares.min_by(f32::total_cmp)
}

/// `c4 3, fineweb 2`.
fn origins(members: &[Document]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for member in members {
        *counts.entry(&member.dataset).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(dataset, count)| format!("{} {}", safe(dataset), grouped(count)))
        .collect();
    counts.join(", ")
}

fn pair(
    kept: Option<&Document>,
    other: &Document,
    texts: &BuildTexts,
    characters: usize,
) -> anyhow::Result<String> {
    let text = |document: &Document| -> anyhow::Result<String> {
        Ok(texts.of_row(document.row)?.unwrap_or_else(|| {
            "(its text is not in the work folder any more; the same build command brings it back)"
                .to_owned()
        }))
    };
    let how = match (other.reason.as_deref(), other.similarity) {
        (Some("near"), Some(share)) => format!("alike to {:.1} %", 100.0 * share),
        (Some(reason), _) => reason.to_owned(),
        (None, _) => String::new(),
    };
    let kept_text = match kept {
        Some(kept) => (format!("kept: {}", kept.id), text(kept)?),
        // The one that stays is in another build.
        None => (
            format!("kept in {}", other.kept_build.as_deref().unwrap_or("?")),
            String::new(),
        ),
    };
    let other_text = (format!("{how}: {}", other.id), text(other)?);
    Ok(side_by_side(&kept_text, &other_text, characters))
}
