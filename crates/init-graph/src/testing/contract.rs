//! The rules of [`Event`](crate::Event) as a state machine: reads a log and lists where it breaks them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;

use super::recorded::{Recorded, What};
use crate::plan::Plan;

/// Every rule of [`Event`](crate::Event) that a run broke; `Display` lists them and then the events.
#[derive(Clone, Debug)]
pub struct Violations {
    found: Vec<String>,
    lines: Vec<String>,
}

impl Violations {
    pub(super) fn new(found: Vec<String>, lines: Vec<String>) -> Self {
        Self { found, lines }
    }

    /// One sentence each; at least one.
    pub fn list(&self) -> &[String] {
        &self.found
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run broke {} of its rules", self.found.len())?;
        for violation in &self.found {
            write!(f, "\n  {violation}")?;
        }
        f.write_str("\nafter these events")?;
        for (number, line) in self.lines.iter().enumerate() {
            write!(f, "\n  {number}: {line}")?;
        }
        Ok(())
    }
}

impl Error for Violations {}

pub(super) fn violations(events: &[&Recorded]) -> Vec<String> {
    let mut rules = Rules::default();
    for (number, event) in events.iter().enumerate() {
        rules.number = number;
        rules.graph(event);
        if let Some(node) = &event.node {
            rules.node(node, event);
        }
    }
    rules.found
}

/// What one node is doing, as far as its events tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running(u32),
    Retrying(u32),
    /// For a further attempt; the number is that of the last.
    QueuedAgain(u32),
    Ready,
    Failed,
    Skipped,
    Cancelled,
    Stopping,
    Stopped,
    Abandoned,
}

impl State {
    /// Whether it is at work or has something to stop.
    fn is_up(self) -> bool {
        matches!(
            self,
            Self::Queued
                | Self::Running(_)
                | Self::Retrying(_)
                | Self::QueuedAgain(_)
                | Self::Ready
                | Self::Stopping
        )
    }
}

#[derive(Default)]
struct Rules {
    found: Vec<String>,
    /// Of the event that is looked at.
    number: usize,
    last: Option<What>,
    ended: Option<What>,
    settled: bool,
    finished: bool,
    restarting: Option<HashSet<String>>,
    states: HashMap<String, State>,
    /// Those that have settled in their latest start.
    settled_nodes: HashSet<String>,
    /// Those that failed or were cancelled in their latest start: they clean up while the others go on.
    fallen: HashSet<String>,
    /// Names of the dependencies, and of the dependents, of each node.
    dependencies: HashMap<String, Vec<String>>,
    dependents: HashMap<String, Vec<String>>,
}

impl Rules {
    fn broken(&mut self, text: impl fmt::Display) {
        self.found.push(format!("event {}: {text}", self.number));
    }

    fn rule(&mut self, kept: bool, text: &str) {
        if !kept {
            self.broken(text);
        }
    }

    // === of the graph ===

    fn graph(&mut self, event: &Recorded) {
        let first = self.last.replace(event.what).is_none();
        self.rule(!self.finished, "something was heard after `finished`");
        let wiring_error = event.what == What::StartFailed && first;
        self.rule(
            first == (event.what == What::Planned) || wiring_error,
            "`planned` comes first and once",
        );
        match event.what {
            What::Planned => {
                if let Some(plan) = &event.plan {
                    self.learn(plan);
                }
            }
            What::Started | What::StartFailed => {
                self.rule(self.ended.is_none(), "a start ends once");
                self.ended = Some(event.what);
            }
            What::Settled => {
                self.rule(
                    self.ended == Some(What::Started) && !self.settled,
                    "`settled` comes once, after `started`",
                );
                self.settled = true;
            }
            What::Restarting => {
                self.rule(
                    self.ended == Some(What::Started) && self.restarting.is_none(),
                    "one restart at a time, after `started`",
                );
                self.restarting = Some(event.nodes.iter().cloned().collect());
            }
            What::Restarted | What::RestartFailed => {
                let restarting = self.restarting.take();
                self.rule(restarting.is_some(), "a restart ends that did not begin");
            }
            What::Finished => self.finish(),
            _ => {}
        }
    }

