//! `andromeda gc`.

use std::collections::BTreeSet;

use serde_json::json;

use super::{grouped, megabytes, print, print_json};
use crate::cli::Place;
use crate::digest::Digest;
use crate::execute::Note;
use crate::execute::store::Store;

pub(super) fn run(place: &Place, all: bool, yes: bool, as_json: bool) -> anyhow::Result<()> {
    // Before anything is looked at: a build that ended in between would lose what it stands on.
    let store = if place.work.exists() {
        Some(Store::open(&place.work)?)
    } else {
        None
    };
    let mut used: BTreeSet<(String, Digest)> = BTreeSet::new();
    let notes = place.work.join("builds");
    let mut stale = Vec::new();
    for entry in fs_err::read_dir(&notes)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        let path = entry.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if all || !place.shards.join(&name).join("manifest.json").is_file() {
            stale.push(path);
            continue;
        }
        used.extend(Note::read(&path)?.used);
    }
    let (mut files, mut bytes) = (0u64, 0u64);
    if let Some(store) = &store {
        for (path, stage) in store.objects()? {
            let key = path
                .file_stem()
                .and_then(|stem| serde_json::from_value::<Digest>(stem.to_str()?.into()).ok());
            if key.is_some_and(|key| used.contains(&(stage, key))) {
                continue;
            }
            files += 1;
            bytes += fs_err::metadata(&path)?.len();
            if yes {
                fs_err::remove_file(&path)?;
            }
        }
        if yes {
            stale.iter().try_for_each(fs_err::remove_file)?;
        }
    }
    if as_json {
        return print_json(&json!({ "files": files, "bytes": bytes, "removed": yes }));
    }
    let verb = if yes { "removed" } else { "would remove" };
    print(format!(
        "{verb} {} files, {}, from {}",
        grouped(files),
        megabytes(bytes),
        place.work.display()
    ))?;
    if !yes && files > 0 {
        print("nothing was touched; --yes does it")?;
    }
    Ok(())
}
