//! The start of one node: whether it begins, what comes of each attempt, and what that means for the others.

mod begin;
mod end;
mod foreground;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info_span;

use self::foreground::Foreground;
use super::attempt::{Attempt, Ended};
use super::closing::Closing;
use super::walk::{Flow, Visitor};
use crate::class::Class;
use crate::component::Body;
use crate::core::{Earlier, Phase, lock};
use crate::error::Cause;
use crate::event::Event;
use crate::plan::{Node, NodeId};
use crate::run::Run;
use crate::stop;

/// Visits the nodes of a start.
pub(crate) struct Starter {
    pub(crate) run: Arc<Run>,
    pub(crate) closing: Closing,
    foreground: Option<Foreground>,
    /// Whether it starts a part of a running graph again, whose failures are told to whoever asked for that.
    part: bool,
    /// Whether any node fell away, without which no node has to look for those that did.
    fallen: AtomicBool,
}

/// What a visit knows of its node's attempt.
struct Try<'a> {
    node: &'a Node,
    earlier: Earlier,
    /// From 1.
    number: u32,
    first_begun: Instant,
    begun: Instant,
}

impl Starter {
    /// For the start of a whole graph.
    pub(crate) fn new(run: Arc<Run>) -> Self {
        let foreground = Foreground::of(&run);
        Self {
            closing: Closing::of(run.life.closing.clone()),
            run,
            foreground,
            part: false,
            fallen: AtomicBool::new(false),
        }
    }

    /// For nodes of a running graph that start again: a failure ends no more than that.
    pub(crate) fn in_running(run: Arc<Run>) -> Self {
        Self {
            run,
            closing: Closing::default(),
            foreground: None,
            part: true,
            fallen: AtomicBool::new(true),
        }
    }

    /// Notes that a node fell away by other means than this start.
    pub(crate) fn note_fallen(&self) {
        self.fallen.store(true, Ordering::Release);
    }

    /// Waits until all that the start waits for are settled; for ever where that is everything.
    pub(crate) async fn foreground_done(&self) {
        let Some(foreground) = &self.foreground else {
            return std::future::pending().await;
        };
        let done = foreground.done.notified();
        if foreground.left.load(Ordering::Acquire) > 0 {
            done.await;
        }
    }
}

impl Visitor for Starter {
    fn behind(&self, node: NodeId) -> &[NodeId] {
        self.run.dependents.of(node)
    }

    async fn visit(&self, id: NodeId) -> Flow {
        let begun = Instant::now();
        let run = &self.run;
        let node = run.core.plan.node(id);
        let tried = self.next_try(node, begun);
        // A pause that was cut short is no reason for another attempt.
        let closed = self.closing.is_closed() || tried.number > 1 && self.closing.is_told();
        if closed {
            // One that had no attempt yet is told of when all else has ended.
            return match tried.number {
                1 => Flow::Halt,
                _ => self.cancelled(&tried, begun),
            };
        }
        if tried.number == 1
            && let Some(flow) = self.not_wanted(&tried)
        {
            return flow;
        }
        if !run.core.go_on(id, Phase::Running) {
            return Flow::Halt;
        }
        run.set_times(id, self.since(tried.first_begun), Duration::ZERO);
        run.core.observers.emit(&Event::Starting {
            node,
            attempt: tried.number,
        });
        match &run.steps[id.index()].body {
            Body::Value(_) => {
                return match self.view(id) {
                    Ok(()) => self.ready(&tried, begun, None),
                    Err(panic) => self.failed(&tried, begun, Cause::Panicked(panic)),
                };
            }
            Body::Point => return self.ready(&tried, begun, None),
            Body::Init(_) | Body::Blocking(_) => {}
        }
        let span = info_span!(
            "component",
            name = node.name(),
            stage = node.stage(),
            attempt = tried.number
        );
        let attempt = Attempt {
            run,
            id,
            number: tried.number,
            begun,
            first_begun: tried.first_begun,
            cut: self.closing.cut(),
            span,
        };
        match attempt.run().await {
            (Ended::Ready(value), at) => self.ready(&tried, at, value),
            (Ended::Failed(cause), at) => self.failed(&tried, at, cause),
            (Ended::Cut, at) => self.cancelled(&tried, at),
        }
    }

    fn queued(&self, id: NodeId) {
        let run = &self.run;
        run.core.go_on(id, Phase::Queued);
        let mut earlier = lock(&run.core.extra(id).earlier);
        earlier.queued_at = Some(Instant::now());
        drop(earlier);
        let class = run.steps[id.index()].options().class.as_ref();
        run.core.observers.emit(&Event::Queued {
            node: run.core.plan.node(id),
            class: class.unwrap_or(&Class::IO),
        });
    }

    fn gone(&self) {
        self.run.life.close();
    }

    async fn pause(&self, id: NodeId, wait: Duration) {
        let begun = Instant::now();
        let total = self.run.steps[id.index()].options().total_timeout;
        let first_begun = self.run.begun + self.run.times(id).0;
        let end = total.and_then(|total| first_begun.checked_add(total));
        let undone = stop::undo_attempt(&self.run, id, end);
        tokio::select! {
            biased;
            () = self.closing.closed() => {}
            () = async {
                let _ = undone.await;
                sleep(wait.saturating_sub(begun.elapsed())).await;
            } => {}
        }
        lock(&self.run.core.extra(id).earlier).backoff += begun.elapsed();
    }
}

impl Starter {
    fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.run.begun)
    }
}

impl Try<'_> {
    /// The own time of all attempts.
    fn own(&self, at: Instant) -> Duration {
        self.earlier.own + at.saturating_duration_since(self.begun)
    }
}
