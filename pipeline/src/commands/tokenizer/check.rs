//! `andromeda tokenizer check`.

use std::path::PathBuf;

use andromeda_format::Build;
use serde_json::json;

use super::super::{build_folder, grouped, print, print_json};
use super::{documents, open};
use crate::cli::WhichTokenizer;
use crate::digest::Digest;
use crate::exit::Mismatch;
use crate::screen::safe;
use crate::tokenize::Tokenizer;

pub(super) fn run(
    which: &WhichTokenizer,
    build: PathBuf,
    most: u64,
    as_json: bool,
) -> anyhow::Result<()> {
    let (tokenizer, name) = open(which)?;
    let folder = build_folder(Some(build), &which.place)?;
    let build = Build::open(&folder)?;
    let entry = &build.manifest().tokenizer;
    let sha256 = Digest(tokenizer.sha256());
    let same_file = sha256.hex() == entry.sha256;
    let (id, token) = tokenizer.end_of_text();
    let mut faults = Vec::new();
    if tokenizer.vocab_size() != entry.vocab_size {
        faults.push(format!(
            "it has {} ids and the build's has {}",
            grouped(u64::from(tokenizer.vocab_size())),
            grouped(u64::from(entry.vocab_size))
        ));
    }
    if (id, token) != (entry.end_of_text.id, entry.end_of_text.token.as_str()) {
        faults.push(format!(
            "its end of text is {token} = {id} and the build's is {} = {}",
            entry.end_of_text.token, entry.end_of_text.id
        ));
    }
    // Of a file that is the same, every id is.
    let (mut compared, mut differ) = (0u64, 0u64);
    if !same_file {
        let own = Tokenizer::load(&folder.join(&entry.file), Some(&entry.end_of_text.token))?;
        let mut ids = Vec::new();
        documents::first(&build, most, &mut |document| {
            ids.clear();
            let text = own.decode(document.ids);
            let encoded = tokenizer.encode(&text, &mut ids);
            compared += 1;
            differ += u64::from(encoded.is_err() || ids != document.ids);
            Ok(())
        })?;
        if differ > 0 {
            faults.push(format!(
                "it gives other ids for {} of {} documents",
                grouped(differ),
                grouped(compared)
            ));
        }
    }
    if as_json {
        print_json(&json!({
            "tokenizer": name, "build": folder, "sha256": sha256, "build_sha256": entry.sha256, "same_file": same_file,
            "documents_compared": compared, "documents_that_differ": differ, "faults": faults, "fits": faults.is_empty(),
        }))?;
    } else if faults.is_empty() {
        print(safe(&match same_file {
            true => format!("{name} is the tokenizer of {}", folder.display()),
            false => format!(
                "{name} is another file than the tokenizer of {}, and gives the same ids for {} of its documents, all that were compared",
                folder.display(),
                grouped(compared)
            ),
        }))?;
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Mismatch(safe(&format!(
            "{name} does not fit {}: {}; a model of that build needs the build's own tokenizer.json, which is in its folder",
            folder.display(),
            faults.join("; ")
        )))
        .into()),
    }
}
