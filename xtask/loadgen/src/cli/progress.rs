//! How far a run is, on standard error: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shows the progress of a run.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    terminal: bool,
    last: Mutex<Instant>,
}

impl Progress {
    /// Shows nothing at all if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: io::stderr().is_terminal(),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Shows the share that is over, 0 to 1. Cheap enough to be called ten times a second.
    pub fn show(&self, share: f64) {
        if self.quiet {
            return;
        }
        let percent = (share * 100.0).floor();
        // A reader that went away does not end a run.
        let _ = if self.terminal {
            let filled = (share.clamp(0.0, 1.0) * BAR as f64) as usize;
            write!(
                io::stderr(),
                "\r{}{} {percent:3} %",
                "=".repeat(filled),
                " ".repeat(BAR - filled)
            )
        } else {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() < EVERY {
                return;
            }
            *last = Instant::now();
            writeln!(io::stderr(), "{percent} % is over")
        };
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(io::stderr(), "\r{}\r", " ".repeat(BAR + 8));
        }
    }
}

const BAR: usize = 40;
/// Between two lines in a log.
const EVERY: Duration = Duration::from_secs(10);
