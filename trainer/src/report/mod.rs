//! The report of one run or of several: a page for people, drawn from what the runs' folders hold. Comparisons and sweeps are pages of
//! the same parts.

mod charts;
mod compare;
mod page;
mod read;
mod sweep;
mod values;

pub use compare::comparison_page;
pub use page::page;
pub use read::ReportedRun;
pub use sweep::sweep_page;
