//! The start of one node: whether it begins, what comes of each attempt, and what that means for the others.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, info_span, warn};

use super::attempt::{Attempt, Ended};
use super::closing::Closing;
use super::walk::{Flow, Visitor};
use crate::class::Class;
use crate::component::Body;
use crate::core::{Earlier, Phase, lock};
use crate::error::{Cause, NodeError};
use crate::event::Event;
use crate::failure::{Failure, Why};
use crate::guard::{drop_quietly, guarded, log_quietly};
use crate::param::{Fetch, Kind};
use crate::plan::{Node, NodeId};
use crate::policy::Policy;
use crate::run::Run;
use crate::stop;
use crate::values::{Value, Values, views};

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

/// The nodes that a start waits for, where that is not all of them.
struct Foreground {
    waits: Box<[bool]>,
    left: AtomicUsize,
    done: Notify,
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

// === whether it begins ===

impl Starter {
    fn next_try<'a>(&self, node: &'a Node, begun: Instant) -> Try<'a> {
        let run = &self.run;
        let earlier = run.core.known(node.id).map(|extra| {
            let mut earlier = lock(&extra.earlier);
            if let Some(since) = earlier.queued_at.take() {
                earlier.queued += begun.saturating_duration_since(since);
            }
            *earlier
        });
        let earlier = earlier.unwrap_or_default();
        Try {
            node,
            earlier,
            number: earlier.attempts + 1,
            first_begun: match earlier.attempts {
                0 => begun,
                _ => run.begun + run.times(node.id).0,
            },
            begun,
        }
    }

    /// Settles a node that cannot run or is not wanted.
    fn not_wanted(&self, tried: &Try<'_>) -> Option<Flow> {
        if self.fallen.load(Ordering::Acquire)
            && let Some(failure) = self.fallen_away(tried.node.id)
        {
            let because = failure.clause();
            return Some(self.skipped(tried, Why::Behind(failure), &because));
        }
        let step = &self.run.steps[tried.node.id.index()];
        let condition = step.options().condition.as_ref()?;
        let fetch = Fetch::new(&self.run, tried.node.id, 1, None);
        let holds = guarded(|| (condition.holds)(&mut fetch.skip(usize::from(step.parameters))));
        match holds {
            Ok(true) => None,
            Ok(false) => Some(self.skipped(tried, Why::Condition, "its condition is false")),
            Err(panic) => {
                let tried = Try {
                    number: 0,
                    ..*tried
                };
                Some(self.failed(&tried, Instant::now(), Cause::Panicked(panic)))
            }
        }
    }

    /// What took a provider away that `id` cannot do without.
    fn fallen_away(&self, id: NodeId) -> Option<Failure> {
        let wires = self.run.wires.of(id).iter();
        let hard = wires.filter(|wire| matches!(wire.kind, Kind::Hard | Kind::Live));
        hard.filter_map(|wire| wire.provider)
            .find(|provider| {
                matches!(
                    self.run.core.phase(*provider),
                    Phase::Failed | Phase::Skipped | Phase::Cancelled
                )
            })
            .map(|provider| self.run.failure(provider))
    }

    fn skipped(&self, tried: &Try<'_>, why: Why, because: &str) -> Flow {
        let node = tried.node;
        let failure = Failure::new(node.name.clone(), why);
        self.run.set_failure(node.id, failure);
        let skipped = Event::Skipped { node, because };
        if !self.end(tried, tried.begun, Phase::Skipped, &skipped) {
            return Flow::Halt;
        }
        info!(node = node.name(), because, "skipped");
        Flow::Release
    }
}

// === how it ended ===

