//! The report of a build: one HTML file without scripts and without requests.

use std::fmt::Write as _;

use andromeda_format::{Count, DatasetEntry};

use super::charts::{self, COLOURS, Stack};
use super::rejects::Reject;
use super::summary::{Fate, Histogram, Sample, Summary};

/// What may be loaded: nothing. Styles stand in the page itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("page.css");

/// The page. The same build, work folder and options give the same bytes.
pub fn page(summary: &Summary) -> String {
    let manifest = &summary.manifest;
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{} · Andromeda</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n",
        escape(&manifest.name),
        fate_colours(),
    );
    head(&mut out, summary);
    funnel(&mut out, summary);
    reasons(&mut out, summary);
    sizes(&mut out, summary);
    languages(&mut out, summary);
    duplicates(&mut out, summary);
    super::taken::section(&mut out, summary);
    kept(&mut out, summary);
    datasets(&mut out, summary);
    recipe(&mut out, summary);
    out.push_str("</body>\n</html>\n");
    out
}

fn fate_colours() -> String {
    let mut out = String::new();
    for (fate, colour) in Fate::ALL.iter().zip(COLOURS) {
        let _ = writeln!(
            out,
            ".{} {{ --fate: rgb({} {} {}); }}",
            fate.name(),
            colour.0,
            colour.1,
            colour.2
        );
    }
    out
}

fn head(out: &mut String, summary: &Summary) {
    let manifest = &summary.manifest;
    let tokens: u64 = manifest.splits.values().map(|split| split.tokens).sum();
    let duplicates: u64 = counts(&manifest.funnel.duplicates).documents;
    let shards: usize = manifest
        .splits
        .values()
        .map(|split| split.shards.len())
        .sum();
    let bytes: u64 = manifest
        .splits
        .values()
        .flat_map(|split| &split.shards)
        .map(|shard| shard.bytes)
        .sum();
    let _ = write!(
        out,
        "<header>\n<p class=\"brand\">Andromeda · build report</p>\n<h1>{}</h1>\n<p class=\"root\">root <code>{}</code></p>\n</header>\n<section class=\"numbers\">\n",
        escape(&manifest.name),
        escape(&manifest.root)
    );
    let funnel = &manifest.funnel;
    for (number, what, more) in [
        (
            short(tokens as f64),
            "tokens",
            format!("{} ids", grouped(u64::from(manifest.tokenizer.vocab_size))),
        ),
        (
            short(funnel.kept.documents as f64),
            "documents kept",
            format!("of {}", grouped(funnel.documents_in)),
        ),
        (
            megabytes(funnel.kept.bytes as f64),
            "text kept",
            format!("of {}", megabytes(funnel.bytes_in as f64)),
        ),
        (
            short(duplicates as f64),
            "duplicates removed",
            percent(duplicates, funnel.documents_in),
        ),
        (shards.to_string(), "shards", megabytes(bytes as f64)),
    ] {
        let _ = writeln!(
            out,
            "<div><strong>{}</strong><span>{what}</span><small>{}</small></div>",
            escape(&number),
            escape(&more)
        );
    }
    out.push_str("</section>\n");
    if !manifest.contaminates.is_empty() {
        let _ = writeln!(
            out,
            "<p class=\"warning\">Holds rows of the benchmarks {}: a score on them says nothing of a model trained on this build.</p>",
            escape(&manifest.contaminates.join(", "))
        );
    }
    for dataset in &manifest.datasets {
        for fault in &dataset.faults {
            let _ = writeln!(
                out,
                "<p class=\"warning\">{}/{} could not be read to its end ({}); {} rows of it are in the counts.</p>",
                escape(&dataset.name),
                escape(&fault.path),
                escape(&fault.problem),
                grouped(fault.rows_read)
            );
        }
    }
}

fn legend(out: &mut String) {
    out.push_str("<p class=\"legend\">");
    for fate in Fate::ALL {
        let _ = write!(
            out,
            "<span class=\"{}\">{}</span>",
            fate.name(),
            match fate {
                Fate::Quarantined => "no document",
                other => other.name(),
            }
        );
    }
    out.push_str("</p>\n");
}

fn parts(dataset: &DatasetEntry) -> Vec<f64> {
    let funnel = &dataset.funnel;
    [
        funnel.kept.documents,
        counts(&funnel.duplicates).documents,
        counts(&funnel.dropped).documents,
        counts(&funnel.quarantined).documents,
    ]
    .iter()
    .map(|count| *count as f64)
    .collect()
}

