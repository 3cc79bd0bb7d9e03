//! `andromeda-train score`: a task scored on answers that any model gave.

use std::io::{BufWriter, Write};
use std::slice;

use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::evaluation::execute::{Ran, run_programs};
use andromeda_trainer::evaluation::responses::{read_answers, write_requests};
use andromeda_trainer::evaluation::score::{self, Passed, TaskScore};
use andromeda_trainer::evaluation::task::{items, task};

use serde::Serialize;

use super::{Signals, programs};
use crate::cli::ScoreArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    score: &'a TaskScore,
    #[serde(skip_serializing_if = "Option::is_none")]
    programs: Option<Ran>,
}

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
    let executor = programs::executor(&arguments.execute, slice::from_ref(&arguments.task))?;
    let (passed, ran) = match &executor {
        Some(executor) => {
            let signals = Signals::catch()?;
            let mut told = |_, _| match signals.received() {
                Some(signal) => Err(Error::Ended(signal)),
                None => Ok(()),
            };
            let (passed, ran) = run_programs(executor, &task, &items, &answers, &mut told)?;
            (passed, Some(ran))
        }
        None => (Passed::new(), None),
    };
    let scored = score::score(&task, &items, &answers, &passed);
    if arguments.json {
        return render::json(&Report {
            score: &scored,
            programs: ran,
        });
    }
    render::scores(&[scored], arguments.parts)?;
    ran.map_or(Ok(()), |ran| render::programs(&task.name, &ran))
}
