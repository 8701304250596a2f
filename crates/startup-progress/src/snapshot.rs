//! The wire format: what a client sees, and how it folds changes into what it has.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cursor, Readiness};

/// The version of the JSON format; it grows when a reader of the old one would misread the new.
///
/// New fields do not change it: readers ignore what they do not know.
pub const FORMAT_VERSION: u32 = 1;

/// The whole state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The format, [`FORMAT_VERSION`].
    pub version: u32,
    /// The run: another one after every start of the process.
    pub run: String,
    /// The number of the newest change in here.
    pub seq: u64,
    /// The name of the service.
    pub service: String,
    /// Whether the service may get traffic.
    pub status: Readiness,
    /// Why the service failed; `None` otherwise.
    pub reason: Option<String>,
    /// 0-100, never falls, and is 100 only once the service was ready. Every step weighs the same,
    /// and becoming ready weighs as much as a step.
    pub percent: u8,
    /// When the run began, in milliseconds since 1970 by the wall clock.
    pub started_at_ms: u64,
    /// Milliseconds since the run began.
    pub elapsed_ms: u64,
    /// Milliseconds from the beginning of the run until the service was ready.
    pub ready_ms: Option<u64>,
    /// Steps beyond [`steps_max`](crate::ProgressConfig::steps_max): counted, not stored.
    pub omitted_steps: u64,
    /// The steps, in the order of their announcement; a step's `id` is its index here.
    pub steps: Vec<StepSnapshot>,
    /// The health checks by name, as they answered when last read.
    pub checks: BTreeMap<String, CheckSnapshot>,
}

impl Snapshot {
    /// How far this snapshot has seen the run: the cursor to ask for later changes with.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            run: self.run.as_str().into(),
            seq: self.seq,
        }
    }

    /// Folds a delta into this snapshot; returns whether it fitted.
    ///
    /// A delta of another run, one that is older than this snapshot, or one that begins after it
    /// (something in between is missing) changes nothing.
    pub fn apply(&mut self, delta: &Delta) -> bool {
        let fits = delta.run == self.run && delta.since <= self.seq && delta.seq >= self.seq;
        if !fits {
            return false;
        }
        self.seq = delta.seq;
        self.status = delta.status;
        self.reason.clone_from(&delta.reason);
        self.percent = delta.percent;
        self.elapsed_ms = delta.elapsed_ms;
        self.ready_ms = delta.ready_ms;
        self.omitted_steps = delta.omitted_steps;
        for step in &delta.steps {
            let index = step.id as usize;
            match self.steps.get_mut(index) {
                Some(known) => known.clone_from(step),
                // Steps are announced in order, so a new one is always the next.
                None => self.steps.push(step.clone()),
            }
        }
        let checks = delta
            .checks
            .iter()
            .map(|(name, check)| (name.clone(), check.clone()));
        self.checks.extend(checks);
        true
    }
}

/// What changed since a cursor: the whole new record of every changed item, not a log of changes.
///
/// Several changes of one item are one record, so a slow client gets less, never too late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delta {
    /// The format, [`FORMAT_VERSION`].
    pub version: u32,
    /// The run, as in the snapshot.
    pub run: String,
    /// The cursor that this answers: the client has seen the changes up to here.
    pub since: u64,
    /// The number of the newest change in here.
    pub seq: u64,
    /// As in [`Snapshot::status`].
    pub status: Readiness,
    /// As in [`Snapshot::reason`].
    pub reason: Option<String>,
    /// As in [`Snapshot::percent`].
    pub percent: u8,
    /// As in [`Snapshot::elapsed_ms`].
    pub elapsed_ms: u64,
    /// As in [`Snapshot::ready_ms`].
    pub ready_ms: Option<u64>,
    /// As in [`Snapshot::omitted_steps`].
    pub omitted_steps: u64,
    /// The steps that are new or changed, in the order of their ids.
    pub steps: Vec<StepSnapshot>,
    /// The checks that are new or changed.
    pub checks: BTreeMap<String, CheckSnapshot>,
}

/// One step of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepSnapshot {
    /// The index of the step in [`Snapshot::steps`].
    pub id: u32,
    /// The name; names may repeat.
    pub name: String,
    /// The stage that the step belongs to.
    pub stage: Option<String>,
    /// Where the step is in its life.
    pub status: StepStatus,
    /// Units of work done.
    pub current: u64,
    /// Units of work in all, where known.
    pub total: Option<u64>,
    /// What the step is doing, or why it was skipped.
    pub message: Option<String>,
    /// Why the step failed, with its causes.
    pub error: Option<String>,
    /// Milliseconds from the beginning of the run to the beginning of the step.
    pub started_ms: Option<u64>,
    /// Milliseconds that the step took, once it is over (without the stop).
    pub took_ms: Option<u64>,
    /// Names of the steps that this one waits for.
    pub dependencies: Vec<String>,
    /// Whether the start does not wait for this step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// Whether this is a named point that is reached, and no work of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub milestone: bool,
}

/// Where a step is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StepStatus {
    /// Announced, not begun.
    Pending,
    /// Begun, not over.
    Running,
    /// Over, with success.
    Done,
    /// Over, with an error.
    Failed,
    /// Over before it began: it was not needed or could not be reached.
    Skipped,
    /// Begun and cut off from outside.
    Cancelled,
    /// Its [`Step`](crate::Step) was dropped without a result.
    Abandoned,
    /// Done earlier, and being stopped now.
    Stopping,
    /// Stopped.
    Stopped,
}

impl StepStatus {
    /// Whether the start of the step is over, well or not.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The lower-case word used in JSON and by `Display`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a health check last answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckSnapshot {
    /// The verdict.
    pub status: CheckStatus,
    /// What is wrong, for `warn` and `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The verdict of a check or a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckStatus {
    /// All is well.
    Pass,
    /// Something is wrong, but traffic can be served.
    Warn,
    /// Traffic cannot be served.
    Fail,
}

/// What a client gets for its cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Update {
    /// The whole state: for a new client, or a cursor of another run.
    Snapshot(Snapshot),
    /// What changed since the cursor.
    Delta(Delta),
}

impl Update {
    /// The cursor after this update.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Snapshot(snapshot) => snapshot.cursor(),
            Self::Delta(delta) => Cursor {
                run: delta.run.as_str().into(),
                seq: delta.seq,
            },
        }
    }

    /// `snapshot` or `delta`: the name of the server-sent event.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Delta(_) => "delta",
        }
    }
}
