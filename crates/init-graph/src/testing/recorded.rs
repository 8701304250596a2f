//! Events that outlive the call of an observer: what an [`Event`] borrows, owned.

use std::fmt;
use std::time::Duration;

use crate::event::Event;
use crate::plan::{Node, Plan};

/// An [`Event`] as an [`EventLog`](super::EventLog) keeps it; `Display` is one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// What happened.
    pub what: What,
    /// The name of the node, for what is about one.
    pub node: Option<String>,
    /// Of `Starting` and `Retrying` the number of the attempt, of `Failed` how many there were.
    pub attempt: Option<u32>,
    /// The duration that came with it; of `Retrying` the wait.
    pub time: Option<Duration>,
    /// The error, the reason of a `Skipped`, or the words of an `Advanced`.
    pub text: Option<String>,
    /// Of `Restarting` the names of the nodes.
    pub nodes: Vec<String>,
    /// Of `Planned`.
    pub plan: Option<Plan>,
}

/// The kind of an [`Event`].
#[expect(
    missing_docs,
    reason = "the variants of `Event` of the same names say it"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    Planned,
    Queued,
    Starting,
    Advanced,
    Retrying,
    Ready,
    Failed,
    Skipped,
    Cancelled,
    Abandoned,
    Started,
    Settled,
    StartFailed,
    Restarting,
    Restarted,
    RestartFailed,
    Stopping,
    Stopped,
    StopFailed,
    Finished,
}

impl Recorded {
    pub(super) fn new(event: &Event<'_>) -> Self {
        let mut recorded = Self::of(What::of(event), event.node());
        match event {
            Event::Planned { plan } => recorded.plan = Some((*plan).clone()),
            Event::Queued { class, .. } => recorded.text = Some(class.name().to_owned()),
            Event::Starting { attempt, .. } => recorded.attempt = Some(*attempt),
            Event::Advanced {
                current,
                total,
                message,
                ..
            } => recorded.text = Some(words(*current, *total, *message)),
            Event::Retrying {
                attempt,
                delay,
                error,
                ..
            } => {
                recorded.attempt = Some(*attempt);
                recorded.time = Some(*delay);
                recorded.text = Some(error.to_string());
            }
            Event::Failed {
                took,
                attempts,
                error,
                ..
            } => {
                recorded.attempt = Some(*attempts);
                recorded.time = Some(*took);
                recorded.text = Some(error.to_string());
            }
            Event::Skipped { because, .. } => recorded.text = Some((*because).to_owned()),
            Event::Restarting { nodes } => {
                recorded.nodes = nodes.iter().map(|node| node.name().to_owned()).collect();
            }
            Event::StartFailed { took, error } => {
                recorded.time = Some(*took);
                recorded.text = Some(error.to_string());
            }
            Event::StopFailed { took, error, .. } | Event::RestartFailed { took, error } => {
                recorded.time = Some(*took);
                recorded.text = Some(error.to_string());
            }
            Event::Ready { took, .. }
            | Event::Cancelled { took, .. }
            | Event::Abandoned { took, .. }
            | Event::Started { took }
            | Event::Settled { took }
            | Event::Restarted { took }
            | Event::Stopped { took, .. }
            | Event::Finished { took } => recorded.time = Some(*took),
            Event::Stopping { .. } => {}
        }
        recorded
    }

    fn of(what: What, node: Option<&Node>) -> Self {
        Self {
            what,
            node: node.map(|node| node.name().to_owned()),
            attempt: None,
            time: None,
            text: None,
            nodes: Vec::new(),
            plan: None,
        }
    }

    /// Whether it is about the node of this name.
    pub fn is_of(&self, name: &str) -> bool {
        self.node.as_deref() == Some(name)
    }
}

fn words(current: u64, total: Option<u64>, message: Option<&str>) -> String {
    let mut words = match total {
        Some(total) => format!("{current}/{total}"),
        None => current.to_string(),
    };
    if let Some(message) = message {
        words.push(' ');
        words.push_str(message);
    }
    words
}

impl fmt::Display for Recorded {
    /// "`starting db, attempt 1`", "`retrying db, attempt 1, 100ms: refused`", "`finished, 2s`".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)?;
        if let Some(node) = &self.node {
            write!(f, " {node}")?;
        }
        if let Some(plan) = &self.plan {
            write!(f, " {}", plan.nodes().len())?;
        }
        for (position, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if position == 0 { " " } else { ", " })?;
        }
        match (self.what, self.attempt) {
            (_, None) => {}
            (What::Failed, Some(attempts)) => write!(f, ", attempts {attempts}")?,
            (_, Some(attempt)) => write!(f, ", attempt {attempt}")?,
        }
        if let Some(time) = self.time {
            write!(f, ", {time:?}")?;
        }
        if let Some(text) = &self.text {
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}

impl What {
    /// Whether a node is settled by it: those that depend on it may begin, or never will.
    pub fn settles(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Skipped)
    }

    fn of(event: &Event<'_>) -> Self {
        match event {
            Event::Planned { .. } => Self::Planned,
            Event::Queued { .. } => Self::Queued,
            Event::Starting { .. } => Self::Starting,
            Event::Advanced { .. } => Self::Advanced,
            Event::Retrying { .. } => Self::Retrying,
            Event::Ready { .. } => Self::Ready,
            Event::Failed { .. } => Self::Failed,
            Event::Skipped { .. } => Self::Skipped,
            Event::Cancelled { .. } => Self::Cancelled,
            Event::Abandoned { .. } => Self::Abandoned,
            Event::Started { .. } => Self::Started,
            Event::Settled { .. } => Self::Settled,
            Event::StartFailed { .. } => Self::StartFailed,
            Event::Restarting { .. } => Self::Restarting,
            Event::Restarted { .. } => Self::Restarted,
            Event::RestartFailed { .. } => Self::RestartFailed,
            Event::Stopping { .. } => Self::Stopping,
            Event::Stopped { .. } => Self::Stopped,
            Event::StopFailed { .. } => Self::StopFailed,
            Event::Finished { .. } => Self::Finished,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Advanced => "advanced",
            Self::Retrying => "retrying",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Started => "started",
            Self::Settled => "settled",
            Self::StartFailed => "start failed",
            Self::Restarting => "restarting",
            Self::Restarted => "restarted",
            Self::RestartFailed => "restart failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::StopFailed => "stop failed",
            Self::Finished => "finished",
        })
    }
}
