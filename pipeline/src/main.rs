//! The program `andromeda`: arguments become a command, the command runs, an error is printed once with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use andromeda_pipeline::{cli::Cli, commands, exit};
use clap::Parser;

fn main() -> ExitCode {
    match commands::run(Cli::parse().command) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
            ExitCode::from(exit::code(&error))
        }
    }
}
