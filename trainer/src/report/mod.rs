//! The report of one run or of several: a page for people, drawn from what the runs' folders hold.

mod charts;
mod page;
mod read;

pub use page::page;
pub use read::ReportedRun;
