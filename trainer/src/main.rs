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
    let command = Cli::parse().command;
    if let Command::Sandbox = command {
        return execute::sandbox();
    }
    match done(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if nobody listens any more.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn done(command: Command) -> Result<()> {
    // With several workers here each has a part of the processors, as the first of them says.
    let several = match &command {
        Command::Run(arguments) => arguments.workers.workers.is_some(),
        Command::Resume(arguments) => arguments.workers.workers.is_some(),
        _ => false,
    };
    if !several {
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
        // It is no command for people.
        Command::Sandbox => Ok(()),
    }
}
