//! `andromeda export`.

use std::path::Path;

use andromeda_format::{Build, Split, TokenWidth};

use super::{Interruption, grouped, megabytes, print, print_json, say, table};
use crate::cli::{ExportArgs, ExportTo, SplitName};
use crate::export::{ExportError, ExportOptions, Target, export};

pub(super) fn run(folder: &Path, args: ExportArgs, as_json: bool) -> anyhow::Result<()> {
    let build = Build::open(folder)?;
    let options = ExportOptions {
        target: match args.to {
            ExportTo::Nanogpt => Target::Nanogpt,
            ExportTo::Megatron => Target::Megatron,
            ExportTo::Mds => Target::Mds,
            ExportTo::Parquet => Target::Parquet,
            ExportTo::Jsonl => Target::Jsonl,
        },
        out: args.out,
        splits: args.split.into_iter().map(Split::from).collect(),
        length: args.length,
        level: args.zstd,
        strict: args.strict,
    };
    let interruption = Interruption::listen()?;
    let exported = match export(&build, &options, &interruption.stop) {
        Err(ExportError::Interrupted) => return Err(interruption.interrupted().into()),
        other => other?,
    };
    for lost in &exported.lost {
        say(format!("warning: lost is {lost}"));
    }
    if as_json {
        return print_json(&exported);
    }
    let bytes: u64 = exported.files.iter().map(|file| file.bytes).sum();
    let rows: Vec<Vec<String>> = exported
        .splits
        .iter()
        .map(|(split, counts)| {
            let name = split.name().to_owned();
            vec![name, grouped(counts.documents), grouped(counts.tokens)]
        })
        .collect();
    print(table(&["split", "documents", "tokens"], &rows))?;
    print(format!(
        "{}: {} files, {}, of root {}",
        options.out.display(),
        exported.files.len() + 1,
        megabytes(bytes),
        exported.root
    ))?;
    match (options.target, exported.token_width) {
        (Target::Nanogpt, TokenWidth::U32) => print(
            "ids are u32, since the vocabulary has more than 65,536: nanoGPT's train.py says np.uint16 where it opens the files",
        ),
        (Target::Megatron, TokenWidth::U32) => print("ids are i32, as the index says"),
        (_, TokenWidth::U16) => print("ids are u16"),
        (_, TokenWidth::U32) => print("ids are u32"),
    }
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Val => Self::Val,
            SplitName::Test => Self::Test,
        }
    }
}