fn funnel(out: &mut String, summary: &Summary) {
    out.push_str(
        "<section>\n<h2>Funnel</h2>\n<p>What became of every document that was read.</p>\n",
    );
    legend(out);
    let stacks: Vec<Stack> = summary
        .manifest
        .datasets
        .iter()
        .map(|dataset| Stack {
            label: dataset.name.clone(),
            parts: parts(dataset),
        })
        .collect();
    figures(
        out,
        &[
            (
                "Shares of the documents of each dataset",
                charts::rows(&stacks, true, &short),
            ),
            (
                "Tokens kept of each dataset",
                charts::rows(&tokens_of(summary), false, &short),
            ),
        ],
    );
    out.push_str("<div class=\"scroll\"><table>\n<tr><th>dataset<th>in<th>kept<th>duplicate<th>dropped<th>no document<th>text in<th>text kept<th>tokens</tr>\n");
    for dataset in &summary.manifest.datasets {
        let funnel = &dataset.funnel;
        let tokens: u64 = dataset.splits.values().map(|split| split.tokens).sum();
        let _ = writeln!(
            out,
            "<tr><th>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(&dataset.name),
            grouped(funnel.documents_in),
            grouped(funnel.kept.documents),
            grouped(counts(&funnel.duplicates).documents),
            grouped(counts(&funnel.dropped).documents),
            grouped(counts(&funnel.quarantined).documents),
            megabytes(funnel.bytes_in as f64),
            megabytes(funnel.kept.bytes as f64),
            grouped(tokens)
        );
    }
    out.push_str("</table></div>\n</section>\n");
}

fn tokens_of(summary: &Summary) -> Vec<Stack> {
    let tokens =
        |dataset: &DatasetEntry| -> u64 { dataset.splits.values().map(|split| split.tokens).sum() };
    let datasets = summary.manifest.datasets.iter();
    datasets
        .map(|dataset| Stack {
            label: dataset.name.clone(),
            parts: vec![tokens(dataset) as f64],
        })
        .collect()
}

/// A bar for every reason; behind it, samples of what it dropped.
fn reasons(out: &mut String, summary: &Summary) {
    let funnel = &summary.manifest.funnel;
    let groups = [
        (Fate::Duplicate, &funnel.duplicates),
        (Fate::Dropped, &funnel.dropped),
        (Fate::Quarantined, &funnel.quarantined),
    ];
    let mut all: Vec<(Fate, &str, Count)> = groups
        .iter()
        .flat_map(|(fate, counts)| {
            let each = counts.iter();
            each.map(|(reason, count)| (*fate, reason.as_str(), *count))
        })
        .collect();
    all.sort_by_key(|(fate, reason, count)| (std::cmp::Reverse(count.documents), *fate, *reason));
    out.push_str("<section>\n<h2>Why documents were not kept</h2>\n");
    if all.is_empty() {
        out.push_str("<p>All of them were.</p>\n</section>\n");
        return;
    }
    out.push_str("<p>Open a reason to read some of what it removed.</p>\n");
    legend(out);
    let most = all
        .iter()
        .map(|(_, _, count)| count.documents)
        .max()
        .unwrap_or(1)
        .max(1);
    for (fate, reason, count) in all {
        let share = 100.0 * count.documents as f64 / most as f64;
        let _ = writeln!(
            out,
            "<details class=\"reason {}\"><summary><span class=\"name\">{}</span><span class=\"bar\"><i style=\"width:{share:.2}%\"></i></span><span class=\"count\">{}</span></summary>",
            fate.name(),
            escape(reason),
            grouped(count.documents)
        );
        let _ = writeln!(
            out,
            "<p>{} of the documents read, {} of text.</p>",
            percent(count.documents, funnel.documents_in),
            megabytes(count.bytes as f64)
        );
        if fate == Fate::Duplicate {
            twins(out, summary, reason);
        } else {
            let samples: Vec<&Reject> = summary
                .rejects
                .iter()
                .filter(|reject| reject.reason == reason)
                .collect();
            if samples.is_empty() {
                out.push_str("<p class=\"note\">No samples were kept.</p>\n");
            }
            for reject in samples {
                text(
                    out,
                    &reject.id,
                    reject.evidence.as_deref(),
                    reject.text.as_deref(),
                );
            }
        }
        out.push_str("</details>\n");
    }
    out.push_str("</section>\n");
}

