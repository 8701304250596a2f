//! Makes the report of a run out of what the executor wrote down.

use std::collections::HashMap;
use std::time::Duration;

use crate::class::Class;
use crate::component::Body;
use crate::core::{Phase, lock};
use crate::plan::NodeId;
use crate::report::{LazyUse, NodeRecord, Outcome, Parts, Report};
use crate::run::Run;

impl Run {
    /// The report of a start that went well, after it took `took`.
    pub(crate) fn report(&self, took: Duration) -> Report {
        self.report_of(took, true)
    }

    /// The report of a start that was given up, before anything is stopped.
    pub(crate) fn report_of_failed(&self) -> Report {
        self.report_of(self.elapsed(), false)
    }

    fn report_of(&self, took: Duration, succeeded: bool) -> Report {
        let limits = Limits::of(self);
        let ids = || self.core.plan.nodes().iter().map(|node| node.id());
        let failed = ids().filter(|id| self.core.phase(*id) == Phase::Failed);
        let records = ids().map(|id| self.record(id, took, &limits));
        let parts = Parts {
            plan: self.core.plan.clone(),
            took,
            succeeded,
            goal: self.goal.get().copied(),
            lazy: self.lazy_uses(),
            failures: failed.map(|id| self.failure(id)).collect(),
            concurrency: self.settings.concurrency,
            earlier: self.earlier.get().cloned(),
            limits: limits.list.clone(),
        };
        Report::new(parts, records)
    }

    fn record(&self, id: NodeId, took: Duration, limits: &Limits<'_>) -> NodeRecord {
        let outcome = self.outcome(id);
        let step = &self.steps[id.index()];
        let runs = matches!(step.body, Body::Init(_) | Body::Blocking(_));
        let known = self
            .core
            .known(id)
            .map(|extra| *lock(&extra.earlier))
            .unwrap_or_default();
        let (began, settled) = self.times(id);
        let attempts = match outcome {
            _ if !runs => 0,
            Outcome::Ready | Outcome::Failed | Outcome::Cancelled => known.attempts.max(1),
            // The one that runs is noted when it has ended.
            Outcome::Unfinished => {
                known.attempts + u32::from(self.core.phase(id) == Phase::Running)
            }
            _ => 0,
        };
        let free_at = self.free_at(id, began.saturating_sub(known.queued));
        let began = began.max(free_at);
        let settled = if outcome == Outcome::Unfinished {
            took.max(began)
        } else {
            settled.max(began)
        };
        // Permits are waited for before the first attempt and before each further one.
        let queued_inside = known.queued.saturating_sub(began - free_at);
        let waited_inside = known.backoff.saturating_add(queued_inside);
        let own = if attempts == 0 {
            Duration::ZERO
        } else {
            (settled - began).saturating_sub(waited_inside)
        };
        NodeRecord {
            outcome,
            free_at,
            began,
            settled,
            attempts,
            own,
            backoff: known.backoff,
            queued: known.queued,
            stopped: known.stop,
            limit: limits.place(step.options().class.as_ref()),
        }
    }

    fn outcome(&self, id: NodeId) -> Outcome {
        let node = self.core.plan.node(id);
        match self.core.phase(id) {
            _ if node.is_value() => Outcome::Value,
            // What has stopped was ready before, or it left something behind when it failed.
            Phase::Stopping | Phase::Stopped if self.fell_away(id) => Outcome::Failed,
            Phase::Ready | Phase::Stopping | Phase::Stopped => Outcome::Ready,
            Phase::Failed => Outcome::Failed,
            Phase::Skipped => Outcome::Skipped,
            Phase::Cancelled => Outcome::Cancelled,
            Phase::Pending if node.is_lazy() => Outcome::Unasked,
            Phase::Pending | Phase::Queued | Phase::Running | Phase::Backoff => Outcome::Unfinished,
        }
    }

    fn fell_away(&self, id: NodeId) -> bool {
        let known = self.core.known(id);
        known.is_some_and(|extra| lock(&extra.failure).is_some())
    }

    /// When the last dependency of `id` was settled; of a lazy node not before it was asked for.
    fn free_at(&self, id: NodeId, asked: Duration) -> Duration {
        let settled = self
            .core
            .plan
            .dependencies(id)
            .iter()
            .map(|id| self.times(*id).1);
        let free_at = settled.max().unwrap_or_default();
        if self.core.plan.node(id).is_lazy() {
            free_at.max(asked)
        } else {
            free_at
        }
    }

    /// Those by which somebody waited.
    fn lazy_uses(&self) -> Vec<LazyUse> {
        let waits = lock(&self.waited_for);
        let uses = waits.iter().map(|((owner, target), asked)| LazyUse {
            owner: *owner,
            target: *target,
            asked: *asked,
        });
        let mut uses: Vec<_> = uses.collect();
        // So that no report depends on how a map was walked through.
        uses.sort_unstable_by_key(|used| (used.owner, used.target));
        uses
    }
}

/// The classes with a limit, and the place of each among them.
struct Limits<'a> {
    list: Vec<(Class, usize)>,
    places: HashMap<&'a Class, u16>,
    default: Option<u16>,
}

impl<'a> Limits<'a> {
    fn of(run: &'a Run) -> Self {
        let mut limits = Self {
            list: Vec::new(),
            places: HashMap::new(),
            default: None,
        };
        let default = Class::default();
        if run.settings.limit(&default).is_some() {
            limits.default = Some(0);
            limits.list.extend(
                run.settings
                    .limit(&default)
                    .map(|limit| (default.clone(), limit)),
            );
        }
        let classes = run
            .steps
            .iter()
            .filter_map(|step| step.options().class.as_ref());
        for class in classes.filter(|class| **class != default) {
            if limits.places.contains_key(class) {
                continue;
            }
            if let (Some(limit), Ok(place)) =
                (run.settings.limit(class), u16::try_from(limits.list.len()))
            {
                limits.places.insert(class, place);
                limits.list.push((class.clone(), limit));
            }
        }
        limits
    }

    fn place(&self, class: Option<&Class>) -> Option<u16> {
        match class {
            Some(class) if *class != Class::IO => self.places.get(class).copied(),
            _ => self.default,
        }
    }
}
