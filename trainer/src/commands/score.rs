//! `andromeda-train score`: a task scored on answers that any model gave.

use std::io::{BufWriter, Write};

use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::evaluation::responses::{read_answers, write_requests};
use andromeda_trainer::evaluation::score::{self, Passed};
use andromeda_trainer::evaluation::task::{items, task};

use crate::cli::ScoreArgs;
use crate::render;

pub(crate) fn score(arguments: &ScoreArgs) -> Result<()> {
    let task = task(&arguments.task)?;
    let items = items(&task, &arguments.sets.data, arguments.sets.limit)?;
    if let Some(path) = &arguments.requests {
        let failed = |source| Error::Io {
            what: "writing requests".to_owned(),
            source,
        };
        let mut file = BufWriter::new(fs_err::File::create(path).map_err(failed)?);
        write_requests(&task, &items, &mut file)?;
        return file.flush().map_err(failed);
    }
    let Some(path) = &arguments.responses else {
        return Err(Error::Usage(
            "give answers with --responses, or ask for the questions with --requests".to_owned(),
        ));
    };
    let answers = read_answers(&task, &items, path)?;
    let scored = score::score(&task, &items, &answers, &Passed::new());
    if arguments.json {
        return render::json(&scored);
    }
    render::scores(&[scored], arguments.parts)
}
