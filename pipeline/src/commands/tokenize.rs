//! `andromeda tokenize`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::build::rates;
use super::texts::{self, Fields};
use super::{Interruption, find_tokenizer, grouped, memory, print, print_json, say, threads};
use crate::cli::{Limits, Place, TokenizeArgs};
use crate::execute::{self, BuildError, BuildOptions};
use crate::exit::Usage;
use crate::normalize::Normalize;
use crate::plan::{self, FilesOptions, ToTokens};
use crate::recipe::{
    DedupOptions, Recipe, RejectOptions, ShardOptions, SplitOptions, TokenizeOptions,
};
use crate::screen::{JsonLines, Screen, safe};
use crate::tokenize::Tokenizer;

pub(super) fn run(
    inputs: Vec<PathBuf>,
    args: TokenizeArgs,
    limits: &Limits,
    place: &Place,
    as_json: bool,
) -> anyhow::Result<()> {
    let (tokenizer, pinned) = find_tokenizer(&args.tokenizer, place)?;
    match (&args.ids, &args.out) {
        (Some(file), _) => ids(&inputs, &args, &tokenizer, file),
        (None, Some(out)) => {
            let out = out.clone();
            build(
                inputs, args, tokenizer, pinned, &out, limits, place, as_json,
            )
        }
        (None, None) => Err(Usage("name a folder with --out, or ask for --ids".to_owned()).into()),
    }
}

/// A build by the stages of any other, in which nothing is judged, repaired or compared.
#[expect(clippy::too_many_arguments, reason = "the parts of one command line")]
fn build(
    inputs: Vec<PathBuf>,
    args: TokenizeArgs,
    tokenizer: PathBuf,
    pinned: String,
    out: &Path,
    limits: &Limits,
    place: &Place,
    as_json: bool,
) -> anyhow::Result<()> {
    let name = out.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Usage(format!("{} is no name for a folder", out.display())))?;
    if args.val + args.test >= 1.0 {
        return Err(Usage("--val and --test leave nothing to train on".to_owned()).into());
    }
    let default = ShardOptions::default();
    let recipe = Recipe {
        seed: args.seed,
        normalize: Normalize {
            line_ends: false,
            control_characters: false,
            byte_order_marks: false,
            nfc: false,
        },
        dedup: DedupOptions {
            exact: false,
            index: false,
            ..DedupOptions::default()
        },
        tokenize: TokenizeOptions {
            tokenizer: pinned,
            end_of_text: args.end_of_text,
        },
        split: SplitOptions {
            val: args.val,
            test: args.test,
        },
        shard: ShardOptions {
            tokens: args.shard_tokens,
            // A shard has at least one frame.
            frame_tokens: u32::try_from(args.shard_tokens).map_or(default.frame_tokens, |tokens| {
                tokens.min(default.frame_tokens)
            }),
            ..default
        },
        rejects: RejectOptions {
            samples: 0,
            ..RejectOptions::default()
        },
        ..Recipe::default()
    };
    let plan = plan::to_tokens(
        &FilesOptions {
            inputs,
            recipe,
            recipe_name: "the command line".to_owned(),
            text: args.fields.text,
            url: None,
            known_again: true,
        },
        &ToTokens {
            tokenizer,
            name: name.to_owned(),
            dataset: args.name,
            digests: place.work.join("digests.json"),
        },
    )?;
    let options = BuildOptions {
        work: place.work.clone(),
        shards: out.parent().map(Path::to_path_buf).unwrap_or_default(),
        lock: place.manifests.join("datasets.lock"),
        threads: threads(limits),
        memory_bytes: memory(limits),
        skip_bad_files: false,
    };
    let interruption = Interruption::listen()?;
    let built = if as_json {
        execute::build(&plan, &options, &JsonLines, &interruption.stop)
    } else {
        let screen = Screen::new();
        let built = execute::build(&plan, &options, &screen, &interruption.stop);
        screen.clear();
        built
    };
    let built = match built {
        Err(BuildError::BadFiles(faults)) => {
            for fault in &faults {
                say(safe(&format!("{}: {}", fault.file, fault.message)));
            }
            return Err(BuildError::BadFiles(faults).into());
        }
        other => other.map_err(|error| interruption.name(error))?,
    };
    let manifest = &built.manifest;
    let tokens: u64 = manifest.splits.values().map(|split| split.tokens).sum();
    if as_json {
        return print_json(&json!({
            "folder": built.folder, "root": manifest.root, "was_there": built.was_there, "funnel": manifest.funnel,
            "tokens": tokens, "rates": built.rates,
        }));
    }
    if built.was_there {
        say(format!(
            "{} is there and complete: nothing to do",
            built.folder.display()
        ));
    } else {
        say(format!(
            "{} documents, {} tokens with {}",
            grouped(manifest.funnel.kept.documents),
            grouped(tokens),
            safe(&args.tokenizer)
        ));
        for (reason, count) in &manifest.funnel.quarantined {
            say(safe(&format!(
                "{} rows have no document: {reason}",
                grouped(count.documents)
            )));
        }
        say(rates(&built.rates));
    }
    print(built.folder.display())
}

/// Ids of each row, without an end of text.
fn ids(
    inputs: &[PathBuf],
    args: &TokenizeArgs,
    tokenizer: &Path,
    file: &Path,
) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::load(tokenizer, args.end_of_text.as_deref())?;
    let fields = Fields {
        id: &args.fields.id,
        text: &args.fields.text,
        other: None,
    };
    let mut out = match file == Path::new("-") {
        true => None,
        false => Some(std::io::BufWriter::new(fs_err::File::create(file)?)),
    };
    let (mut documents, mut tokens, mut refused) = (0u64, 0u64, 0u64);
    let mut ids = Vec::new();
    texts::each(inputs, &fields, &mut |row| {
        ids.clear();
        let mut line = json!({ "id": row.id });
        match tokenizer.encode(&row.text, &mut ids) {
            Ok(()) => line["ids"] = json!(ids),
            Err(error) => {
                refused += 1;
                line["error"] = json!(error.to_string());
            }
        }
        documents += 1;
        tokens += ids.len() as u64;
        match &mut out {
            Some(out) => Ok(writeln!(out, "{line}")?),
            None => print(line),
        }
    })?;
    if let Some(mut out) = out {
        out.flush()?;
        say(format!(
            "{} documents, {} tokens in {}",
            grouped(documents),
            grouped(tokens),
            file.display()
        ));
    }
    if refused > 0 {
        say(format!(
            "{} texts could not be encoded: their lines say why",
            grouped(refused)
        ));
    }
    Ok(())
}
