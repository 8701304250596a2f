//! What keeps a server from being measured, told with the end of its log.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::RunError;

/// A server that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no such program, or it may not be run.
    #[error("{}: cannot be started", .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("{}: cannot be written as a server's log", .log.display())]
    Log {
        /// The file.
        log: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There is no free port on 127.0.0.1.
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
    /// The program may not be given these cores.
    #[error("no program can be pinned to the cores {cpus:?}; choose among those of this machine")]
    Cpus {
        /// The cores.
        cpus: Vec<usize>,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{}: ended ({status}) before it was ready\n{log}", .program.display())]
    Exited {
        /// The program.
        program: PathBuf,
        /// How it exited.
        status: ExitStatus,
        /// The end of its log.
        log: LogTail,
    },
    /// It was not ready in time.
    #[error("{}: not ready after {after:?}; {last}\n{log}", .program.display())]
    NotReady {
        /// The program.
        program: PathBuf,
        /// How long it was given.
        after: Duration,
        /// What its ready path said last.
        last: String,
        /// The end of its log.
        log: LogTail,
    },
    /// [`Stop`](crate::Stop) came before it was ready.
    #[error("{}: stopped before it was ready", .program.display())]
    Interrupted {
        /// The program.
        program: PathBuf,
    },
    /// It is gone, or the system does not tell what it uses.
    #[error("process {pid}: cannot be watched; it is gone, or this system has no /proc")]
    Unseen {
        /// The number of its process.
        pid: u32,
    },
    /// The load under which it was to stop could not be sent.
    #[error("the load during the shutdown could not be sent")]
    Load(#[from] RunError),
    /// The system refuses a thread, a signal or a wait.
    #[error("the server cannot be controlled")]
    System(#[source] io::Error),
}

/// The last lines of a server's log, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTail {
    log: PathBuf,
    text: String,
}

impl LogTail {
    pub(super) fn read(log: &Path) -> Self {
        Self {
            log: log.to_owned(),
            text: tail(log).unwrap_or_default(),
        }
    }

    /// Whether the server said that somebody else listens on its port.
    pub(super) fn says_port_is_taken(&self) -> bool {
        let text = self.text.to_lowercase();
        ["address already in use", "address in use", "eaddrinuse"]
            .iter()
            .any(|words| text.contains(words))
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log.display();
        if self.text.is_empty() {
            return write!(f, "its log {log} is empty");
        }
        write!(f, "the end of its log {log}:")?;
        self.text
            .lines()
            .try_for_each(|line| write!(f, "\n  {line}"))
    }
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_twenty_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let lines: Vec<_> = (0..5000).map(|line| format!("line {line}")).collect();
        std::fs::write(&log, lines.join("\n")).expect("our own folder");
        let shown = LogTail::read(&log).to_string();
        assert_eq!(shown.lines().count(), 21, "{shown}");
        assert!(
            shown.contains("\n  line 4980\n") && shown.ends_with("\n  line 4999"),
            "{shown}"
        );
    }

    #[test]
    fn no_log_reads_as_an_empty_one() {
        assert!(
            LogTail::read(Path::new("nowhere/log"))
                .to_string()
                .ends_with("is empty")
        );
    }
}
