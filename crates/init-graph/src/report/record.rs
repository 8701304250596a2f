//! What the executor writes down of one node, and the compact form that a report keeps of it.

use std::time::Duration;

use crate::plan::NodeId;
use crate::report::Outcome;

/// How one node went; points in time are counted from the begin of the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeRecord {
    pub(crate) outcome: Outcome,
    /// Its last dependency was settled; of a component that was asked for by `Lazy`, not before that.
    pub(crate) free_at: Duration,
    /// Its first attempt began; `free_at` where there was none.
    pub(crate) began: Duration,
    /// It ended, or so far it got when the report was made.
    pub(crate) settled: Duration,
    pub(crate) attempts: u32,
    /// The time of its attempts.
    pub(crate) own: Duration,
    /// The time between its attempts, without the waits for a permit.
    pub(crate) backoff: Duration,
    /// Waited for a permit of its class.
    pub(crate) queued: Duration,
    /// The time of its stop hooks, where it has stopped.
    pub(crate) stopped: Option<Duration>,
    /// The place of its class in the list of limits, where that has one.
    pub(crate) limit: Option<u16>,
}

/// A `Lazy` that was not ready when it was asked for: `owner` waited for `target` while it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LazyUse {
    pub(crate) owner: NodeId,
    pub(crate) target: NodeId,
    /// When it asked first.
    pub(crate) asked: Duration,
}

/// A [`NodeRecord`] in one cache line; times are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) free_at: u64,
    pub(crate) began: u64,
    pub(crate) settled: u64,
    pub(crate) own: u64,
    pub(crate) backoff: u64,
    pub(crate) queued: u64,
    /// [`NEVER`] where it has not stopped.
    stopped: u64,
    pub(crate) attempts: u32,
    /// [`UNLIMITED`] without one.
    limit: u16,
    pub(crate) outcome: Outcome,
}

impl Record {
    pub(crate) fn limit(&self) -> Option<usize> {
        (self.limit != UNLIMITED).then_some(self.limit.into())
    }

    pub(crate) fn stopped(&self) -> Option<Duration> {
        (self.stopped != NEVER).then(|| Duration::from_nanos(self.stopped))
    }
}

impl From<NodeRecord> for Record {
    /// Puts points in time into their natural order, so that nothing behind it has to care.
    fn from(node: NodeRecord) -> Self {
        let free_at = nanos(node.free_at);
        let began = nanos(node.began).max(free_at);
        Self {
            free_at,
            began,
            settled: nanos(node.settled).max(began),
            own: nanos(node.own),
            backoff: nanos(node.backoff),
            queued: nanos(node.queued),
            stopped: node
                .stopped
                .map_or(NEVER, |time| nanos(time).min(NEVER - 1)),
            attempts: node.attempts,
            limit: node.limit.unwrap_or(UNLIMITED),
            outcome: node.outcome,
        }
    }
}

/// Nanoseconds; more than five centuries are cut.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const NEVER: u64 = u64::MAX;
const UNLIMITED: u16 = u16::MAX;
