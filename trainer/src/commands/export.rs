//! `andromeda-train export`: a checkpoint as other programs read it.

use andromeda_trainer::error::Result;
use andromeda_trainer::export::{self, ExportOptions, Precision, Target};

use super::{at_step, existing};
use crate::cli::{ExportArgs, PrecisionArg, TargetArg};
use crate::render;

pub(crate) fn export(arguments: &ExportArgs) -> Result<()> {
    let folder = existing(&arguments.runs, &arguments.run)?;
    let (checkpoint, state) = at_step(&folder, arguments.step)?;
    let options = ExportOptions {
        target: match arguments.to {
            TargetArg::Transformers => Target::Transformers,
            TargetArg::Gguf => Target::Gguf,
        },
        precision: match arguments.dtype {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Bf16 => Precision::Bf16,
        },
        average: arguments.ema,
    };
    let exported = export::export(&folder, &checkpoint, &state, options, &arguments.out)?;
    if arguments.json {
        return render::json(&exported);
    }
    render::talk(&format!(
        "step {} as {} in {}",
        exported.step,
        exported.class,
        exported.folder.display()
    ));
    // As `sha256sum` writes it, so that its `--check` reads it.
    for file in &exported.files {
        let path = exported.folder.join(&file.path);
        render::line(&format!("{}  {}", file.sha256, path.display()))?;
    }
    Ok(())
}
