//! Entry point of the program behind `cargo xtask bench`: reads the arguments, runs one command, tells how it ended.

mod baseline;
mod build;
mod calibrate;
mod child;
mod cli;
mod compare;
mod doctor;
mod environment;
mod instructions;
mod list;
mod load;
mod progress;
mod report;
mod screen;
mod seed;
mod sequence;
mod session;
mod show;
mod stdout;
mod suites;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::{Command, Invocation, Known};
use crate::session::{Exit, Session};

fn main() -> ExitCode {
    match run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Failed.into()
        }
    }
}

fn run() -> anyhow::Result<Exit> {
    let root = repository();
    let known = Known {
        suites: list::services()
            .map(|suite| suite.name.to_owned())
            .collect(),
        micro: list::micro(&root),
    };
    let Invocation { options, command } = match cli::parse(std::env::args_os().skip(1), &known) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("error: {error:#}\n\n{}", cli::USAGE);
            return Ok(Exit::Usage);
        }
    };
    // These need no folder for reports.
    match command {
        Command::Help => {
            stdout::print(&format!("{}\n", cli::USAGE))?;
            return Ok(Exit::Fine);
        }
        Command::List => return list::run(&root, &session::target(&root)),
        _ => {}
    }
    let stop = loadgen::Stop::new();
    stop.on_signals().context("cannot listen for Ctrl-C")?;
    let session = Session {
        budget: options.budget,
        seed: options.seed,
        pin: options.pin,
        ..Session::new(root, options.out, stop)?
    };
    let exit = match command {
        Command::Run(names) => sequence::run(&session, &names, options.metrics),
        Command::Load(args) => load::run(&session, &args),
        Command::Compare(asked) => compare::run(&session, &asked),
        Command::Calibrate(asked) => calibrate::run(&session, &asked),
        Command::BaselineSave(name) => baseline::save(&session, &name),
        Command::BaselineList => baseline::list(&session),
        Command::Report(file) => show::run(&session, file.as_deref()),
        Command::Doctor => doctor::run(&session),
        Command::Help | Command::List => Ok(Exit::Fine),
    };
    match exit {
        Err(error) if session.stop.is_stopped() => {
            eprintln!("interrupted: {error:#}");
            Ok(Exit::Interrupted)
        }
        exit => exit,
    }
}

/// The folder of the repository, from the place where this program was built.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(3).unwrap_or(here).to_owned()
}
