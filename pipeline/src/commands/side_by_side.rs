//! Two texts in two columns, so that what differs is seen.

use crate::screen::safe;

/// Characters of a column.
const WIDTH: usize = 58;

/// The first `characters` characters of two texts beside each other, each under its title. Lines of the two that differ are
/// marked with `|`.
pub(super) fn side_by_side(
    left: &(String, String),
    right: &(String, String),
    characters: usize,
) -> String {
    // Where the two begin to differ is what one wants to see: a long common beginning is passed over.
    let common = left
        .1
        .chars()
        .zip(right.1.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let skipped = match common > characters / 2 && left.1 != right.1 {
        true => common - characters / 4,
        false => 0,
    };
    let mut rows = vec![
        (wrapped(&left.0, usize::MAX), wrapped(&right.0, usize::MAX)),
        (vec!["-".repeat(WIDTH)], vec!["-".repeat(WIDTH)]),
    ];
    if skipped > 0 {
        let note = vec![format!("({skipped} equal characters before)")];
        rows.push((note.clone(), note));
    }
    let part = |text: &str| -> String { text.chars().skip(skipped).take(characters).collect() };
    rows.push((wrapped(&part(&left.1), 24), wrapped(&part(&right.1), 24)));
    let mut out = String::new();
    for (left, right) in rows {
        for at in 0..left.len().max(right.len()) {
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let (left, right) = (line(&left), line(&right));
            let mark = if left == right { ' ' } else { '|' };
            let pad = WIDTH - left.chars().count().min(WIDTH);
            out.push_str(format!("  {left}{} {mark} {right}", " ".repeat(pad)).trim_end());
            out.push('\n');
        }
    }
    out
}

/// Lines of at most [`WIDTH`] characters, at most so many of them.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let shown: Vec<char> = safe(line).replace('\t', "    ").chars().collect();
        if shown.is_empty() {
            lines.push(String::new());
        }
        lines.extend(shown.chunks(WIDTH).map(|chunk| chunk.iter().collect()));
    }
    lines.truncate(most);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_are_marked_and_equal_beginnings_passed_over() {
        let left = ("kept".to_owned(), "one\ntwo\nthree".to_owned());
        let right = ("near".to_owned(), "one\n2\nthree\nfour".to_owned());
        let shown = side_by_side(&left, &right, 100);
        let marked: Vec<&str> = shown.lines().filter(|line| line.contains('|')).collect();
        assert_eq!(
            marked.len(),
            3,
            "titles, the second line and the fourth: {shown}"
        );
        let long = "x".repeat(500);
        let left = ("a".to_owned(), format!("{long}y"));
        let right = ("b".to_owned(), format!("{long}z"));
        let shown = side_by_side(&left, &right, 100);
        assert!(shown.contains("(475 equal characters before)"), "{shown}");
        assert!(side_by_side(&left, &left, 0).lines().count() >= 2);
    }
}