    fn learn(&mut self, plan: &Plan) {
        for node in plan.nodes() {
            let name = node.name().to_owned();
            for other in plan.dependencies(node.id()) {
                let other = plan.node(*other).name().to_owned();
                self.dependents
                    .entry(other.clone())
                    .or_default()
                    .push(name.clone());
                self.dependencies
                    .entry(name.clone())
                    .or_default()
                    .push(other);
            }
            self.states.insert(name, State::Idle);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        self.rule(self.ended.is_some(), "the stop is over before the start");
        let up = self.states.iter().filter(|(_, state)| state.is_up());
        let mut up: Vec<_> = up
            .map(|(name, state)| format!("`{name}` is {state:?}"))
            .collect();
        up.sort();
        for text in up {
            self.broken(format!("when all was over, {text}"));
        }
    }

    // === of one node ===

    fn node(&mut self, name: &str, event: &Recorded) {
        let Some(&old) = self.states.get(name) else {
            self.broken(format!("`{name}` is not in the plan"));
            return;
        };
        let again = self
            .restarting
            .as_ref()
            .is_some_and(|nodes| nodes.contains(name));
        let fresh = old == State::Idle || again && !old.is_up();
        let attempt = event.attempt.unwrap_or(0);
        use State as S;
        let (allowed, new) = match event.what {
            What::Queued => match old {
                S::Retrying(last) => (true, S::QueuedAgain(last)),
                _ => (fresh, S::Queued),
            },
            What::Starting if attempt == 1 => (fresh || old == S::Queued, S::Running(1)),
            What::Starting => {
                let last = attempt.wrapping_sub(1);
                let follows = [S::Retrying(last), S::QueuedAgain(last)].contains(&old);
                (follows, S::Running(attempt))
            }
            What::Advanced => (matches!(old, S::Running(_)), old),
            What::Retrying => (old == S::Running(attempt), S::Retrying(attempt)),
            What::Ready => (matches!(old, S::Running(_)), S::Ready),
            What::Failed => {
                let at_work = matches!(old, S::Running(_) | S::Retrying(_) | S::QueuedAgain(_));
                let no_attempt = attempt == 0 && (fresh || old == S::Queued);
                (at_work || no_attempt, S::Failed)
            }
            What::Skipped => (fresh || old == S::Queued, S::Skipped),
            What::Cancelled => {
                let at_work = matches!(old, S::Running(_) | S::Retrying(_) | S::QueuedAgain(_));
                (at_work, S::Cancelled)
            }
            What::Abandoned => (matches!(old, S::Running(_) | S::Stopping), S::Abandoned),
            What::Stopping => (
                matches!(old, S::Ready | S::Failed | S::Cancelled),
                S::Stopping,
            ),
            What::Stopped | What::StopFailed => (old == S::Stopping, S::Stopped),
            _ => return,
        };
        if !allowed {
            self.broken(format!("`{event}` while it is {old:?}"));
        }
        self.states.insert(name.to_owned(), new);
        match event.what {
            What::Queued | What::Starting if fresh => {
                self.settled_nodes.remove(name);
                self.fallen.remove(name);
                self.behind_dependencies(name);
            }
            What::Stopping if old == S::Ready => self.ahead_of_dependents(name),
            What::Failed | What::Cancelled => {
                self.fallen.insert(name.to_owned());
                if event.what.settles() {
                    self.settled_nodes.insert(name.to_owned());
                }
            }
            what if what.settles() => {
                self.settled_nodes.insert(name.to_owned());
            }
            _ => {}
        }
    }

    fn behind_dependencies(&mut self, name: &str) {
        let others = self.dependencies.get(name).cloned().unwrap_or_default();
        for other in others {
            if !self.settled_nodes.contains(&other) {
                self.broken(format!("`{name}` begins before `{other}` is settled"));
            }
        }
    }

    fn ahead_of_dependents(&mut self, name: &str) {
        let others = self.dependents.get(name).cloned().unwrap_or_default();
        for other in others {
            // In a restart, those that follow the value by `Live` go on.
            let stays = |nodes: &HashSet<String>| !nodes.contains(&other);
            if self.restarting.as_ref().is_some_and(stays) {
                continue;
            }
            if self.states.get(&other).is_some_and(|state| state.is_up()) {
                self.broken(format!(
                    "`{name}` stops before its dependent `{other}` has stopped"
                ));
            }
        }
        let before = self.dependencies.get(name).cloned().unwrap_or_default();
        for other in before {
            let state = self.states.get(&other);
            let stops = matches!(state, Some(State::Stopping | State::Stopped));
            if stops && !self.fallen.contains(&other) {
                self.broken(format!(
                    "`{name}` stops after `{other}`, which it depends on"
                ));
            }
        }
    }
}
