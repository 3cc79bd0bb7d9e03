//! The Python package's own tests, where there is an interpreter for it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../python")
}

/// The interpreter that `ANDROMEDA_PYTHON` names, or the machine's, with the package; nothing where it lacks what the package
/// needs, which is said past the test runner's capture.
fn interpreter() -> Option<Command> {
    let python = std::env::var_os("ANDROMEDA_PYTHON").unwrap_or_else(|| "python3".into());
    let command = || {
        let mut command = Command::new(&python);
        command.env("PYTHONPATH", package().join("src"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let import = command().args(["-c", "import andromeda_shards"]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(command());
    }
    let said = "skipped: the Python package, for want of numpy, zstandard and xxhash; ANDROMEDA_PYTHON names an interpreter that has them\n";
    let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
    None
}

#[test]
fn the_packages_own_tests_pass() {
    let Some(mut python) = interpreter() else {
        return;
    };
    let output = python
        .args(["-m", "unittest", "discover", "--start-directory"])
        .arg(package().join("tests"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
