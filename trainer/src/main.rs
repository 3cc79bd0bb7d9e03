//! `andromeda-train`: arguments become a command, a command runs, an error is printed once and becomes an exit code.

mod cli;
mod commands;
mod render;

use std::io::Write;
use std::process::ExitCode;

use andromeda_trainer::error::Result;
use andromeda_trainer::evaluation::execute;
use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    match done(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Nothing can be done if nobody listens any more.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn done(command: Command) -> Result<ExitCode> {
    let threads_here = match &command {
        // With several workers here each has a part of the processors, as the first of them says.
        Command::Run(arguments) => arguments.workers.workers.is_none(),
        Command::Resume(arguments) => arguments.workers.workers.is_none(),
        // It is a process of one thread.
        Command::Sandbox => false,
        _ => true,
    };
    if threads_here {
        commands::threads::begin(None)?;
    }
    match command {
        Command::Plan(arguments) => commands::plan::plan(&arguments),
        Command::LrFind(arguments) => commands::lr_find::lr_find(&arguments),
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Strategy(arguments) => commands::strategy::strategy(&arguments),
        Command::Resume(arguments) => commands::resume::resume(&arguments),
        Command::Bench(arguments) => commands::bench::bench(&arguments),
        Command::Eval(arguments) => commands::eval::eval(&arguments),
        Command::Trace(arguments) => commands::trace::trace(&arguments),
        Command::Report(arguments) => commands::report::report(&arguments),
        Command::Compare(arguments) => commands::compare::compare(&arguments),
        Command::Sweep(arguments) => commands::sweep::sweep(&arguments),
        Command::Ablate(arguments) => commands::ablate::ablate(&arguments),
        Command::Sample(arguments) => commands::sample::sample(&arguments),
        Command::Chat(arguments) => commands::chat::chat(&arguments),
        Command::Export(arguments) => commands::export::export(&arguments),
        Command::Import(arguments) => commands::import::import(&arguments),
        Command::Tasks(arguments) => commands::tasks::tasks(&arguments),
        Command::Evaluate(arguments) => commands::evaluate::evaluate(&arguments),
        Command::Score(arguments) => commands::score::score(&arguments),
        Command::Sandbox => return Ok(execute::sandbox()),
    }?;
    Ok(ExitCode::SUCCESS)
}
