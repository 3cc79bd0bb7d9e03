//! The program `andromeda`: arguments become a command, the command runs, an error is printed once with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use andromeda_pipeline::{cli::Cli, commands, exit, screen};
use clap::Parser;

fn main() -> ExitCode {
    match commands::run(Cli::parse().command) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            let text = screen::safe(&format!("error: {}", exit::told(&error)));
            let _ = writeln!(std::io::stderr().lock(), "{text}");
            ExitCode::from(exit::code(&error))
        }
    }
}
