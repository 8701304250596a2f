//! The command line as values; kept apart from the commands so that it can be tested alone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lexopt::prelude::*;

use crate::session::Budget;

pub(crate) const USAGE: &str = "\
cargo xtask bench [COMMAND] [OPTIONS]

  [SUITE…]                 measure: all suites, or those named; `list` names them
  micro [CRATE…]           only the micro benches
  load [ARGS…]             load on any running service; `load --help` says more
  compare A [B] [SUITE…] [--tolerance PERCENT] [--max-time TIME]
                           two commits or saved baselines in turns; without B, A beside this tree
  calibrate [SUITE…] [--max-time TIME]
                           the smallest change that this machine can tell
  baseline save NAME       keep this tree's programs and report to compare with later
  baseline list            what is kept
  report [FILE]            the screen of the last report, or of one from elsewhere
  doctor                   what on this machine disturbs figures, and what to do about it
  list                     suites and micro benches
  help                     this text

  --quick, --full          five minutes for everything, or long enough for rare percentiles
  --seed N                 where random choices begin (1)
  --no-pin                 do not give servers and generator a core each
  --metrics                METRIC lines on standard output; the screen goes to standard error
  --out FOLDER             where reports and baselines go (target/bench)

Exit: 0 fine · 1 threshold missed or regression · 2 usage · 3 could not run or sustain · 130 interrupted";

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) options: Options,
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) budget: Budget,
    pub(crate) seed: u64,
    pub(crate) pin: bool,
    pub(crate) metrics: bool,
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    /// Measures suites, in this order.
    Run(Vec<String>),
    /// Passed on to the load generator as they are.
    Load(Vec<OsString>),
    Compare(Compare),
    Calibrate(Calibrate),
    BaselineSave(String),
    BaselineList,
    /// Shows a report again; the last one by default.
    Report(Option<PathBuf>),
    Doctor,
    List,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Compare {
    /// A git revision or the name of a baseline.
    pub(crate) against: String,
    /// Another one; this tree if nobody said.
    pub(crate) with: Option<String>,
    /// Suites to compare; empty for the default ones.
    pub(crate) suites: Vec<String>,
    /// The largest change that is accepted, as a share: 0.05 for five percent.
    pub(crate) tolerance: Option<f64>,
    /// Longest time for collecting blocks.
    pub(crate) max_time: Option<Duration>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Calibrate {
    /// Suites to calibrate; empty for the default ones.
    pub(crate) suites: Vec<String>,
    /// Longest time for collecting blocks.
    pub(crate) max_time: Option<Duration>,
}

/// The names of suites that may be given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Of services.
    pub(crate) suites: Vec<String>,
    /// Of crates with micro benches.
    pub(crate) micro: Vec<String>,
}

const COMMANDS: [&str; 9] = [
    "micro",
    "load",
    "compare",
    "calibrate",
    "baseline",
    "report",
    "doctor",
    "list",
    "help",
];

/// Reads the command line.
///
/// # Errors
/// If it is wrong, with the nearest right word where there is one.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    known: &Known,
) -> anyhow::Result<Invocation> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut options = Options::default();
    if let Some((first, rest)) = args.split_first()
        && first == "load"
    {
        let command = Command::Load(rest.to_vec());
        return Ok(Invocation { options, command });
    }
    let mut words = Vec::new();
    let (mut tolerance, mut max_time) = (None, None);
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => {
                let command = Command::Help;
                return Ok(Invocation { options, command });
            }
            Long("quick") => options.set_budget(Budget::Quick)?,
            Long("full") => options.set_budget(Budget::Full)?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("no-pin") => options.pin = false,
            Long("metrics") => options.metrics = true,
            Long("out") => options.out = Some(std::path::absolute(parser.value()?)?),
            Long("tolerance") => tolerance = Some(share(&parser.value()?.string()?)?),
            Long("max-time") => max_time = Some(time(&parser.value()?.string()?)?),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let command = command(words, known, tolerance, max_time)?;
    if tolerance.is_some() && !matches!(command, Command::Compare(_)) {
        bail!("--tolerance belongs to compare");
    }
    if max_time.is_some() && !matches!(command, Command::Compare(_) | Command::Calibrate(_)) {
        bail!("--max-time belongs to compare and calibrate");
    }
    Ok(Invocation { options, command })
}

