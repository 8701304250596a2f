//! The command line of `cargo xtask`, as values; kept apart from the commands so that it can be tested alone.

use std::ffi::OsString;

use anyhow::{Context, bail};
use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
cargo xtask <command>

  services up|down|status [--backend auto|docker|local|external]
                    PostgreSQL and Redis for tests; eval \"$(cargo xtask services up)\" exports their URLs
  test [--install] [--backend B] [ARGS]
                    cargo test of both workspaces, with both servers; ARGS go to cargo test;
                    --install gets missing servers from the system's package manager
  build             release binary, each crate alone, packages, and a project that uses each package
  bench [ARGS]      measures; ARGS go to the program behind it, `cargo xtask bench help` lists them
  tidy              rules of the house that no compiler checks
  ci [--full] [--skip-test]
                    everything that has to pass before a change is merged; --full adds the slow checks
  help              this text";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Services {
        action: Action,
        backend: Backend,
    },
    Test(TestOptions),
    Build,
    /// Passed on to the runner as they are.
    Bench(Vec<OsString>),
    Tidy,
    Ci {
        full: bool,
        skip_test: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Up,
    Down,
    Status,
}

/// Where the servers for tests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Backend {
    /// `External` for what the environment names, then `Docker` if a daemon answers, then `Local`.
    #[default]
    Auto,
    Docker,
    Local,
    External,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    pub(crate) install: bool,
    pub(crate) backend: Backend,
    /// Passed on to `cargo test` as they are.
    pub(crate) args: Vec<OsString>,
}

impl Backend {
    fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "docker" => Self::Docker,
            "local" => Self::Local,
            "external" => Self::External,
            other => bail!("--backend {other}: expected auto, docker, local or external"),
        })
    }
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Command> {
    let args: Vec<OsString> = args.into_iter().collect();
    let Some((name, rest)) = args.split_first() else {
        return Ok(Command::Help);
    };
    let rest = rest.to_vec();
    if name == "bench" {
        // Also its `--help`.
        return Ok(Command::Bench(rest));
    }
    // What follows `--` is for the tests.
    if rest
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--help" || arg == "-h")
    {
        return Ok(Command::Help);
    }
    match name.to_str() {
        Some("help" | "--help" | "-h") => Ok(Command::Help),
        Some("services") => parse_services(rest),
        Some("test") => parse_test(rest),
        Some("build") => no_options(rest, Command::Build),
        Some("tidy") => no_options(rest, Command::Tidy),
        Some("ci") => parse_ci(rest),
        _ => bail!("unknown command {}", name.to_string_lossy()),
    }
}

fn parse_services(args: Vec<OsString>) -> anyhow::Result<Command> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut action, mut backend) = (None, Backend::Auto);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => backend = Backend::parse(&parser.value()?.string()?)?,
            Value(value) if action.is_none() => {
                action = Some(match value.to_str() {
                    Some("up") => Action::Up,
                    Some("down") => Action::Down,
                    Some("status") => Action::Status,
                    _ => bail!(
                        "services {}: expected up, down or status",
                        value.to_string_lossy()
                    ),
                });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let action = action.context("services: expected up, down or status")?;
    Ok(Command::Services { action, backend })
}

/// By hand rather than by `lexopt`: what is not ours has to reach `cargo test` unchanged and in order.
fn parse_test(args: Vec<OsString>) -> anyhow::Result<Command> {
    let mut options = TestOptions::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--install") => options.install = true,
            Some("--backend") => {
                let value = args.next().context("--backend: expected a value")?;
                options.backend = Backend::parse(&value.to_string_lossy())?;
            }
            Some(text) if text.starts_with("--backend=") => {
                options.backend = Backend::parse(&text["--backend=".len()..])?;
            }
            Some("--") => {
                options.args.push(arg);
                options.args.extend(args.by_ref());
            }
            _ => options.args.push(arg),
        }
    }
    Ok(Command::Test(options))
}

fn parse_ci(args: Vec<OsString>) -> anyhow::Result<Command> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut full, mut skip_test) = (false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("full") => full = true,
            Long("skip-test") => skip_test = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Ci { full, skip_test })
}

fn no_options(args: Vec<OsString>, command: Command) -> anyhow::Result<Command> {
    match lexopt::Parser::from_args(args).next()? {
        None => Ok(command),
        Some(arg) => Err(arg.unexpected().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn help_is_given_when_asked_for_or_at_a_loss() {
        assert_eq!(parsed(""), Ok(Command::Help));
        assert_eq!(parsed("--help"), Ok(Command::Help));
        assert_eq!(parsed("test --help"), Ok(Command::Help));
        assert_eq!(parsed("services up -h"), Ok(Command::Help));
        assert!(matches!(parsed("test -- --help"), Ok(Command::Test(_))));
    }

    #[test]
    fn services_take_an_action_and_a_backend_in_either_order() {
        let up = Command::Services {
            action: Action::Up,
            backend: Backend::Local,
        };
        assert_eq!(parsed("services up --backend local").as_ref(), Ok(&up));
        assert_eq!(parsed("services --backend=local up").as_ref(), Ok(&up));
        assert_eq!(
            parsed("services down"),
            Ok(Command::Services {
                action: Action::Down,
                backend: Backend::Auto
            })
        );
    }

    #[test]
    fn wrong_words_are_named() {
        assert!(parsed("deploy").is_err_and(|error| error.contains("deploy")));
        assert!(parsed("services").is_err_and(|error| error.contains("up, down or status")));
        assert!(parsed("services sideways").is_err_and(|error| error.contains("sideways")));
        assert!(parsed("services up down").is_err_and(|error| error.contains("down")));
        assert!(parsed("services up --backend cloud").is_err_and(|error| error.contains("cloud")));
        assert!(parsed("test --backend").is_err_and(|error| error.contains("--backend")));
        assert!(parsed("ci --fast").is_err_and(|error| error.contains("--fast")));
        assert!(parsed("tidy all").is_err_and(|error| error.contains("all")));
    }

    #[test]
    fn test_keeps_what_belongs_to_cargo() {
        let Ok(Command::Test(options)) =
            parsed("test -p db-pool --install --backend=docker name -- --install --nocapture")
        else {
            panic!("a test command");
        };
        assert!(options.install);
        assert_eq!(options.backend, Backend::Docker);
        assert_eq!(
            options.args,
            ["-p", "db-pool", "name", "--", "--install", "--nocapture"].map(OsString::from)
        );
    }

    #[test]
    fn all_that_follows_bench_belongs_to_the_runner() {
        for line in ["", "--help", "compare main --tolerance 3%", "-- help"] {
            let args = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(parsed(&format!("bench {line}")), Ok(Command::Bench(args)));
        }
    }

    #[test]
    fn ci_has_two_switches() {
        assert_eq!(
            parsed("ci"),
            Ok(Command::Ci {
                full: false,
                skip_test: false
            })
        );
        assert_eq!(
            parsed("ci --full --skip-test"),
            Ok(Command::Ci {
                full: true,
                skip_test: true
            })
        );
    }
}
