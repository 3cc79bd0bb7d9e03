//! What a report is made of, read from the folder of a run.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::history::History;
use crate::metrics::{METRICS, SAMPLES, Sample};
use crate::run::read_config;

/// A run as a report sees it.
#[derive(Debug, Clone)]
pub struct ReportedRun {
    /// Its name.
    pub name: String,
    /// What it was configured with.
    pub config: RunConfig,
    /// Its steps and evaluations.
    pub history: History,
    /// Its samples, in order.
    pub samples: Vec<Sample>,
}

impl ReportedRun {
    /// Reads the run in `folder`, which may be going on.
    ///
    /// # Errors
    /// It has no step yet, or a file of it cannot be read.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let history = History::read(folder)?;
        if history.steps.is_empty() {
            return Err(Error::Usage(format!(
                "{} has no step yet: there is nothing to report",
                folder.display()
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            config: read_config(folder)?,
            history,
            samples: samples(folder)?,
        })
    }

    /// Reads the run in `folder`, which may have no step: one that was imported has nothing to draw.
    ///
    /// # Errors
    /// A file of it cannot be read.
    pub fn of_any(folder: &Path, name: &str) -> Result<Self> {
        let history = if folder.join(METRICS).exists() {
            History::read(folder)?
        } else {
            History::default()
        };
        Ok(Self {
            name: name.to_owned(),
            config: read_config(folder)?,
            history,
            samples: samples(folder)?,
        })
    }

    /// Root hash of the build that it was trained on last, where it is known.
    pub fn root(&self) -> Option<&str> {
        self.history.roots.last().map(|(_, root)| root.as_str())
    }
}

/// The samples of a run; none where there is no file of them. Lines that are none, as one that is being written, are left out.
fn samples(folder: &Path) -> Result<Vec<Sample>> {
    let file = match fs_err::File::open(folder.join(SAMPLES)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(Error::io("reading samples"))?,
    };
    let mut samples = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Error::io("reading samples"))?;
        samples.extend(serde_json::from_str::<Sample>(&line).ok());
    }
    Ok(samples)
}
