//! The binary: words and configuration in, exit code out.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;
use reference_service::{
    cli::{Cli, Command},
    commands,
    config::{Config, Inputs, LogConfig, LogFormat},
    failure::{Failure, USAGE},
    http::openapi,
};
use tokio::runtime;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.into_command(),
        Err(error) => {
            // Help and version come this way as well: they go to stdout and are no failure.
            let failed = error.use_stderr();
            let _ = error.print();
            return if failed {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(command) {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {}", failure.message());
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    if let Command::Openapi = command {
        return Ok(print(&openapi::json()));
    }
    let config = Config::load(&Inputs::of_process())?;
    if let Command::Config = command {
        return Ok(print(&config.to_toml()));
    }
    log(&config.log);
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let code = runtime.block_on(async {
        match command {
            Command::Serve(options) => commands::serve(config, options).await,
            Command::Import(options) => commands::import::run(config, options).await,
            Command::Backup(options) => commands::backup(&config, options).await,
            Command::Health(options) => commands::health(&config, options).await,
            Command::Config | Command::Openapi => Ok(ExitCode::SUCCESS),
        }
    });
    // A statement that still runs on a blocking thread must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// A reader that went away (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}

fn log(config: &LogConfig) {
    // It was parsed once when the configuration was checked.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_default();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A log that cannot be written must not end the process: the complaint about it would go
        // to the same broken place and panic there.
        .log_internal_errors(false);
    match config.format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).compact().init(),
    }
}
