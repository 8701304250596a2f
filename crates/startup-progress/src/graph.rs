//! Turns the events of an init-graph into steps, so that the graph never hears of progress.

use std::{
    error::Error,
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
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
    /// By the index of the node.
    nodes: Mutex<Vec<Shown>>,
}

/// What is shown of one node.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    /// `None` for a value, a lazy node that nobody has asked for and a step past the bound.
    step: Option<StepId>,
    /// How many attempts there may be, once that is known.
    attempts: u32,
}

impl Progress {
    /// An observer for one graph: `graph.observe(progress.observer())`.
    ///
    /// Each component becomes a step with its stage and the names of its dependencies; values, which
    /// are there from the beginning, do not. A component that starts on first use becomes a step
    /// when it is first used, so that one that nobody uses holds up no percentage. A wait for
    /// another attempt or for a permit is the step's message. Several graphs may share one
    /// `Progress`, each with an observer of its own.
    #[must_use]
    pub fn observer(&self) -> GraphObserver {
        GraphObserver {
            progress: self.clone(),
            nodes: Mutex::new(Vec::new()),
        }
    }
}

impl Observer for GraphObserver {
    fn on_event(&self, event: &Event<'_>) {
        match *event {
            Event::Planned { plan } => self.announce_all(plan),
            Event::Queued { node, class } => {
                self.announce_lazy(node);
                self.say(node, &format!("waits for a permit of class {class}"));
            }
            Event::Starting { node, attempt } => {
                self.announce_lazy(node);
                self.begin(node, attempt);
            }
            Event::Advanced {
                node,
                current,
                total,
                message,
            } => {
                self.change(node, &Change::Position { current, total });
                if let Some(message) = message {
                    self.say(node, message);
                }
            }
            Event::Retrying {
                node,
                attempt,
                attempts,
                delay,
                error,
            } => {
                self.note_attempts(node, attempts);
                let next = number(attempt.saturating_add(1), attempts);
                let (delay, error) = (wait(delay), chain(error));
                self.say(node, &format!("{next}, next in {delay}: {error}"));
            }
            Event::Ready { node, .. } => self.end(node, StepStatus::Done, None),
            Event::Failed { node, error, .. } => {
                self.end(node, StepStatus::Failed, Some(&chain(error)));
            }
            Event::Skipped { node, because } => {
                self.announce_lazy(node);
                self.end(node, StepStatus::Skipped, Some(because));
            }
            Event::Cancelled { node, .. } => self.end(node, StepStatus::Cancelled, None),
            Event::Abandoned { node, .. } => self.abandon(node),
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
            // Readiness is the service's own word, and the ends of a start, a restart and a stop
            // change no step.
            _ => {}
        }
    }
}

impl GraphObserver {
    fn announce_all(&self, plan: &Plan) {
        let shown = plan.nodes().iter().map(|node| {
            let dependencies = plan.dependencies(node.id()).iter();
            let dependencies = dependencies.map(|id| plan.node(*id));
            let dependencies = dependencies.filter(|node| !node.is_value()).map(Node::name);
            // A value is there before anything starts: there is nothing to watch.
            let begins = !node.is_value() && !node.is_lazy();
            Shown {
                step: begins
                    .then(|| self.announce(node, dependencies.collect()))
                    .flatten(),
                attempts: 0,
            }
        });
        // Nodes are listed in the order of their indices.
        *self.nodes() = shown.collect();
    }

    fn announce(&self, node: &Node, dependencies: Vec<&str>) -> Option<StepId> {
        self.progress.announce(&NewStep {
            name: node.name(),
            stage: node.stage(),
            dependencies,
            background: node.is_background(),
            milestone: node.is_milestone(),
        })
    }

    /// Makes a lazy node a step, since it is used now.
    fn announce_lazy(&self, node: &Node) {
        if node.is_lazy() && self.shown(node).step.is_none() {
            // What it depends on is there already, or is a step of its own.
            let step = self.announce(node, Vec::new());
            self.note(node, |shown| shown.step = step);
        }
    }

    fn begin(&self, node: &Node, attempt: u32) {
        self.change(node, &Change::Begin);
        if attempt > 1 {
            self.change(node, &Change::Again);
            let attempts = self.shown(node).attempts;
            self.say(node, &number(attempt, attempts));
        }
    }

    fn abandon(&self, node: &Node) {
        const BLOCKED: &str = "blocks its thread; left behind";
        self.end(node, StepStatus::Abandoned, Some(BLOCKED));
        // One that was ready already.
        let text = format!("stop: {BLOCKED}");
        self.change(node, &Change::StopFailed(&text));
    }

    fn end(&self, node: &Node, status: StepStatus, text: Option<&str>) {
        self.change(node, &Change::End { status, text });
    }

    fn say(&self, node: &Node, message: &str) {
        self.change(node, &Change::Message(message));
    }

    fn change(&self, node: &Node, change: &Change<'_>) {
        if let Some(step) = self.shown(node).step {
            self.progress.change(step, change);
        }
    }

    fn note_attempts(&self, node: &Node, attempts: u32) {
        self.note(node, |shown| shown.attempts = attempts);
    }

    fn note(&self, node: &Node, change: impl FnOnce(&mut Shown)) {
        if let Some(shown) = self.nodes().get_mut(node.id().index()) {
            change(shown);
        }
    }

    fn shown(&self, node: &Node) -> Shown {
        let shown = self.nodes().get(node.id().index()).copied();
        shown.unwrap_or_default()
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Shown>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(attempt: u32, attempts: u32) -> String {
    match attempts {
        0 => format!("attempt {attempt}"),
        _ => format!("attempt {attempt} of {attempts}"),
    }
}

/// A wait, as coarse as somebody who watches it needs it: "250 ms", "1.5 s", "4 s", "90 s".
fn wait(delay: Duration) -> String {
    let ms = delay.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 if ms % 1_000 >= 100 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} s", ms / 1_000),
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
