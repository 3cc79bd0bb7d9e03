//! What was taken out of documents: items of evaluation sets, and personal data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use andromeda_format::{Manifest, Redacted};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::Table;
use super::page::{escape, grouped, text};
use super::summary::Summary;
use crate::documents::TableError;

/// A passage of an evaluation set in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The evaluation set.
    pub benchmark: String,
    /// The item's id.
    pub item: String,
    /// The document's.
    pub document: String,
    /// Whether the document was dropped; otherwise the passage was cut.
    pub dropped: bool,
    /// n-grams of the item that it has.
    pub matches: u32,
    /// What stands there.
    pub text: String,
}

/// Of every evaluation set at most `most` passages of different documents, chosen by a hash of their ids; none in builds that
/// were not held against any.
///
/// # Errors
/// The table is damaged.
pub fn hits(folder: &Path, most: usize) -> Result<Vec<Hit>, TableError> {
    if !folder.join("contamination.parquet").is_file() {
        return Ok(Vec::new());
    }
    let mut chosen: BTreeMap<String, BTreeMap<(u64, String), Hit>> = BTreeMap::new();
    Table::open(folder, "contamination.parquet", None)?.for_each(&mut |_, batch| {
        let (documents, verdicts) = (batch.words("document")?, batch.words("verdict")?);
        let (sets, items) = (batch.words("benchmark")?, batch.words("item")?);
        let (matches, texts) = (batch.shorts("matches")?, batch.words("text")?);
        for row in 0..batch.rows() {
            let set = sets.get(row).unwrap_or_default();
            let document = documents.get(row).unwrap_or_default();
            let key = (xxh3_64(document.as_bytes()), document.to_owned());
            if !chosen.contains_key(set) {
                chosen.insert(set.to_owned(), BTreeMap::new());
            }
            let Some(of_set) = chosen.get_mut(set) else {
                continue;
            };
            let last = of_set.last_key_value().map(|(last, _)| last);
            let comes = of_set.len() < most || last.is_some_and(|last| key < *last);
            // The first passage of a document stands for all of them.
            if comes && !of_set.contains_key(&key) {
                of_set.insert(
                    key,
                    Hit {
                        benchmark: set.to_owned(),
                        item: items.get(row).unwrap_or_default().to_owned(),
                        document: document.to_owned(),
                        dropped: verdicts.get(row) == Some("dropped"),
                        matches: matches.get(row).unwrap_or_default(),
                        text: texts.get(row).unwrap_or_default().to_owned(),
                    },
                );
                if of_set.len() > most {
                    of_set.pop_last();
                }
            }
        }
        Ok(())
    })?;
    Ok(chosen
        .into_values()
        .flat_map(BTreeMap::into_values)
        .collect())
}

/// Personal data by kind, of all datasets.
fn redacted(manifest: &Manifest) -> BTreeMap<&str, Redacted> {
    let mut all: BTreeMap<&str, Redacted> = BTreeMap::new();
    for (kind, count) in manifest.datasets.iter().flat_map(|of| &of.redacted) {
        let sum = all.entry(kind).or_default();
        sum.documents += count.documents;
        sum.items += count.items;
    }
    all
}

/// The page's section; nothing where nothing was sought.
pub(super) fn section(out: &mut String, summary: &Summary) {
    let manifest = &summary.manifest;
    if !manifest.decontaminated.is_empty() {
        out.push_str("<section>\n<h2>Evaluation sets</h2>\n<p>Items of these were looked for in the documents that passed the rules.</p>\n<div class=\"scroll\"><table>\n<tr><th>set<th>items<th>looked for<th>found<th>documents</tr>\n");
        for set in &manifest.decontaminated {
            let _ = writeln!(
                out,
                "<tr><th>{}<td>{}<td>{}<td>{}<td>{}</tr>",
                escape(&set.name),
                grouped(set.items),
                grouped(set.sought),
                grouped(set.found),
                grouped(set.documents)
            );
        }
        out.push_str("</table></div>\n");
        for set in &manifest.decontaminated {
            let mut hits = summary
                .hits
                .iter()
                .filter(|hit| hit.benchmark == set.name)
                .peekable();
            if hits.peek().is_none() {
                continue;
            }
            let _ = writeln!(
                out,
                "<details class=\"taken dropped\"><summary><span class=\"name\">{}</span><span class=\"count\">{}</span></summary>",
                escape(&set.name),
                grouped(set.documents)
            );
            for hit in hits {
                let what = if hit.dropped { "dropped" } else { "cut" };
                let evidence = format!("{what} for {}: {} n-grams of it", hit.item, hit.matches);
                text(out, &hit.document, Some(&evidence), Some(&hit.text));
            }
            out.push_str("</details>\n");
        }
        out.push_str("</section>\n");
    }
    let redacted = redacted(manifest);
    if !redacted.is_empty() {
        out.push_str("<section>\n<h2>Personal data</h2>\n<p>Replaced by placeholders, in all documents that were read.</p>\n<div class=\"scroll\"><table>\n<tr><th>kind<th>places<th>documents</tr>\n");
        for (kind, count) in redacted {
            let _ = writeln!(
                out,
                "<tr><th>{}<td>{}<td>{}</tr>",
                escape(kind),
                grouped(count.items),
                grouped(count.documents)
            );
        }
        out.push_str("</table></div>\n</section>\n");
    }
}
