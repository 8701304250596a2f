//! The command line: `serve` is what happens without a word.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// An agent workbench: tasks and records behind an HTTP API.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do; `serve` when nothing is said.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API until SIGTERM or Ctrl-C
    Serve(Serve),
    /// Insert the records of a file, one JSON object a line
    Import(Import),
    /// Take a copy of the database now, also while a server works on it
    Backup(Backup),
    /// Print the effective configuration as TOML, secrets redacted
    Config,
    /// Ask a running service whether it is ready; exits with 0 or 1
    Health(Health),
    /// Print the OpenAPI document
    Openapi,
}

/// Options of `serve`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Serve {
    /// Fill an empty database with a small sample
    #[arg(long)]
    pub demo: bool,
}

/// Options of `import`.
#[derive(Args, Clone, Debug)]
pub struct Import {
    /// File with one record a line: {"title", "text", "tags", "importance"}
    pub file: PathBuf,
    /// Leave out lines that are no records instead of importing nothing
    #[arg(long)]
    pub skip_bad: bool,
}

/// Options of `backup`.
#[derive(Args, Clone, Debug)]
pub struct Backup {
    /// Folder for the copy; database.backup.folder by default
    #[arg(long)]
    pub to: Option<PathBuf>,
}

/// Options of `health`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Health {
    /// Where the service listens; from the configuration by default
    #[arg(long)]
    pub address: Option<SocketAddr>,
}

impl Cli {
    /// The chosen command; the options of `serve` also work without its name.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

const AFTER_HELP: &str = "Configuration: built-in defaults, then config/default.toml, then the \
file that APP_CONFIG names, then environment variables APP__SECTION__KEY.
Exit codes: 0 fine, 64 usage or configuration, 69 port or database unavailable, 70 internal, \
74 data folder or corrupt file, 130/143 second Ctrl-C/SIGTERM.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serve_is_what_happens_without_a_word() {
        let parse = |words: &[&str]| {
            let words = std::iter::once("reference-service").chain(words.iter().copied());
            Cli::try_parse_from(words)
                .expect("valid words")
                .into_command()
        };
        assert!(matches!(parse(&[]), Command::Serve(Serve { demo: false })));
        assert!(matches!(
            parse(&["--demo"]),
            Command::Serve(Serve { demo: true })
        ));
        assert!(matches!(
            parse(&["serve", "--demo"]),
            Command::Serve(Serve { demo: true })
        ));
        assert!(matches!(parse(&["config"]), Command::Config));
    }
}
