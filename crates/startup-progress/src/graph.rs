//! Turns the events of an init-graph into steps, so that the graph never hears of progress.

use std::{
    error::Error,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use init_graph::{Event, Node, Observer, Plan};

use crate::{
    Progress, StepStatus,
    life::Change,
    state::{NewStep, StepId},
};

/// Shows every node of one graph as a step; made by [`Progress::observer`].
///
/// A started graph does not make the service ready: say [`Progress::ready`] once the service
/// listens. A graph that fails to start makes it [`Failed`](crate::Readiness::Failed).
#[derive(Debug)]
pub struct GraphObserver {
    progress: Progress,
    /// The step of each node, by the node's index; `None` for a value and for a step past the bound.
    steps: Mutex<Vec<Option<StepId>>>,
}

impl Progress {
    /// An observer for one graph: `graph.observe(progress.observer())`.
    ///
    /// Each component becomes a step with its stage and the names of its dependencies; values, which
    /// are there from the beginning, do not. Several graphs
    /// may share one `Progress`, each with an observer of its own.
    #[must_use]
    pub fn observer(&self) -> GraphObserver {
        GraphObserver {
            progress: self.clone(),
            steps: Mutex::new(Vec::new()),
        }
    }
}

impl Observer for GraphObserver {
    fn on_event(&self, event: &Event<'_>) {
        match *event {
            Event::Planned { plan } => self.announce(plan),
            Event::Starting { node, attempt } => {
                self.change(node, &Change::Begin);
                if attempt > 1 {
                    self.change(node, &Change::Message(&format!("attempt {attempt}")));
                }
            }
            Event::Advanced {
                node,
                current,
                total,
                message,
            } => {
                self.change(node, &Change::Position { current, total });
                if let Some(message) = message {
                    self.change(node, &Change::Message(message));
                }
            }
            Event::Ready { node, .. } => self.end(node, StepStatus::Done, None),
            Event::Failed { node, error, .. } => {
                self.end(node, StepStatus::Failed, Some(&chain(error)));
            }
            Event::Skipped { node, because } => self.end(node, StepStatus::Skipped, Some(because)),
            Event::Cancelled { node, .. } => self.end(node, StepStatus::Cancelled, None),
            Event::StartFailed { error, .. } => {
                self.progress.fail(chain(error));
            }
            Event::Stopping { node } => self.change(node, &Change::Stopping),
            Event::Stopped { node, .. } => self.change(node, &Change::Stopped),
            Event::StopFailed { node, error, .. } => {
                self.change(
                    node,
                    &Change::StopFailed(&format!("stop: {}", chain(error))),
                );
            }
            // Readiness is the service's own word, and the end of a stop changes no step.
            _ => {}
        }
    }
}

impl GraphObserver {
    fn announce(&self, plan: &Plan) {
        let steps = plan.nodes().iter().map(|node| {
            // A value is there before anything starts: there is nothing to watch.
            if node.is_value() {
                return None;
            }
            let dependencies = plan.dependencies(node.id()).iter();
            let dependencies = dependencies.map(|id| plan.node(*id));
            let dependencies = dependencies.filter(|node| !node.is_value()).map(Node::name);
            self.progress.announce(&NewStep {
                name: node.name(),
                stage: node.stage(),
                dependencies: dependencies.collect(),
            })
        });
        // Nodes are listed in the order of their indices.
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) = steps.collect();
    }

    fn end(&self, node: &Node, status: StepStatus, text: Option<&str>) {
        self.change(node, &Change::End { status, text });
    }

    fn change(&self, node: &Node, change: &Change<'_>) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let step = steps.get(node.id().index()).copied().flatten();
        drop(steps);
        if let Some(step) = step {
            self.progress.change(step, change);
        }
    }
}

/// An error with its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