impl Starter {
    fn ready(&self, tried: &Try<'_>, at: Instant, value: Option<Value>) -> Flow {
        let (run, node) = (&self.run, tried.node);
        if let Some(value) = value {
            let provides = &run.steps[node.id.index()].options().provides;
            match guarded(|| Values::new(value, provides)) {
                Ok(values) => drop_quietly(run.replace_value(node.id, Some(values))),
                Err(panic) => return self.failed(tried, at, Cause::Panicked(panic)),
            }
        }
        run.life.note_ready(node.id);
        let took = tried.own(at);
        if !self.end(tried, at, Phase::Ready, &Event::Ready { node, took }) {
            // It was left behind, and everything around it has stopped.
            drop_quietly(run.replace_value(node.id, None));
            return Flow::Halt;
        }
        if run.core.is_let_go() {
            // It could not be dropped when the graph was: whoever let go may have come by before the value.
            drop_quietly(run.replace_value(node.id, None));
        }
        debug!(node = node.name(), ?took, "ready");
        Flow::Release
    }

    /// Makes the views of a value that was there from the beginning, which stays whatever comes of them.
    fn view(&self, id: NodeId) -> Result<(), String> {
        let run = &self.run;
        let provides = &run.steps[id.index()].options().provides;
        if provides.is_empty() {
            return Ok(());
        }
        let Some(value) = run.replace_value(id, None).and_then(Values::into_own) else {
            return Ok(());
        };
        let made = guarded(|| views(&value, provides));
        let (views, outcome) = match made {
            Ok(views) => (views, Ok(())),
            Err(panic) => (Vec::new(), Err(panic)),
        };
        drop(run.replace_value(id, Some(Values::with_views(value, views))));
        outcome
    }

    fn failed(&self, tried: &Try<'_>, at: Instant, cause: Cause) -> Flow {
        let (core, node) = (&self.run.core, tried.node);
        if self.closing.is_ended()
            || self.closing.cut().is_cancelled()
            || core.given_up.is_cancelled()
        {
            // An error after the start was given up, or the stop began, is a consequence, not a cause.
            log_quietly(|| {
                let error = cause.as_error();
                debug!(
                    node = node.name(),
                    error, "failed after the start was given up"
                );
            });
            let flow = self.cancelled(tried, at);
            drop_quietly(cause);
            return flow;
        }
        if let Some(delay) = self.next_delay(tried, at, &cause) {
            let flow = self.again(tried, at, &cause, delay);
            drop_quietly(cause);
            return flow;
        }
        let cause = Arc::new(cause);
        let why = Why::Failed(Arc::clone(&cause));
        self.run
            .set_failure(node.id, Failure::new(node.name.clone(), why));
        let took = tried.own(at);
        let failed = Event::Failed {
            node,
            took,
            attempts: tried.number,
            error: cause.as_error(),
        };
        if !self.end(tried, at, Phase::Failed, &failed) {
            return Flow::Halt;
        }
        // What only a `Lazy` started fails for the one who asked.
        let tolerated = node.is_optional() || node.is_lazy();
        log_quietly(|| {
            let (attempts, error) = (tried.number, cause.as_error());
            warn!(
                node = node.name(),
                ?took,
                attempts,
                optional = tolerated,
                error,
                "failed"
            );
        });
        if tolerated || self.part {
            stop::clean_up(&self.run, node.id);
            if tolerated || self.run.settings.policy == Policy::KeepGoing {
                return Flow::Release;
            }
            self.closing.give_up();
            return Flow::Halt;
        }
        // Noted before the others are told, so that whoever sees the start given up also finds the reason.
        lock(&self.run.failures).push(NodeError {
            node: node.clone(),
            took,
            attempts: tried.number,
            cause,
        });
        self.run.life.failed.notify_waiters();
        let flow = self.give_up_by_policy();
        if flow == Flow::Release {
            stop::clean_up(&self.run, node.id);
        }
        flow
    }

    fn give_up_by_policy(&self) -> Flow {
        let settings = &self.run.settings;
        if settings.policy == Policy::KeepGoing || !self.closing.give_up() {
            return Flow::Release;
        }
        if settings.policy == Policy::FailFast {
            self.run.core.given_up.cancel();
            if settings.cancel_grace.is_zero() {
                self.closing.cut_off();
            }
        }
        Flow::Halt
    }

