//! Entry point of `loadgen`.

use std::process::ExitCode;

use loadgen::{Stop, cli};

fn main() -> ExitCode {
    let stop = Stop::new();
    if let Err(error) = stop.on_signals() {
        eprintln!("loadgen: no signals: {error}");
        return ExitCode::from(2);
    }
    ExitCode::from(cli::main("loadgen", std::env::args_os().skip(1), &stop))
}
