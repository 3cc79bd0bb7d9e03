//! `andromeda-train import`: a folder of `transformers` as a run.

use andromeda_trainer::error::Result;
use andromeda_trainer::import;
use andromeda_trainer::run::Run;

use super::folder_of;
use crate::cli::ImportArgs;
use crate::render;

pub(crate) fn import(arguments: &ImportArgs) -> Result<()> {
    let run = Run::lock(&folder_of(&arguments.runs, &arguments.run)?)?;
    let imported = import::import(&arguments.from, &run, arguments.end_of_text.as_deref())?;
    if arguments.json {
        return render::json(&imported);
    }
    render::talk(&format!(
        "{} with {} parameters as {}\nhint: `andromeda-train sample {}` goes on with it, `andromeda-train run --from {}` trains it further",
        imported.class,
        imported.parameters,
        imported.checkpoint.display(),
        arguments.run,
        arguments.run,
    ));
    Ok(())
}