impl Default for Options {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            seed: 1,
            pin: true,
            metrics: false,
            out: None,
        }
    }
}

impl Options {
    fn set_budget(&mut self, budget: Budget) -> anyhow::Result<()> {
        if self.budget != Budget::default() && self.budget != budget {
            bail!("--quick and --full exclude each other");
        }
        self.budget = budget;
        Ok(())
    }
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.suites.iter().chain(&self.micro)
    }

    /// Whether `word` is a suite, perhaps mistyped.
    fn is_meant(&self, word: &str) -> bool {
        nearest(word, self.all().map(String::as_str)).is_some()
    }

    /// `names` if they are all known, each once.
    fn check(&self, names: Vec<String>, also: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut chosen = Vec::new();
        for name in names {
            if !self.all().any(|known| *known == name) {
                let words = self.all().map(String::as_str).chain(also.iter().copied());
                match nearest(&name, words) {
                    Some(near) => bail!("no suite is called {name}; did you mean {near}?"),
                    None => bail!("no suite is called {name}; `cargo xtask bench list` names them"),
                }
            }
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        Ok(chosen)
    }
}

fn command(
    words: Vec<String>,
    known: &Known,
    tolerance: Option<f64>,
    max_time: Option<Duration>,
) -> anyhow::Result<Command> {
    let mut rest = words.clone().into_iter().skip(1);
    Ok(match words.first().map(String::as_str) {
        None => Command::Run(known.all().cloned().collect()),
        Some("micro") if words.len() == 1 => Command::Run(known.micro.clone()),
        Some("micro") => {
            let only = Known {
                micro: known.micro.clone(),
                ..Known::default()
            };
            let names = only.check(rest.collect(), &[]);
            Command::Run(names.context("micro takes the names of crates that have benches")?)
        }
        Some("load") => bail!("load comes first: cargo xtask bench load …"),
        Some("compare") => {
            let against = rest
                .next()
                .context("compare: expected a git revision or the name of a baseline")?;
            let mut rest = rest.peekable();
            Command::Compare(Compare {
                against,
                with: rest.next_if(|word| !known.is_meant(word)),
                suites: known.check(rest.collect(), &[])?,
                tolerance,
                max_time,
            })
        }
        Some("calibrate") => Command::Calibrate(Calibrate {
            suites: known.check(rest.collect(), &[])?,
            max_time,
        }),
        Some("baseline") => match (rest.next().as_deref(), rest.next(), rest.next()) {
            (Some("save"), Some(name), None) => Command::BaselineSave(name),
            (Some("list"), None, None) => Command::BaselineList,
            _ => bail!("baseline: expected `save NAME` or `list`"),
        },
        Some("report") => {
            let file = rest.next().map(PathBuf::from);
            alone(rest, Command::Report(file))?
        }
        Some("doctor") => alone(rest, Command::Doctor)?,
        Some("list") => alone(rest, Command::List)?,
        Some("help") => Command::Help,
        Some(_) => Command::Run(known.check(words, &COMMANDS)?),
    })
}

fn alone(mut rest: impl Iterator<Item = String>, command: Command) -> anyhow::Result<Command> {
    match rest.next() {
        None => Ok(command),
        Some(word) => bail!("unexpected {word}"),
    }
}

/// The word that was probably meant: at most a third of it mistyped.
fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|near| (strsim::damerau_levenshtein(word, near), near))
        .filter(|(distance, near)| distance * 3 <= near.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, near)| near)
}

fn share(text: &str) -> anyhow::Result<f64> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => bail!("--tolerance {text}: expected a percentage above 0 and up to 100"),
    }
}

