//! Says in the log what a start still waits for, every few seconds.

mod line;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::info;

use self::line::{Busy, Doing};
use crate::core::{Phase, lock};
use crate::plan::NodeId;
use crate::run::Run;

/// Logs a line every [`waiting_every`](crate::Graph::waiting_every) for as long as it is polled; it never ends.
///
/// Each line costs a pass over the graph.
pub(crate) async fn tell(run: &Run) -> Infallible {
    let every = run.settings.waiting_every;
    let Some(first) = Instant::now()
        .checked_add(every)
        .filter(|_| !every.is_zero())
    else {
        return pending().await;
    };
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(line) = line_of(run) {
            info!("{line}");
        }
    }
}

/// What the start waits for now; `None` when nothing that it waits for is at work.
fn line_of(run: &Run) -> Option<String> {
    let plan = &run.core.plan;
    let wanted = wanted(run);
    let ids = || {
        plan.nodes()
            .iter()
            .map(|node| node.id())
            .filter(|id| wanted[id.index()])
    };
    let messages: Vec<_> = ids().filter_map(|id| Snapshot::of(run, id)).collect();
    let busy = messages.iter().map(|snapshot| snapshot.busy(run)).collect();
    // What is behind a `Lazy` that nobody asked for is pending as well, and waits for nobody.
    let is_waiting = |node: u32| {
        let id = NodeId(node);
        wanted[id.index()] && run.core.phase(id) == Phase::Pending && !plan.node(id).is_lazy()
    };
    line::line(busy, plan.rows(), is_waiting)
}

/// Per node whether the start waits for it: for its goal and what that needs, or for all but the background; and for what
/// somebody asked a `Lazy` for.
fn wanted(run: &Run) -> Vec<bool> {
    let plan = &run.core.plan;
    let goal = run.goal.get();
    let mut wanted: Vec<bool> = Vec::with_capacity(plan.nodes().len());
    for node in plan.nodes() {
        let mut before = plan.dependencies(node.id()).iter();
        wanted.push(match goal {
            Some(goal) => *goal == node.id() || node.is_lazy(),
            None => !node.is_background() && before.all(|other| wanted[other.index()]),
        });
    }
    if goal.is_some() {
        for node in plan.nodes().iter().rev().filter(|node| !node.is_value()) {
            if wanted[node.id().index()] {
                for other in plan.dependencies(node.id()) {
                    wanted[other.index()] = true;
                }
            }
        }
    }
    wanted
}

/// A busy node with what it said last.
struct Snapshot {
    id: NodeId,
    doing: Doing,
    since: Duration,
    attempt: u32,
    progress: Option<(u64, Option<u64>)>,
    message: Option<Arc<str>>,
}

impl Snapshot {
    fn of(run: &Run, id: NodeId) -> Option<Self> {
        let doing = match run.core.phase(id) {
            Phase::Running => Doing::Running,
            Phase::Backoff => Doing::Backoff,
            Phase::Queued => Doing::Queued,
            _ => return None,
        };
        let earlier = run
            .core
            .known(id)
            .map(|extra| *lock(&extra.earlier))
            .unwrap_or_default();
        let since = match (doing, earlier.queued_at) {
            (Doing::Queued, Some(since)) => since.elapsed(),
            _ => run.elapsed().saturating_sub(run.times(id).0),
        };
        let words = run.core.words(id).filter(|_| doing == Doing::Running);
        let progress = words.as_ref().map(|words| (words.current, words.total));
        Some(Self {
            id,
            doing,
            since,
            attempt: earlier.attempts + u32::from(doing == Doing::Running),
            progress,
            message: words.and_then(|words| words.message),
        })
    }

    fn busy<'a>(&'a self, run: &'a Run) -> Busy<'a> {
        let retry = run.steps[self.id.index()].options().retry.as_ref();
        Busy {
            node: self.id.into(),
            name: run.core.plan.node(self.id).name(),
            since: self.since,
            doing: self.doing,
            attempt: self.attempt,
            attempts_max: retry.map_or(1, |retry| retry.attempts),
            progress: self.progress,
            message: self.message.as_deref(),
        }
    }
}
