//! How a node ended: ready, failed, to be tried again, or cancelled; and what that means for the start.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Starter, Try};
use crate::core::{Phase, lock};
use crate::error::{Cause, NodeError};
use crate::event::Event;
use crate::exec::walk::Flow;
use crate::failure::{Failure, Why};
use crate::guard::{drop_quietly, guarded, log_quietly};
use crate::plan::NodeId;
use crate::policy::Policy;
use crate::stop;
use crate::values::{Value, Values, views};

impl Starter {
    pub(super) fn ready(&self, tried: &Try<'_>, at: Instant, value: Option<Value>) -> Flow {
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
    pub(super) fn view(&self, id: NodeId) -> Result<(), String> {
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

    pub(super) fn failed(&self, tried: &Try<'_>, at: Instant, cause: Cause) -> Flow {
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

    pub(super) fn cancelled(&self, tried: &Try<'_>, at: Instant) -> Flow {
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
    pub(super) fn end(
        &self,
        tried: &Try<'_>,
        at: Instant,
        phase: Phase,
        event: &Event<'_>,
    ) -> bool {
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
}

/// From 0 to 1, other in each replica of a service; nothing secret hangs on it.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