    /// How long to wait for another attempt, if there is to be one.
    fn next_delay(&self, tried: &Try<'_>, at: Instant, cause: &Cause) -> Option<Duration> {
        let options = self.run.steps[tried.node.id.index()].options();
        let retry = options.retry.as_ref()?;
        if tried.number == 0 || self.closing.is_closed() {
            return None;
        }
        let delay = retry.delay(tried.number, chance())?;
        let end = options
            .total_timeout
            .and_then(|limit| tried.first_begun.checked_add(limit));
        // What would begin when its time is up need not be waited for.
        let begins = at.checked_add(delay);
        if end.is_some_and(|end| begins.is_none_or(|begins| begins >= end)) {
            return None;
        }
        // It is the user's code, and one that panics does not know.
        let worth = guarded(|| retry.is_worth(cause)).unwrap_or(false);
        worth.then_some(delay)
    }

    fn again(&self, tried: &Try<'_>, at: Instant, cause: &Cause, delay: Duration) -> Flow {
        let (core, node) = (&self.run.core, tried.node);
        let mut earlier = lock(&core.extra(node.id).earlier);
        earlier.attempts = tried.number;
        earlier.own += at.saturating_duration_since(tried.begun);
        drop(earlier);
        if !core.go_on(node.id, Phase::Backoff) {
            return Flow::Halt;
        }
        log_quietly(|| {
            let (attempt, error) = (tried.number, cause.as_error());
            warn!(
                node = node.name(),
                attempt,
                ?delay,
                error,
                "failed; will be tried again"
            );
        });
        let options = self.run.steps[node.id.index()].options();
        core.observers.emit(&Event::Retrying {
            node,
            attempt: tried.number,
            attempts: options.retry.as_ref().map_or(1, |retry| retry.attempts),
            delay,
            error: cause.as_error(),
        });
        Flow::Again(delay)
    }

    fn cancelled(&self, tried: &Try<'_>, at: Instant) -> Flow {
        let node = tried.node;
        let took = tried.own(at);
        if self.end(
            tried,
            at,
            Phase::Cancelled,
            &Event::Cancelled { node, took },
        ) {
            debug!(node = node.name(), ?took, "cancelled");
        }
        Flow::Halt
    }

    /// Writes down and tells how and when a node came to its end; false when it was left behind before.
    fn end(&self, tried: &Try<'_>, at: Instant, phase: Phase, event: &Event<'_>) -> bool {
        let (run, id) = (&self.run, tried.node.id);
        if !run.core.claim(id) {
            return false;
        }
        let times = if tried.node.is_value() {
            Default::default()
        } else {
            (self.since(tried.first_begun), self.since(at))
        };
        run.set_times(id, times.0, times.1);
        if tried.number > 1 {
            lock(&run.core.extra(id).earlier).attempts = tried.number;
        }
        run.core.observers.emit(event);
        if phase != Phase::Ready {
            self.note_fallen();
            if self.part
                && let Some(walk) = run.walk()
            {
                // What somebody asks for later starts with the start's own walk.
                walk.visitor.note_fallen();
            }
        }
        run.core.settle(id, phase);
        if let Some(foreground) = &self.foreground {
            foreground.note(id);
        }
        true
    }

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

impl Foreground {
    /// Without those in the background, those that wait to be asked for, and those behind either.
    fn of(run: &Run) -> Option<Self> {
        let nodes = run.core.plan.nodes();
        if !nodes.iter().any(|node| node.background || node.lazy) {
            return None;
        }
        let mut waits: Box<[bool]> = nodes
            .iter()
            .map(|node| !node.background && !node.lazy)
            .collect();
        // In start order, so that what is behind comes later.
        for node in nodes {
            if !waits[node.id.index()] {
                for behind in run.dependents.of(node.id) {
                    waits[behind.index()] = false;
                }
            }
        }
        let left = waits.iter().filter(|waits| **waits).count();
        Some(Self {
            waits,
            left: AtomicUsize::new(left),
            done: Notify::new(),
        })
    }

    fn note(&self, id: NodeId) {
        if self.waits[id.index()] && self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_waiters();
        }
    }
}

/// From 0 to 1, other in each replica of a service; nothing secret hangs on it.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
