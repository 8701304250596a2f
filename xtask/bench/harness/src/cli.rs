//! The command line of every bench program.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Measures the benches of this suite and prints METRIC lines on stdout, a table on stderr.

Usage: BENCH [OPTIONS] [FILTER]...

  FILTER              measure the benches whose name contains one of these words; all without any

  --quick             0.4 s for each subject, for orientation
  --full              3 s for each subject instead of 1 s
  --smoke             everything once at its smallest: whether it works; the figures mean nothing
  --seed N            order of turns and resampling (default 1)
  --list              print `BENCH suite name subject about` for each subject, `FIGURES suite name about` for what is
                      taken besides, and measure nothing
  --block MS          ours only, MS milliseconds for each bench: one side of a comparison
  --only NAME SUBJECT --iterations N
                      set up this subject and do N operations, without clock and output: for counting instructions
  -h, --help          print this

Exit codes: 0 fine, 2 usage, 3 a subject panicked (the others are measured), 130 interrupted (what there is, is printed)
";

/// What a bench program is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    /// Print what there is.
    List {
        filters: Vec<String>,
    },
    /// Measure benches and their peers.
    Measure {
        filters: Vec<String>,
        budget: Budget,
        seed: u64,
    },
    /// Measure ours only, for so long each.
    Block {
        filters: Vec<String>,
        time: Duration,
        seed: u64,
    },
    /// Do so many operations and nothing else.
    Iterate {
        name: String,
        subject: String,
        iterations: u64,
    },
}

/// How much time a subject gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    Smoke,
    Quick,
    Normal,
    Full,
}

impl Command {
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut filters = Vec::new();
        let (mut budget, mut seed, mut list) = (Budget::Normal, 1, false);
        let (mut block, mut only, mut iterations) = (None, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(Self::Help),
                Long("quick") => budget = Budget::Quick,
                Long("smoke") => budget = Budget::Smoke,
                Long("full") => budget = Budget::Full,
                Long("seed") => seed = parser.value()?.parse()?,
                Long("list") => list = true,
                Long("block") => block = Some(Duration::from_millis(parser.value()?.parse()?)),
                Long("only") => only = Some((parser.value()?.string()?, parser.value()?.string()?)),
                Long("iterations") => iterations = Some(parser.value()?.parse()?),
                Value(word) => filters.push(word.string()?),
                _ => return Err(argument.unexpected()),
            }
        }
        match (only, iterations, block) {
            (_, _, Some(Duration::ZERO)) => Err("--block takes at least 1 ms".into()),
            _ if list => Ok(Self::List { filters }),
            (Some((name, subject)), Some(iterations), None) => Ok(Self::Iterate {
                name,
                subject,
                iterations,
            }),
            (None, None, Some(time)) => Ok(Self::Block {
                filters,
                time,
                seed,
            }),
            (None, None, None) => Ok(Self::Measure {
                filters,
                budget,
                seed,
            }),
            _ => Err("--only and --iterations go together, and without --block".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Command, String> {
        Command::parse(arguments.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_filters_and_options_stand_anywhere() {
        let expected = Command::Measure {
            filters: vec!["hit".to_owned(), "miss".to_owned()],
            budget: Budget::Quick,
            seed: 7,
        };
        assert_eq!(parse("hit --quick miss --seed=7"), Ok(expected));
    }

    #[test]
    fn counting_instructions_takes_a_bench_a_subject_and_a_number() {
        let expected = Command::Iterate {
            name: "hit".to_owned(),
            subject: "moka".to_owned(),
            iterations: 1000,
        };
        assert_eq!(parse("--only hit moka --iterations 1000"), Ok(expected));
        assert!(parse("--only hit moka").is_err());
        assert!(parse("--iterations 1000").is_err());
        assert!(parse("--only hit").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [
            "--slow",
            "--seed x",
            "--block 0",
            "--block -1",
            "--iterations 1 --block 5",
        ] {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
    }
}
