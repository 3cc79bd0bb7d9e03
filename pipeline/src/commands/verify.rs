//! `andromeda verify`.

use std::path::Path;

use andromeda_format::{VerifyEvent, verify};
use serde_json::json;

use super::{grouped, megabytes, print, print_json, say};
use crate::exit;

pub(super) fn run(folder: &Path, as_json: bool) -> anyhow::Result<()> {
    let report = verify(folder, &mut |event| {
        if let (VerifyEvent::Fault { file, fault }, false) = (&event, as_json) {
            say(format!("{}: {fault}", folder.join(file).display()));
        }
    })?;
    if as_json {
        print_json(&json!({
            "folder": folder, "root": report.root, "files": report.files, "bytes": report.bytes, "tokens": report.tokens,
            "faults": report.faults.iter().map(|(file, fault)| json!({"file": file, "fault": fault})).collect::<Vec<_>>(),
        }))?;
    } else if report.faults.is_empty() {
        print(format!(
            "{}: {} files, {}, {} tokens: every byte is what the manifest says\nroot {}",
            folder.display(),
            grouped(report.files),
            megabytes(report.bytes),
            grouped(report.tokens),
            report.root
        ))?;
    }
    if report.faults.is_empty() {
        Ok(())
    } else {
        say(format!(
            "error: {} fault(s) in {}\n  hint: restore the named files, or remove the folder and build again (intermediates are reused)",
            report.faults.len(),
            folder.display()
        ));
        std::process::exit(i32::from(exit::INTEGRITY))
    }
}
