//! `andromeda-train report`: runs as one HTML page.

use std::path::{Path, PathBuf};

use andromeda_trainer::error::Result;
use andromeda_trainer::report::{ReportedRun, page};

use super::{existing, write_page};
use crate::cli::ReportArgs;
use crate::render;

pub(crate) fn report(arguments: &ReportArgs) -> Result<()> {
    let mut runs = Vec::new();
    for name in &arguments.run {
        let folder = existing(&arguments.runs, name)?;
        // The folder's name, whatever was typed for it.
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(name);
        runs.push(ReportedRun::read(&folder, name)?);
    }
    let out = arguments.out.clone().unwrap_or_else(|| place(&runs));
    write_page(&out, &page(&runs)?)?;
    render::line(&out.display().to_string())
}

/// Where a report goes if nobody says.
fn place(runs: &[ReportedRun]) -> PathBuf {
    let name = match runs {
        [first, second] => format!("{}-and-{}", first.name, second.name),
        [first, others @ ..] if !others.is_empty() => {
            format!("{}-and-{}-others", first.name, others.len())
        }
        _ => runs
            .first()
            .map_or_else(String::new, |run| run.name.clone()),
    };
    Path::new("reports").join(format!("{name}.html"))
}
