//! `FineWeb`'s own quality rules (Penedo et al. 2024, arXiv 2406.17557, section 3.6): lines that end a sentence,
//! short lines, repeated lines, and lists.
//!
//! Source: `huggingface/datatrove` 0.10, `pipeline/filters/fineweb_quality_filter.py`, with its defaults. Lines
//! stand between `\n` and are not blank; a space after the mark hides it, and so does a quotation mark.

use serde::{Deserialize, Serialize};

use super::verdict::{above, below};
use super::{Filter, FilterError, Reason, Verdict, check_thresholds};
use crate::analysis::{Analysis, Fraction, SHORT_LINE_CHARACTERS, TokenKind};

/// Thresholds. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FinewebOptions {
    /// What words are: tokens of `english`, or of `unicode` for other languages.
    pub tokens: TokenKind,
    /// Lines that end a sentence, of all, at least.
    pub min_terminal_line_fraction: f64,
    /// Whether documents in which no line does are spared.
    pub keep_without_terminal_lines: bool,
    /// Short lines, of all, at most; not asked where absent.
    pub max_short_line_fraction: Option<f64>,
    /// Characters up to which a line is short.
    pub short_line_characters: u64,
    /// Characters of lines that stood before, of all but line ends, at most.
    pub max_duplicate_line_character_fraction: f64,
    /// Line ends a token at most.
    pub max_line_break_token_fraction: f64,
}

impl Default for FinewebOptions {
    fn default() -> Self {
        Self {
            tokens: TokenKind::English,
            min_terminal_line_fraction: 0.12,
            keep_without_terminal_lines: false,
            max_short_line_fraction: Some(0.67),
            short_line_characters: SHORT_LINE_CHARACTERS,
            max_duplicate_line_character_fraction: 0.01,
            max_line_break_token_fraction: 0.3,
        }
    }
}

impl FinewebOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        let thresholds = [
            (
                "min-terminal-line-fraction",
                self.min_terminal_line_fraction,
            ),
            (
                "max-short-line-fraction",
                self.max_short_line_fraction.unwrap_or(0.0),
            ),
            (
                "max-duplicate-line-character-fraction",
                self.max_duplicate_line_character_fraction,
            ),
            (
                "max-line-break-token-fraction",
                self.max_line_break_token_fraction,
            ),
        ];
        check_thresholds("fineweb", &thresholds, errors);
    }
}

pub(super) struct Fineweb(pub(super) FinewebOptions);

impl Filter for Fineweb {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.reason(document).into()
    }
}

impl Fineweb {
    fn reason(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        let share = |part, whole| Fraction { part, whole }.value();
        let lines = document.lines().page;
        if lines.count == 0 {
            return Some(Reason {
                name: "empty",
                measured: None,
            });
        }
        let spared = options.keep_without_terminal_lines && lines.terminal == 0;
        let terminal = share(lines.terminal, lines.count);
        below(
            "fineweb-terminal-lines",
            "fineweb-terminal-line-fraction",
            terminal,
            options.min_terminal_line_fraction,
        )
        .filter(|_| !spared)
        .or_else(|| {
            let short = document.short_lines(options.short_line_characters);
            let value = share(short, lines.count);
            above(
                "fineweb-short-lines",
                "fineweb-short-line-fraction",
                value,
                options.max_short_line_fraction?,
            )
        })
        .or_else(|| {
            let characters = document.character_count() - lines.breaks;
            let value = share(lines.repeated_characters, characters);
            let max = options.max_duplicate_line_character_fraction;
            above(
                "fineweb-dup-line-characters",
                "fineweb-duplicate-line-character-fraction",
                value,
                max,
            )
        })
        .or_else(|| {
            let value = share(lines.breaks, document.token_count(options.tokens));
            let max = options.max_line_break_token_fraction;
            above(
                "fineweb-list",
                "fineweb-line-break-token-fraction",
                value,
                max,
            )
        })
    }
}

#[cfg(test)]
mod tests;
