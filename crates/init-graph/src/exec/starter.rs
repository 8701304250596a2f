//! The start of one node: waits for nothing, runs the initialiser within its limits and settles how it ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{Instrument as _, debug, info, info_span, warn};

use super::walk::{Flow, Visitor};
use crate::component::{Body, Init};
use crate::core::{Phase, lock};
use crate::error::{BoxError, Cause, NodeError};
use crate::event::Event;
use crate::failure::{Failure, Why};
use crate::guard::{Guarded, log_quietly};
use crate::param::{Fetch, Kind};
use crate::plan::{Node, NodeId};
use crate::run::Run;
use crate::values::{Value, Values};

/// Visits the nodes of a start.
pub(crate) struct Starter {
    pub(crate) run: Arc<Run>,
}

/// How one initialiser ended.
enum Ended {
    Ready(Option<Value>),
    Failed(Cause),
    Cancelled,
}

impl Visitor for Starter {
    fn behind(&self, node: NodeId) -> &[NodeId] {
        self.run.dependents.of(node)
    }

    async fn visit(&self, node: NodeId) -> Flow {
        let core = &self.run.core;
        let node = core.plan.node(node);
        if core.given_up.is_cancelled() {
            return Flow::Halt;
        }
        let began = self.run.elapsed();
        if let Some(failure) = self.fallen_away(node.id) {
            let because = failure.clause();
            let failure = Failure::new(node.name.clone(), Why::Behind(failure));
            self.run.set_failure(node.id, failure);
            self.settle(node, began, Phase::Skipped);
            info!(node = node.name(), because, "skipped");
            core.observers.emit(&Event::Skipped {
                node,
                because: &because,
            });
            return Flow::Release;
        }
        core.set_phase(node.id, Phase::Running);
        core.observers.emit(&Event::Starting {
            node,
            attempt: FIRST_ATTEMPT,
        });
        let Body::Init(init) = &self.run.steps[node.id.index()].body else {
            // It was there before the start began.
            self.settle(node, Duration::ZERO, Phase::Ready);
            core.observers.emit(&Event::Ready {
                node,
                took: Duration::ZERO,
            });
            return Flow::Release;
        };
        let span = info_span!("component", name = node.name(), stage = node.stage());
        let ended = self
            .initialise(node.id, init.as_ref())
            .instrument(span)
            .await;
        self.finish(node, began, ended)
    }
}

impl Starter {
    async fn initialise(
        &self,
        id: NodeId,
        init: &(dyn Fn(&mut Fetch<'_>) -> Init + Send + Sync),
    ) -> Ended {
        let step = &self.run.steps[id.index()];
        let initialiser =
            Guarded::new(|| init(&mut Fetch::new(&self.run, id, FIRST_ATTEMPT, None)));
        tokio::select! {
            biased;
            // Cancellation rule: a start that is given up drops an initialiser at its current await; what it
            // registered with `on_stop` until then runs in the rollback.
            () = self.run.core.given_up.cancelled() => Ended::Cancelled,
            ended = limited(step.options().timeout, initialiser) => ended,
        }
    }

    /// Why `id` cannot run, when a provider that it cannot do without has failed or was skipped.
    fn fallen_away(&self, id: NodeId) -> Option<Failure> {
        let wires = self.run.wires.of(id).iter();
        let hard = wires.filter(|wire| matches!(wire.kind, Kind::Hard | Kind::Live));
        hard.filter_map(|wire| wire.provider)
            .find(|provider| {
                matches!(
                    self.run.core.phase(*provider),
                    Phase::Failed | Phase::Skipped
                )
            })
            .map(|provider| self.run.failure(provider))
    }

    fn finish(&self, node: &Node, began: Duration, ended: Ended) -> Flow {
        let (run, core) = (&self.run, &self.run.core);
        match ended {
            Ended::Ready(value) => {
                let provides = &run.steps[node.id.index()].options().provides;
                let values = value.map(|value| Values::new(value, provides));
                run.replace_value(node.id, values);
                let took = self.settle(node, began, Phase::Ready);
                run.telemetry.node_took(node.id, took);
                debug!(node = node.name(), ?took, "ready");
                core.observers.emit(&Event::Ready { node, took });
                Flow::Release
            }
            // An error after the start was given up is a consequence, not a cause.
            Ended::Failed(cause) if core.given_up.is_cancelled() => {
                log_quietly(|| {
                    debug!(
                        node = node.name(),
                        error = cause.as_error(),
                        "failed after the start was given up"
                    );
                });
                self.cancelled(node, began)
            }
            Ended::Failed(cause) => self.failed(node, began, cause),
            Ended::Cancelled => self.cancelled(node, began),
        }
    }

    fn failed(&self, node: &Node, began: Duration, cause: Cause) -> Flow {
        let core = &self.run.core;
        let cause = Arc::new(cause);
        let failure = Failure::new(node.name.clone(), Why::Failed(Arc::clone(&cause)));
        self.run.set_failure(node.id, failure);
        let took = self.settle(node, began, Phase::Failed);
        log_quietly(|| {
            warn!(
                node = node.name(),
                ?took,
                optional = node.is_optional(),
                error = cause.as_error(),
                "failed"
            );
        });
        core.observers.emit(&Event::Failed {
            node,
            took,
            attempts: FIRST_ATTEMPT,
            error: cause.as_error(),
        });
        if node.is_optional() {
            return Flow::Release;
        }
        // Noted before the others are told, so that whoever sees the start given up also finds the reason.
        lock(&self.run.failures).push(NodeError {
            node: node.clone(),
            took,
            attempts: FIRST_ATTEMPT,
            cause,
        });
        core.given_up.cancel();
        Flow::Halt
    }

    fn cancelled(&self, node: &Node, began: Duration) -> Flow {
        let took = self.settle(node, began, Phase::Cancelled);
        debug!(node = node.name(), ?took, "cancelled");
        self.run
            .core
            .observers
            .emit(&Event::Cancelled { node, took });
        Flow::Halt
    }

    /// Writes down when `node` was settled and returns its own time.
    fn settle(&self, node: &Node, began: Duration, phase: Phase) -> Duration {
        let settled = if node.is_value() {
            Duration::ZERO
        } else {
            self.run.elapsed()
        };
        self.run.set_times(node.id, began, settled);
        self.run.core.set_phase(node.id, phase);
        settled.saturating_sub(began)
    }
}

async fn limited(
    limit: Option<Duration>,
    initialiser: Guarded<Result<Option<Value>, BoxError>>,
) -> Ended {
    let mut initialiser = pin!(initialiser);
    let result = match limit {
        None => initialiser.await,
        // The initialiser is polled once more when its time is up: a result that is there counts.
        Some(limit) => match timeout(limit, &mut initialiser).await {
            Ok(result) => result,
            Err(_) => return Ended::Failed(Cause::TimedOut(limit)),
        },
    };
    match result {
        Ok(Ok(value)) => Ended::Ready(value),
        Ok(Err(error)) => Ended::Failed(Cause::Failed(error)),
        Err(panic) => Ended::Failed(Cause::Panicked(panic)),
    }
}

/// There are no retries yet.
const FIRST_ATTEMPT: u32 = 1;
