//! Which interpreter runs programs, and what must be seen for it to run.

use std::path::Path;
use std::process::{Command, Stdio};

use super::job::{Interpreter, Missing};

const PROBE: &str = include_str!("probe.py");

/// The interpreter that `python` starts, which may be a link, a script that finds it, or of an environment.
///
/// # Errors
/// It cannot be started, or is no Python 3.
pub(super) fn find(python: &Path) -> Result<Interpreter, Missing> {
    let first = probe(python)?;
    // What it finds its library by is its own path, which is another one for a link.
    probe(&first.executable)
}

fn probe(python: &Path) -> Result<Interpreter, Missing> {
    let missing = |problem: String| Missing {
        layer: "a Python 3 interpreter".to_owned(),
        problem: format!("{}: {problem}", python.display()),
        hint: "install python3, or name an interpreter with --python PATH".to_owned(),
    };
    let output = Command::new(python)
        .args(["-B", "-E", "-s", "-S", "-c", PROBE])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(error.to_string()))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        missing(format!(
            "it does not say what it is ({}) {}",
            output.status,
            said.trim()
        ))
    })
}
