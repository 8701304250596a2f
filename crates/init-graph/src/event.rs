//! What a graph tells the outside while it starts and stops: typed events, handed to synchronous observers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::error::GraphError;
use crate::plan::{Node, Plan};

/// Hears every [`Event`] of a graph; registered with [`Graph::observe`](crate::Graph::observe).
///
/// Called inline, on whichever task the event happens, and from several threads at once. So: keep it short and never
/// block. The events of one node arrive in order, and a dependency's [`Event::Ready`] comes before its dependents'
/// [`Event::Starting`]. An observer that panics is not called again; the graph goes on.
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
/// Each `Starting` is followed by exactly one of `Ready`, `Failed` and `Cancelled` of the same node; each `Stopping`
/// by exactly one of `Stopped` and `StopFailed`. One start ends with exactly one of `Started` and `StartFailed`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The wiring is valid; nothing has run yet.
    Planned {
        /// Every node that is going to start.
        plan: &'a Plan,
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
    /// A node's value is there; its dependents may begin.
    Ready {
        /// The node.
        node: &'a Node,
        /// The time of its own initialiser.
        took: Duration,
    },
    /// An initialiser returned an error, panicked or ran out of time.
    Failed {
        /// The node.
        node: &'a Node,
        /// The time of its own initialiser until then.
        took: Duration,
        /// The initialiser's own error, or what says that it panicked or timed out.
        error: &'a (dyn Error + 'static),
    },
    /// A node never began: an optional dependency of it fell away, or the start was given up before its turn.
    Skipped {
        /// The node.
        node: &'a Node,
        /// The reason, as a clause: "`cache` failed".
        because: &'a str,
    },
    /// A running initialiser was dropped because the start was given up.
    Cancelled {
        /// The node.
        node: &'a Node,
        /// The time of its own initialiser until then.
        took: Duration,
    },
    /// Every node is ready, or is optional and fell away.
    Started {
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
