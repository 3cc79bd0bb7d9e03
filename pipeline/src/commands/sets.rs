//! `andromeda rows --of`: evaluation sets by name, as JSON lines where the trainer looks for them.

use std::path::Path;

use serde_json::json;

use super::{Interruption, grouped, megabytes, print, print_json};
use crate::cli::Place;
use crate::execute::sets::{SetRecord, SetState, SetThere, SetsError, SetsPlace, write_sets};
use crate::plan::{SetsOptions, evaluation_sets};
use crate::progress::Progress;
use crate::screen::{JsonLines, Screen, safe};

pub(super) fn run(
    names: &[String],
    out: &Path,
    place: &Place,
    as_json: bool,
) -> anyhow::Result<()> {
    let lock = place.manifests.join("datasets.lock");
    let sets = evaluation_sets(&SetsOptions {
        manifests: place.manifests.clone(),
        names: names.to_vec(),
        work: place.work.clone(),
        lock: lock.clone(),
    })?;
    let screen = Screen::new();
    let progress: &dyn Progress = if as_json { &JsonLines } else { &screen };
    let to = SetsPlace {
        out,
        work: &place.work,
        lock: &lock,
    };
    let interruption = Interruption::listen()?;
    let mut shown = Ok(());
    let written = write_sets(&sets, to, progress, &interruption.stop, &mut |there| {
        screen.clear();
        if shown.is_ok() {
            shown = if as_json {
                print_json(&value(there))
            } else {
                print(safe(&line(there)))
            };
        }
    });
    screen.clear();
    match written {
        Err(SetsError::Build(error)) => Err(interruption.name(error)),
        Err(error) => Err(error.into()),
        Ok(()) => shown,
    }
}

fn value(there: &SetThere) -> serde_json::Value {
    let (state, record) = match &there.state {
        SetState::Written(record) => ("written", Some(record)),
        SetState::Kept(record) => ("kept", Some(record)),
        SetState::Foreign => ("foreign", None),
    };
    json!({
        "set": there.name, "folder": there.folder, "state": state, "rows": record.map(SetRecord::rows),
        "source": record.map(|of| &of.source), "revision": record.map(|of| &of.revision),
        "licence": record.map(|of| &of.licence), "licence_note": record.and_then(|of| of.licence_note.as_ref()),
        "files": record.map(|of| &of.files),
    })
}

fn line(there: &SetThere) -> String {
    let folder = there.folder.display();
    let (record, before) = match &there.state {
        SetState::Written(record) => (record, ""),
        SetState::Kept(record) => (record, ", there before: every byte is as it was written"),
        SetState::Foreign => {
            return format!(
                "{folder}: left as it is: something else than `andromeda rows --of` filled it; move it away to have {} there",
                there.name
            );
        }
    };
    let bytes = record.files.iter().map(|file| file.bytes).sum();
    let note = record.licence_note.as_ref();
    let note = note.map_or_else(String::new, |note| format!(" ({note})"));
    format!(
        "{folder}: {} rows of {} files, {}{before}; licence: {}{note}",
        grouped(record.rows()),
        record.files.len(),
        megabytes(bytes),
        record.licence
    )
}