fn twins(out: &mut String, summary: &Summary, method: &str) {
    let mut any = false;
    for twin in summary.twins.iter().filter(|twin| twin.method == method) {
        any = true;
        let alike = twin
            .similarity
            .map(|similarity| format!("{:.0} % alike", 100.0 * similarity));
        out.push_str("<div class=\"twins\">\n");
        text(
            out,
            &format!("dropped: {}", twin.dropped.id),
            alike.as_deref(),
            twin.dropped.text.as_deref(),
        );
        text(
            out,
            &format!("kept: {}", twin.kept.id),
            None,
            twin.kept.text.as_deref(),
        );
        out.push_str("</div>\n");
    }
    if !any {
        out.push_str("<p class=\"note\">Their copies are in other builds.</p>\n");
    }
}

pub(super) fn text(out: &mut String, title: &str, evidence: Option<&str>, text: Option<&str>) {
    let _ = write!(out, "<article><h4>{}</h4>", escape(title));
    if let Some(evidence) = evidence {
        let _ = write!(out, "<p class=\"evidence\">{}</p>", escape(evidence));
    }
    match text {
        Some(text) => {
            let _ = write!(out, "<pre dir=\"auto\">{}</pre>", escape(text));
        }
        None => out.push_str("<p class=\"note\">Its text is not at hand.</p>"),
    }
    out.push_str("</article>\n");
}

fn histogram(bins: &Histogram, parts: usize, label: &dyn Fn(f64) -> String) -> Vec<Stack> {
    let (Some(first), Some(last)) = (bins.keys().next(), bins.keys().last()) else {
        return Vec::new();
    };
    (*first..=*last)
        .map(|bin| Stack {
            label: label(2.0_f64.powi(i32::try_from(bin).unwrap_or(0))),
            parts: bins.get(&bin).map_or(vec![0.0; parts], |counts| {
                counts[..parts].iter().map(|count| *count as f64).collect()
            }),
        })
        .collect()
}

fn sizes(out: &mut String, summary: &Summary) {
    out.push_str("<section>\n<h2>Sizes</h2>\n");
    legend(out);
    figures(
        out,
        &[
            (
                "Documents by bytes of text; each bar twice as long as the one before",
                charts::columns(
                    &histogram(&summary.lengths, 4, &bytes),
                    "bytes of text",
                    false,
                    &short,
                ),
            ),
            (
                "Kept documents by tokens",
                charts::columns(
                    &histogram(&summary.tokens, 1, &short),
                    "tokens",
                    false,
                    &short,
                ),
            ),
        ],
    );
    out.push_str("</section>\n");
}

fn languages(out: &mut String, summary: &Summary) {
    if summary.languages.is_empty() {
        return;
    }
    let mut all: Vec<(&String, &[u64; 4])> = summary.languages.iter().collect();
    all.sort_by_key(|(name, counts)| (std::cmp::Reverse(counts.iter().sum::<u64>()), *name));
    let stacks: Vec<Stack> = all
        .iter()
        .take(20)
        .map(|(name, counts)| Stack {
            label: (*name).clone(),
            parts: counts.iter().map(|count| *count as f64).collect(),
        })
        .collect();
    out.push_str("<section>\n<h2>Languages</h2>\n");
    legend(out);
    figures(
        out,
        &[(
            "Documents by language, the twenty most frequent",
            charts::rows(&stacks, false, &short),
        )],
    );
    out.push_str("</section>\n");
}

fn duplicates(out: &mut String, summary: &Summary) {
    out.push_str("<section>\n<h2>Duplicates</h2>\n");
    if summary.clusters.is_empty() && summary.overlap.is_empty() {
        out.push_str("<p>None within the build.</p>\n</section>\n");
        return;
    }
    let clusters: u64 = summary.clusters.values().sum();
    let _ = writeln!(
        out,
        "<p>{} clusters of two documents or more; the largest has {}.</p>",
        grouped(clusters),
        grouped(u64::from(summary.largest_cluster))
    );
    let by_size: Histogram = summary
        .clusters
        .iter()
        .map(|(bin, count)| (*bin, [0, *count, 0, 0]))
        .collect();
    let mut by_size = histogram(&by_size, 2, &short);
    by_size.retain(|stack| stack.total_of(1) > 0.0 || stack.label != "1");
    let similarities: Vec<Stack> = summary
        .similarities
        .first_key_value()
        .map_or(0..=0, |(first, _)| *first..=100)
        .step_by(2)
        .map(|edge| Stack {
            label: format!("{edge} %"),
            parts: vec![
                0.0,
                summary.similarities.get(&edge).copied().unwrap_or(0) as f64,
            ],
        })
        .collect();
    let near = !summary.similarities.is_empty();
    figures(
        out,
        &[
            (
                "Clusters by documents, on a logarithmic scale",
                charts::columns(&by_size, "documents of a cluster", true, &short),
            ),
            (
                "Near duplicates by similarity to the copy that stayed",
                near.then(|| charts::columns(&similarities, "similarity", false, &short))
                    .flatten(),
            ),
        ],
    );
    overlap(out, summary);
    out.push_str("</section>\n");
}