fn time(text: &str) -> anyhow::Result<Duration> {
    humantime::parse_duration(text)
        .with_context(|| format!("--max-time {text}: expected a time such as 90s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, String> {
        let known = Known {
            suites: vec!["hello".into(), "cached-read".into()],
            micro: vec!["tiered-cache".into(), "init-graph".into()],
        };
        parse(line.split_whitespace().map(OsString::from), &known)
            .map_err(|error| format!("{error:#}"))
    }

    fn command(line: &str) -> Command {
        parsed(line).expect(line).command
    }

    fn run(names: &[&str]) -> Command {
        Command::Run(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn no_word_means_every_suite_and_names_choose_in_their_order() {
        assert_eq!(
            command(""),
            run(&["hello", "cached-read", "tiered-cache", "init-graph"])
        );
        assert_eq!(
            command("init-graph hello init-graph"),
            run(&["init-graph", "hello"])
        );
        assert_eq!(command("micro"), run(&["tiered-cache", "init-graph"]));
        assert_eq!(command("micro init-graph"), run(&["init-graph"]));
    }

    #[test]
    fn a_mistyped_suite_or_command_gets_the_word_that_was_meant() {
        let error = |line| parsed(line).expect_err(line);
        assert_eq!(
            error("helo"),
            "no suite is called helo; did you mean hello?"
        );
        assert_eq!(
            error("comapre HEAD"),
            "no suite is called comapre; did you mean compare?"
        );
        assert_eq!(
            error("micro hello"),
            "micro takes the names of crates that have benches: no suite is called hello; \
             `cargo xtask bench list` names them"
        );
        assert_eq!(
            error("compare HEAD cached-raed"),
            "no suite is called cached-raed; did you mean cached-read?"
        );
    }

    #[test]
    fn options_stand_anywhere() {
        let options = Options {
            budget: Budget::Quick,
            seed: 7,
            pin: false,
            metrics: true,
            out: Some("/tmp/x".into()),
        };
        let line = "--quick hello --seed 7 --no-pin --metrics --out /tmp/x";
        let expected = Invocation {
            options,
            command: run(&["hello"]),
        };
        assert_eq!(parsed(line), Ok(expected));
    }

    #[test]
    fn compare_takes_a_share_and_a_time() {
        assert_eq!(
            command("compare main hello --tolerance 5% --max-time 90s"),
            Command::Compare(Compare {
                against: "main".into(),
                with: None,
                suites: vec!["hello".into()],
                tolerance: Some(0.05),
                max_time: Some(Duration::from_secs(90)),
            })
        );
        for (line, expected) in [
            ("compare", "expected a git revision"),
            ("compare x --tolerance 0", "above 0"),
            ("compare x --tolerance much", "percentage"),
            ("compare x --max-time soon", "90s"),
            ("hello --tolerance 5", "belongs to compare"),
            ("doctor --max-time 5s", "belongs to compare"),
            ("hello --quick --full", "exclude"),
            ("hello --seed x", "x"),
            ("hello --fast", "--fast"),
            ("baseline", "save NAME"),
            ("baseline save a b", "save NAME"),
            ("list hello", "unexpected hello"),
            ("report a b", "unexpected b"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn compare_takes_a_second_version_before_the_suites() {
        let versions = |line| match command(line) {
            Command::Compare(asked) => (asked.against, asked.with, asked.suites),
            other => panic!("{line}: {other:?}"),
        };
        let with = |name: &str| Some(name.to_owned());
        assert_eq!(
            versions("compare HEAD HEAD"),
            ("HEAD".into(), with("HEAD"), vec![])
        );
        let suites = vec!["hello".to_owned(), "init-graph".to_owned()];
        let expected = ("v1".into(), with("v2"), suites);
        assert_eq!(versions("compare v1 v2 hello init-graph"), expected);
        assert_eq!(versions("compare -- --help").0, "--help");
        assert!(parsed("compare v1 v2 v3").is_err());
    }

    #[test]
    fn report_takes_a_file_or_the_last_one() {
        assert_eq!(command("report"), Command::Report(None));
        assert_eq!(
            command("report a.json"),
            Command::Report(Some("a.json".into()))
        );
    }

    #[test]
    fn everything_after_load_is_the_load_generators() {
        let words = ["--url", "http://x", "--quick", "--help"].map(OsString::from);
        assert_eq!(
            command("load --url http://x --quick --help"),
            Command::Load(words.to_vec())
        );
    }

    #[test]
    fn help_is_given_when_asked_for_and_fits_a_screen() {
        assert_eq!(command("help"), Command::Help);
        assert_eq!(command("compare --help"), Command::Help);
        assert!(USAGE.lines().count() <= 30);
        assert!(USAGE.lines().all(|line| line.chars().count() <= 110));
    }
}
