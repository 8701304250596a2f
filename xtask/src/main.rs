//! Entry point of `cargo xtask`: reads the arguments, runs one command and turns its outcome into an exit code.

mod args;
mod bench;
mod build;
mod ci;
mod install;
mod process;
mod services;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::args::Command;
use crate::workspace::Workspace;

/// Wrong use of the command line, as in sysexits.h.
const EXIT_USAGE: u8 = 64;
/// What a shell reports for a command that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\n{}", args::USAGE);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if process::interrupted() {
                ExitCode::from(EXIT_INTERRUPTED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    if matches!(command, Command::Help) {
        println!("{}", args::USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    process::watch_signals()?;
    let workspace = Workspace::load()?;
    match command {
        Command::Help => Ok(()),
        // The only one whose outcome is more than well or not.
        Command::Bench(args) => return bench::run(&workspace, args),
        Command::Services { action, backend } => services::run(&workspace, *action, *backend),
        Command::Test(options) => test::run(&workspace, options),
        Command::Build => build::run(&workspace),
        Command::Tidy => tidy::run(&workspace),
        Command::Ci { full, skip_test } => ci::run(&workspace, *full, *skip_test),
    }?;
    Ok(ExitCode::SUCCESS)
}