/// Which dataset's documents are duplicates of which one's.
fn overlap(out: &mut String, summary: &Summary) {
    let used = |place: usize| {
        let mut pairs = summary.overlap.keys();
        pairs.any(|(a, b)| *a == place || *b == place)
    };
    let shown: Vec<usize> = (0..summary.manifest.datasets.len())
        .filter(|place| used(*place))
        .collect();
    if shown.is_empty() {
        return;
    }
    let name = |place: &usize| escape(&summary.manifest.datasets[*place].name);
    out.push_str("<h3>Overlap</h3>\n<p>Documents of the dataset at the left that were dropped for a copy in the dataset above.</p>\n<div class=\"scroll\"><table class=\"overlap\">\n<tr><td>");
    for column in &shown {
        let _ = write!(out, "<th>{}", name(column));
    }
    out.push_str("</tr>\n");
    for row in &shown {
        let of_dataset = summary.manifest.datasets[*row].funnel.documents_in;
        let _ = write!(out, "<tr><th>{}", name(row));
        for column in &shown {
            match summary.overlap.get(&(*row, *column)) {
                Some(count) => {
                    let share = *count as f64 / of_dataset.max(1) as f64;
                    // A square root, so that a few per cent are seen.
                    let depth = share.sqrt().min(1.0);
                    let _ = write!(
                        out,
                        "<td style=\"--share:{depth:.3}\" title=\"{}\">{}",
                        percent(*count, of_dataset),
                        grouped(*count)
                    );
                }
                None => out.push_str("<td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn kept(out: &mut String, summary: &Summary) {
    out.push_str(
        "<section>\n<h2>What was kept</h2>\n<p>Documents chosen by a hash of their ids.</p>\n",
    );
    for (dataset, samples) in summary.manifest.datasets.iter().zip(&summary.kept) {
        if samples.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "<details class=\"kept\"><summary><span class=\"name\">{}</span><span class=\"count\">{}</span></summary>",
            escape(&dataset.name),
            grouped(dataset.funnel.kept.documents)
        );
        for Sample {
            id,
            tokens,
            text: beginning,
        } in samples
        {
            let tokens = tokens.map(|tokens| format!("{} tokens", grouped(u64::from(tokens))));
            text(out, id, tokens.as_deref(), beginning.as_deref());
        }
        out.push_str("</details>\n");
    }
    out.push_str("</section>\n");
}

fn datasets(out: &mut String, summary: &Summary) {
    out.push_str("<section>\n<h2>Licences and sources</h2>\n<div class=\"scroll\"><table>\n<tr><th>licence<th class=\"words\">datasets<th>tokens<th>share</tr>\n");
    let all: u64 = summary
        .manifest
        .splits
        .values()
        .map(|split| split.tokens)
        .sum();
    for (licence, names, tokens) in licences(summary) {
        let _ = writeln!(
            out,
            "<tr><th>{}<td class=\"words\">{}<td>{}<td>{}</tr>",
            escape(&licence),
            escape(&names.join(", ")),
            grouped(tokens),
            percent(tokens, all)
        );
    }
    out.push_str("</table></div>\n<div class=\"scroll\"><table>\n<tr><th>dataset<th class=\"words\">tier<th class=\"words\">kind<th class=\"words\">source<th class=\"words\">pinned to<th>files<th>bytes</tr>\n");
    for dataset in &summary.manifest.datasets {
        let _ = writeln!(
            out,
            "<tr><th>{}<td class=\"words\">{}<td class=\"words\">{}<td class=\"words\">{}<td class=\"words\"><code>{}</code><td>{}<td>{}</tr>",
            escape(&dataset.name),
            escape(&dataset.tier),
            escape(&dataset.kind),
            escape(&dataset.source),
            escape(&dataset.revision.chars().take(12).collect::<String>()),
            grouped(dataset.files.len() as u64),
            megabytes(dataset.files.iter().map(|file| file.bytes).sum::<u64>() as f64)
        );
    }
    out.push_str("</table></div>\n</section>\n");
}

/// Licences with the datasets under each and their tokens, most tokens first.
pub(super) fn licences(summary: &Summary) -> Vec<(String, Vec<String>, u64)> {
    let mut all: Vec<(String, Vec<String>, u64)> = Vec::new();
    for dataset in &summary.manifest.datasets {
        let tokens: u64 = dataset.splits.values().map(|split| split.tokens).sum();
        match all
            .iter_mut()
            .find(|(licence, ..)| *licence == dataset.licence)
        {
            Some((_, names, sum)) => {
                names.push(dataset.name.clone());
                *sum += tokens;
            }
            None => all.push((dataset.licence.clone(), vec![dataset.name.clone()], tokens)),
        }
    }
    all.sort_by_key(|(licence, _, tokens)| (std::cmp::Reverse(*tokens), licence.clone()));
    all
}

fn recipe(out: &mut String, summary: &Summary) {
    let manifest = &summary.manifest;
    let json = serde_json::to_string_pretty(&manifest.recipe).unwrap_or_default();
    let _ = writeln!(
        out,
        "<section>\n<h2>How it was made</h2>\n<p>{}; tokenizer {} with {} ids, sha256 <code>{}</code>; fingerprint of the plan <code>{}</code>.</p>\n<details><summary><span class=\"name\">Recipe</span></summary><pre>{}</pre></details>\n</section>",
        escape(&manifest.program),
        escape(&manifest.tokenizer.kind),
        grouped(u64::from(manifest.tokenizer.vocab_size)),
        escape(
            &manifest
                .tokenizer
                .sha256
                .chars()
                .take(12)
                .collect::<String>()
        ),
        escape(&manifest.fingerprint.chars().take(12).collect::<String>()),
        escape(&json)
    );
}

fn figures(out: &mut String, charts: &[(&str, Option<String>)]) {
    out.push_str("<div class=\"figures\">\n");
    for (caption, chart) in charts {
        if let Some(svg) = chart {
            let _ = writeln!(
                out,
                "<figure><figcaption>{}</figcaption>{svg}</figure>",
                escape(caption)
            );
        }
    }
    out.push_str("</div>\n");
}

impl Stack {
    fn total_of(&self, part: usize) -> f64 {
        self.parts.get(part).copied().unwrap_or(0.0)
    }
}

fn counts(all: &std::collections::BTreeMap<String, Count>) -> Count {
    let mut sum = Count::default();
    all.values().for_each(|count| sum += *count);
    sum
}

/// Text as it stands in HTML. Control characters, which HTML has no way to write, become the sign for what cannot be shown.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            other if other.is_control() => out.push('\u{fffd}'),
            // What turns the direction of the text that follows must not reach beyond its own.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A number with a separator every three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with three digits and a letter for its magnitude.
pub(super) fn short(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T", "P"], "")
}

fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &["", "Ki", "Mi", "Gi", "Ti"], "")
}

/// Bytes in decimal units.
pub(super) fn megabytes(number: f64) -> String {
    scaled(
        number,
        1000.0,
        &[" B", " kB", " MB", " GB", " TB", " PB"],
        "",
    )
}

fn scaled(number: f64, step: f64, units: &[&str], none: &str) -> String {
    let mut scaled = number;
    let mut unit = 0;
    while scaled >= step && unit + 1 < units.len() {
        scaled /= step;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && scaled < 99.95 && scaled.fract() != 0.0);
    let unit = units.get(unit).copied().unwrap_or(none);
    format!("{scaled:.digits$}{unit}")
}

/// A part of a whole in per cent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(
            escape("<script>alert('x' & \"y\")</script>\u{0}\u{202e}é\n"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;\u{fffd}\u{fffd}é\n"
        );
    }

    #[test]
    fn numbers_are_short_and_right() {
        assert_eq!(
            [0.0, 999.0, 1000.0, 1234.0, 123_456.0, 66.04e6].map(short),
            ["0", "999", "1k", "1.2k", "123k", "66.0M"]
        );
        assert_eq!([512.0, 1024.0, 1048576.0].map(bytes), ["512", "1Ki", "1Mi"]);
        assert_eq!(megabytes(258.3e6), "258 MB");
        assert_eq!(
            [0, 12, 1234, 1_234_567].map(grouped),
            ["0", "12", "1,234", "1,234,567"]
        );
        assert_eq!(percent(1, 8), "12.5 %");
    }
}
