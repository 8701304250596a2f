//! What a graph tells the outside while it starts, runs and stops: typed events, handed to synchronous observers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::class::Class;
use crate::error::GraphError;
use crate::plan::{Node, Plan};

/// Hears every [`Event`] of a graph; registered with [`Graph::observe`](crate::Graph::observe).
///
/// Called inline, on whichever task the event happens, and from several threads at once. So: keep it short and never
/// block. One that takes longer than a millisecond is named in a warning, once. An observer that panics is not called
/// again; the graph and the other observers go on.
///
/// An observer may use a [`Context`](crate::Context) that it was given: what it says there is noted, and heard as an
/// event with the next words of that component, at the latest before its initialiser ends.
///
/// Every `Fn(&Event<'_>)` is an observer.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of one event.
    fn on_event(&self, event: &Event<'_>);
}

impl<F> Observer for F
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on_event(&self, event: &Event<'_>) {
        (**self).on_event(event);
    }
}

/// Something that happened in a graph.
///
/// # Which event follows which
/// Of the graph:
/// - `Planned` comes first, but for a wiring error, which is heard as `StartFailed` alone.
/// - `Planned` is followed by exactly one of `Started` and `StartFailed`.
/// - `Started` is followed by `Settled`, at once when nothing goes on in the background; not when the stop begins
///   before.
/// - `Restarting` comes only after `Started` and is followed by exactly one of `Restarted` and `RestartFailed`.
/// - `Finished` comes last, after `StartFailed` or a shutdown, and nothing follows it. There is none when a running graph
///   is dropped instead of shut down.
///
/// Of one node, in each of its starts:
/// - `Queued` is followed by exactly one of `Starting`, `Skipped` and, after an earlier attempt, `Failed` and
///   `Cancelled`.
/// - `Starting` with attempt 1 is followed by exactly one of `Ready`, `Failed`, `Cancelled` and `Abandoned`, in between
///   by any number of `Advanced`, and for each further attempt by `Retrying`, perhaps `Queued`, and `Starting` with the
///   next number. There is no `Advanced` between `Retrying` and `Starting`.
/// - Without `Starting` there is at most one event more: `Skipped`, or `Failed` with no attempts. None at all for a lazy
///   node that nobody asked for.
/// - `Starting` comes after each dependency of the node had one of `Ready`, `Failed` and `Skipped`.
///
/// Of one node, in each of its stops:
/// - `Stopping` is followed by exactly one of `Stopped`, `StopFailed` and `Abandoned`. It comes once for each `Ready`,
///   and for a node that failed or was cancelled after it had registered a hook.
/// - A node that is ready and cannot be stopped, because one that depends on it was left behind, is `Abandoned` without
///   `Stopping`.
/// - `Stopping` comes after each dependent that was ready is stopped; of a node that failed without ending the start, at
///   once.
///
/// The events of one node are heard one after another and in order, even when its context speaks on several threads.
/// Those of different nodes may be heard at the same time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The wiring is valid; nothing has run yet.
    Planned {
        /// Every node of the graph, those included that start only when a [`Lazy`](crate::Lazy) asks for them.
        plan: &'a Plan,
    },
    /// A node could begin an attempt, and waits for a permit because as many of its class, or of the graph, are running
    /// as may. Not heard of a node that gets its permit at once.
    Queued {
        /// The node.
        node: &'a Node,
        /// The class of the node.
        class: &'a Class,
    },
    /// The dependencies of a node are settled and its initialiser is about to run.
    Starting {
        /// The node.
        node: &'a Node,
        /// Counts from 1.
        attempt: u32,
    },
    /// An initialiser said how far it is, by [`Context::progress`](crate::Context::progress) or
    /// [`Context::message`](crate::Context::message); the fields are its latest words, not differences.
    ///
    /// When several threads speak for one node at once, some of the words in between may not be heard; the latest are.
    Advanced {
        /// The node.
        node: &'a Node,
        /// Units done.
        current: u64,
        /// Units in all, where the initialiser knows them.
        total: Option<u64>,
        /// What it is doing.
        message: Option<&'a str>,
    },
    /// An attempt returned an error, panicked or ran out of time, and there will be another one after a wait.
    Retrying {
        /// The node.
        node: &'a Node,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How many attempts there may be in all.
        attempts: u32,
        /// The time until the next attempt, before it may have to wait for a permit.
        delay: Duration,
        /// The initialiser's own error, or what says that it panicked or timed out.
        error: &'a (dyn Error + 'static),
    },
    /// A node's value is there; its dependents may begin. Of a [milestone](Node::is_milestone): it is reached.
    Ready {
        /// The node.
        node: &'a Node,
        /// The time of its own initialiser: of all attempts, without the waits between them.
        took: Duration,
    },
    /// An initialiser returned an error, panicked or ran out of time, and there is no further attempt.
    Failed {
        /// The node.
        node: &'a Node,
        /// The time of its own initialiser until then: of all attempts, without the waits between them.
        took: Duration,
        /// How many attempts were made; 0 when already its condition panicked.
        attempts: u32,
        /// The initialiser's own error, or what says that it panicked or timed out.
        error: &'a (dyn Error + 'static),
    },
    /// A node never began: a dependency that it cannot do without fell away, its condition is false, or the start was
    /// given up before its turn.
    Skipped {
        /// The node.
        node: &'a Node,
        /// The reason, as a clause: "`cache` failed".
        because: &'a str,
    },
    /// A running initialiser was dropped, or its wait for the next attempt ended, because the start was given up.
    Cancelled {
        /// The node.
        node: &'a Node,
        /// The time of its own initialiser until then.
        took: Duration,
    },
    /// An initialiser or a stop hook blocks its thread and does not end when it should, or a node cannot be stopped
    /// because of such a one; it is left behind, and nothing more is heard of it.
    Abandoned {
        /// The node.
        node: &'a Node,
        /// The time since that initialiser or the first hook began; zero when no hook did.
        took: Duration,
    },
    /// The start returns: every node is ready or fell away without harm, but for those in the background.
    Started {
        /// The time since the start began.
        took: Duration,
    },
    /// The nodes in the background are ready, too, or fell away.
    Settled {
        /// The time since the start began.
        took: Duration,
    },
    /// The start was given up; what had started is about to be stopped in reverse.
    StartFailed {
        /// The time since the start began.
        took: Duration,
        /// Why; its rollback report is not filled in yet.
        error: &'a GraphError,
    },
    /// A part of the running graph is about to be stopped and started again.
    Restarting {
        /// The nodes, in start order: the one that was asked for and those that depend on it.
        nodes: &'a [&'a Node],
    },
    /// A restart is over, and all of its nodes are there again.
    Restarted {
        /// The time since the restart began.
        took: Duration,
    },
    /// A restart is over, and a part of its nodes is missing; their own events tell which.
    RestartFailed {
        /// The time since the restart began.
        took: Duration,
        /// What made it fail.
        error: &'a (dyn Error + 'static),
    },
    /// All dependents of a node have stopped and its own stop hooks are about to run: of each node that was ready, and
    /// of those that failed or were cancelled after they had registered a hook.
    Stopping {
        /// The node.
        node: &'a Node,
    },
    /// The stop hooks of a node ran without error.
    Stopped {
        /// The node.
        node: &'a Node,
        /// The time of its own hooks.
        took: Duration,
    },
    /// A stop hook failed, panicked or ran out of time; the stop of the others goes on.
    StopFailed {
        /// The node.
        node: &'a Node,
        /// The time of its own hooks.
        took: Duration,
        /// The first error among its hooks.
        error: &'a (dyn Error + 'static),
    },
    /// The stop is over, after a shutdown or after the rollback of a failed start.
    Finished {
        /// The time since the stop began.
        took: Duration,
    },
}

impl<'a> Event<'a> {
    /// The node that this is about; `None` for what is about the graph as a whole.
    pub fn node(&self) -> Option<&'a Node> {
        match *self {
            Self::Queued { node, .. }
            | Self::Starting { node, .. }
            | Self::Advanced { node, .. }
            | Self::Retrying { node, .. }
            | Self::Ready { node, .. }
            | Self::Failed { node, .. }
            | Self::Skipped { node, .. }
            | Self::Cancelled { node, .. }
            | Self::Abandoned { node, .. }
            | Self::Stopping { node }
            | Self::Stopped { node, .. }
            | Self::StopFailed { node, .. } => Some(node),
            Self::Planned { .. }
            | Self::Started { .. }
            | Self::Settled { .. }
            | Self::StartFailed { .. }
            | Self::Restarting { .. }
            | Self::Restarted { .. }
            | Self::RestartFailed { .. }
            | Self::Finished { .. } => None,
        }
    }
}
