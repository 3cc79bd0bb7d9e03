//! `andromeda import`.

use andromeda_format::Split;
use serde_json::json;

use super::{Interruption, grouped, print, print_json, say, table};
use crate::cli::{IdTypeName, ImportArgs, ImportFrom};
use crate::import::{IdType, ImportError, ImportOptions, Origin, import};
use crate::recipe::ShardOptions;

pub(super) fn run(args: ImportArgs, as_json: bool) -> anyhow::Result<()> {
    let mut shard = ShardOptions::default();
    if let Some(tokens) = args.shard_tokens {
        shard.tokens = tokens;
    }
    let options = ImportOptions {
        from: match args.from {
            ImportFrom::Nanogpt => Origin::Nanogpt,
            ImportFrom::Megatron => Origin::Megatron,
            ImportFrom::Datatrove => Origin::Datatrove,
        },
        files: args.files,
        tokenizer: args.tokenizer,
        end_of_text: args.end_of_text,
        kind: args.dtype.map(|name| match name {
            IdTypeName::U16 => IdType::U16,
            IdTypeName::U32 => IdType::U32,
        }),
        split: args.split.map(Split::from),
        licence: args.licence,
        shard,
        out: args.out,
    };
    let interruption = Interruption::listen()?;
    let imported = match import(&options, &interruption.stop) {
        Err(ImportError::Interrupted) => return Err(interruption.interrupted().into()),
        other => other?,
    };
    let manifest = &imported.manifest;
    if as_json {
        return print_json(&json!({
            "folder": options.out, "root": manifest.root, "splits": manifest.splits, "ends_of_text_added": imported.ended,
            "empty_documents_left_out": imported.empty,
        }));
    }
    if imported.ended > 0 {
        say(format!(
            "{} documents did not end with {}, and were given it",
            grouped(imported.ended),
            manifest.tokenizer.end_of_text.token
        ));
    }
    if imported.empty > 0 {
        say(format!(
            "{} documents had no tokens and were left out",
            grouped(imported.empty)
        ));
    }
    let rows: Vec<Vec<String>> = manifest
        .splits
        .iter()
        .map(|(split, entry)| {
            vec![
                split.name().to_owned(),
                grouped(entry.documents),
                grouped(entry.tokens),
                grouped(entry.shards.len() as u64),
            ]
        })
        .collect();
    print(table(&["split", "documents", "tokens", "shards"], &rows))?;
    print(format!("{}  root {}", options.out.display(), manifest.root))
}
