//! A pattern that matches no file, and the files that were most likely meant.

use std::collections::BTreeMap;

use globset::Glob;

/// File names shown at most.
const SHOWN: usize = 5;

/// The first of `patterns` that matches none of `paths`, with the names that are most like it.
pub(crate) fn unmatched<'a>(patterns: &'a [String], paths: &[&str]) -> Option<(&'a str, String)> {
    let pattern = patterns.iter().find(|pattern| {
        let matcher = Glob::new(pattern).map(|glob| glob.compile_matcher());
        matcher.is_ok_and(|matcher| !paths.iter().any(|path| matcher.is_match(path)))
    })?;
    Some((pattern, like(pattern, paths)))
}

/// The names most like `pattern`, numbered ones told together: `en/c4-train.*-of-*.json.gz (1024 files)`.
pub(crate) fn like(pattern: &str, paths: &[&str]) -> String {
    let mut shapes: BTreeMap<String, usize> = BTreeMap::new();
    for path in paths {
        *shapes.entry(shape(path)).or_default() += 1;
    }
    let mut shapes: Vec<(usize, String, usize)> = shapes
        .into_iter()
        .map(|(shape, files)| (likeness(pattern, &shape), shape, files))
        .collect();
    shapes.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
    let more = shapes.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = shapes
        .into_iter()
        .take(SHOWN)
        .map(|(_, shape, files)| match files {
            1 => format!("`{shape}`"),
            _ => format!("`{shape}` ({files} files)"),
        })
        .collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// A path with its numbers and hashes as `*`.
pub(super) fn shape(path: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in path.chars().chain(['/']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let digits = word.chars().all(|c| c.is_ascii_digit());
        let hash = word.len() >= 8
            && word.chars().all(|c| c.is_ascii_hexdigit())
            && word.chars().any(|c| c.is_ascii_digit());
        if !word.is_empty() && (digits || hash) {
            out.push('*');
        } else {
            out.push_str(&word);
        }
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

/// Characters that both begin with and both end with.
fn likeness(a: &str, b: &str) -> usize {
    let common = |pairs: &mut dyn Iterator<Item = (char, char)>| {
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    };
    common(&mut a.chars().zip(b.chars())) + common(&mut a.chars().rev().zip(b.chars().rev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_files_are_told_together_and_the_likest_first() {
        let paths = [
            "README.md",
            "cola/test-00000-of-00001.parquet",
            "cola/train-00000-of-00002.parquet",
            "cola/train-00001-of-00002.parquet",
            "data/train-00000-of-05534-b8fc5348cbe605a5.parquet",
        ];
        let patterns = ["*.md".to_owned(), "cola/trian-*.parquet".to_owned()];
        let (pattern, like) = unmatched(&patterns, &paths).unwrap();
        assert_eq!(pattern, "cola/trian-*.parquet");
        assert_eq!(
            like,
            "`cola/train-*-of-*.parquet` (2 files), `cola/test-*-of-*.parquet`, `data/train-*-of-*-*.parquet`, `README.md`"
        );
        assert!(unmatched(&patterns[..1], &paths).is_none());
    }
}
