//! Whether a node begins: which attempt it is, whether it is wanted, and whether what it needs is there.

use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tracing::info;

use super::{Starter, Try};
use crate::core::{Phase, lock};
use crate::error::Cause;
use crate::event::Event;
use crate::exec::walk::Flow;
use crate::failure::{Failure, Why};
use crate::guard::guarded;
use crate::param::{Fetch, Kind};
use crate::plan::{Node, NodeId};

impl Starter {
    pub(super) fn next_try<'a>(&self, node: &'a Node, begun: Instant) -> Try<'a> {
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
    pub(super) fn not_wanted(&self, tried: &Try<'_>) -> Option<Flow> {
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
