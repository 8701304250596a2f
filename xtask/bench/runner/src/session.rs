//! What every command carries with it: where things lie, how long to take, where chance begins, and how to stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use loadgen::Stop;

use crate::progress::Progress;

/// What every command carries.
#[derive(Debug)]
pub(crate) struct Session {
    /// The folder of the repository.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// Where reports, baselines and logs go: `target/bench` unless `--out` says otherwise. It exists.
    pub(crate) out: PathBuf,
    /// How long to measure.
    pub(crate) budget: Budget,
    /// Set by Ctrl-C.
    pub(crate) stop: Stop,
    /// What is being done, on standard error.
    pub(crate) progress: Progress,
    /// Where random choices begin.
    pub(crate) seed: u64,
    /// Whether servers and generator get a core each, where there are two.
    pub(crate) pin: bool,
}

/// How long to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Budget {
    /// All suites within five minutes on two cores; intervals are wider.
    Quick,
    /// Enough for figures to quote.
    #[default]
    Normal,
    /// Enough for the rare percentiles.
    Full,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing to complain about.
    Fine,
    /// A threshold was missed or something regressed.
    Regressed,
    /// The command line cannot be carried out.
    Usage,
    /// A rate could not be sustained, or something could not be run at all.
    Failed,
    /// Ctrl-C; what was measured until then was reported.
    Interrupted,
}

impl Session {
    /// A session in `root` that writes to `out`, or to where cargo builds.
    ///
    /// # Errors
    /// If the folder for reports cannot be made.
    pub(crate) fn new(root: PathBuf, out: Option<PathBuf>, stop: Stop) -> anyhow::Result<Self> {
        let target = target(&root);
        let out = out.unwrap_or_else(|| target.join("bench"));
        std::fs::create_dir_all(&out)
            .with_context(|| format!("{}: cannot make the folder for reports", out.display()))?;
        Ok(Self {
            root,
            target,
            out,
            budget: Budget::default(),
            stop,
            progress: Progress::stderr(),
            seed: 1,
            pin: true,
        })
    }
}

/// Where cargo puts what it builds in `root`.
pub(crate) fn target(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("target"),
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Regressed => 1,
            Exit::Usage => 2,
            Exit::Failed => 3,
            Exit::Interrupted => 130,
        })
    }
}
