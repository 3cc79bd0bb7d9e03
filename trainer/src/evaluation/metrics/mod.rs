//! What an evaluation is reported in, one metric a file, each equal to a reference implementation that others report with
//! (`trainer/oracle/metrics.py` runs those; its numbers are committed beside it).
//!
//! All are functions of whole corpora: sums and counts in double precision, never averages of averages. Every one is total: where
//! a quantity is not defined (nothing to count, no variance), the value is the one that the reference gives, or none.

mod bleu;
mod bootstrap;
mod choice;
mod correlation;
mod expected;
mod f1;
mod matthews;
mod mean;
mod pass_at_k;
mod perplexity;
mod squad;

pub use bleu::{Bleu, bleu};
pub use bootstrap::bootstrap;
pub use choice::{likeliest, likeliest_by_bytes, likeliest_by_characters};
pub use correlation::{pearson, spearman};
pub use expected::expected_value;
pub use f1::{binary_f1, macro_f1};
pub use matthews::matthews;
pub use mean::Mean;
pub use pass_at_k::pass_at_k;
pub use perplexity::Perplexity;
pub use squad::{exact_match, normalized, token_f1};

/// White space as Python's `str.split` and `str.strip` have it, by which the references cut: Unicode's and four separators of ASCII.
pub(crate) const fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}
