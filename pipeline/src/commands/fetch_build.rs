//! `andromeda fetch-build`.

use serde_json::json;

use super::{Interruption, grouped, megabytes, print, print_json, say};
use crate::cli::{FetchBuildArgs, Place};
use crate::fetch::{CopyError, CopyOptions, HubOptions, Web, copy};
use crate::progress::Progress;
use crate::screen::{JsonLines, Screen};

pub(super) fn run(args: FetchBuildArgs, place: &Place, as_json: bool) -> anyhow::Result<()> {
    let screen = Screen::new();
    let progress: &dyn Progress = if as_json { &JsonLines } else { &screen };
    let options = CopyOptions {
        address: args.address,
        shards: place.shards.clone(),
        name: args.name,
        root: args.root,
    };
    let web = Web::from_env(&place.work)?;
    let interruption = Interruption::listen()?;
    let copied = copy(
        &options,
        &web,
        &HubOptions::from_env()?,
        progress,
        &interruption.stop,
    );
    screen.clear();
    let copied = match copied {
        Err(CopyError::Interrupted) => return Err(interruption.interrupted().into()),
        other => other?,
    };
    let manifest = copied.build.manifest();
    if as_json {
        return print_json(&json!({
            "folder": copied.folder, "root": manifest.root, "name": manifest.name, "files": copied.files,
            "bytes": copied.bytes, "bytes_there": copied.bytes_there,
        }));
    }
    say(format!(
        "{} files, {}, {} of them there before: every byte is what the manifest says\nroot {}",
        grouped(copied.files),
        megabytes(copied.bytes),
        megabytes(copied.bytes_there),
        manifest.root
    ));
    print(copied.folder.display())
}
