//! Checks the log of a graph against the rules in the documentation of `Event`: a small machine for each node and one
//! for the graph. Every test that reads a [`Log`](crate::support::Log) has its events checked.

use std::time::Duration;

use init_graph::{Event, Graph, Node, Plan};

/// What was heard so far, and what of it should not have been.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    plan: Option<Plan>,
    dependents: Vec<Vec<usize>>,
    lives: Vec<Life>,
    whole: Whole,
    /// The nodes of the restart that is going on.
    restarting: Option<Vec<usize>>,
    faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Idle,
    /// After so many attempts.
    Queued(u32),
    Running(u32),
    Backoff(u32),
    Ready,
    /// Failed or cancelled, so that it may have something to stop.
    Fallen,
    /// Skipped, or left behind while it started.
    Out,
    /// Runs what it registered before it fell, while the others go on.
    CleaningUp,
    Stopping,
    Stopped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum Whole {
    #[default]
    New,
    Planned,
    StartFailed,
    Started,
    Settled,
    Finished,
}

impl Life {
    /// Whether its start has begun and not ended.
    fn is_on_its_way(self) -> bool {
        matches!(self, Self::Queued(_) | Self::Running(_) | Self::Backoff(_))
    }

    /// What a node becomes by an event about it; `None` when the event may not come now.
    fn next(self, event: &Event<'_>) -> Option<Self> {
        use Life::{
            Backoff, CleaningUp, Fallen, Idle, Out, Queued, Ready, Running, Stopped, Stopping,
        };
        let at_rest = matches!(self, Idle | Fallen | Out | Stopped);
        Some(match (self, event) {
            (_, Event::Queued { .. }) if at_rest => Queued(0),
            (Backoff(made), Event::Queued { .. }) => Queued(made),
            (_, Event::Starting { attempt: 1, .. }) if at_rest => Running(1),
            (Queued(made) | Backoff(made), Event::Starting { attempt, .. })
                if *attempt == made + 1 =>
            {
                Running(*attempt)
            }
            (Running(_), Event::Advanced { .. }) => self,
            (
                Running(made),
                Event::Retrying {
                    attempt, attempts, ..
                },
            ) if *attempt == made && attempt < attempts => Backoff(made),
            (Running(_), Event::Ready { .. }) => Ready,
            (Running(made) | Backoff(made) | Queued(made), Event::Failed { attempts, .. })
                if *attempts == made =>
            {
                Fallen
            }
            (_, Event::Failed { attempts: 0, .. }) if at_rest => Fallen,
            (Queued(0), Event::Skipped { .. }) => Out,
            (_, Event::Skipped { .. }) if at_rest => Out,
            (Queued(0), Event::Cancelled { .. }) => return None,
            (_, Event::Cancelled { .. }) if self.is_on_its_way() => Fallen,
            (Running(_), Event::Abandoned { .. }) => Out,
            (Ready, Event::Stopping { .. }) => Stopping,
            (Fallen, Event::Stopping { .. }) => CleaningUp,
            (CleaningUp, Event::Stopped { .. } | Event::StopFailed { .. }) => Out,
            (CleaningUp, Event::Abandoned { .. }) => Out,
            (Stopping, Event::Stopped { .. } | Event::StopFailed { .. }) => Stopped,
            (Stopping | Ready | Fallen, Event::Abandoned { .. }) => Stopped,
            _ => return None,
        })
    }
}

impl Pairing {
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(crate) fn hear(&mut self, event: &Event<'_>) {
        if self.whole == Whole::Finished && !matches!(event, Event::Planned { .. }) {
            self.fault(format!("after the end: {event:?}"));
        }
        match event.node() {
            Some(node) => self.hear_of(node, event),
            None => self.hear_whole(event),
        }
    }

    fn hear_of(&mut self, node: &Node, event: &Event<'_>) {
        let at = node.id().index();
        let Some(life) = self.lives.get(at).copied() else {
            return self.fault(format!("before the plan: {event:?}"));
        };
        match life.next(event) {
            Some(next) => self.lives[at] = next,
            None => self.fault(format!("{event:?} while it is {life:?}")),
        }
        match event {
            Event::Starting { .. } => self.expect_dependencies_settled(node),
            Event::Stopping { .. } if life == Life::Ready => self.expect_dependents_stopped(node),
            _ => {}
        }
    }

    fn expect_dependencies_settled(&mut self, node: &Node) {
        let Some(plan) = self.plan.clone() else {
            return;
        };
        for dependency in plan.dependencies(node.id()) {
            let life = self.lives[dependency.index()];
            if !matches!(
                life,
                Life::Ready | Life::Fallen | Life::CleaningUp | Life::Out
            ) {
                let other = plan.node(*dependency).name();
                self.fault(format!("{} starts while {other} is {life:?}", node.name()));
            }
        }
    }

    fn expect_dependents_stopped(&mut self, node: &Node) {
        for at in self.dependents[node.id().index()].clone() {
            // One that takes it as `Live` goes on while it is restarted.
            let stays = self
                .restarting
                .as_ref()
                .is_some_and(|nodes| !nodes.contains(&at));
            let life = self.lives[at];
            if stays {
                continue;
            }
            if life.is_on_its_way() || matches!(life, Life::Ready | Life::Stopping) {
                let name = node.name();
                self.fault(format!("{name} stops while number {at} is {life:?}"));
            }
        }
    }

    fn hear_whole(&mut self, event: &Event<'_>) {
        let before = self.whole;
        let fits = match event {
            Event::Planned { plan } => {
                self.begin(plan);
                true
            }
            Event::Started { .. } => self.turn(Whole::Planned, Whole::Started),
            Event::StartFailed { .. } if before == Whole::New => {
                self.turn(Whole::New, Whole::Finished)
            }
            Event::StartFailed { .. } => self.turn(Whole::Planned, Whole::StartFailed),
            Event::Settled { .. } => self.turn(Whole::Started, Whole::Settled),
            Event::Finished { .. } => {
                self.whole = Whole::Finished;
                matches!(before, Whole::StartFailed | Whole::Started | Whole::Settled)
            }
            Event::Restarting { nodes } => {
                let nodes = nodes.iter().map(|node| node.id().index()).collect();
                matches!(before, Whole::Started | Whole::Settled)
                    && self.restarting.replace(nodes).is_none()
            }
            Event::Restarted { .. } | Event::RestartFailed { .. } => {
                self.restarting.take().is_some()
            }
            _ => true,
        };
        if !fits {
            self.fault(format!("{event:?} while the graph is {before:?}"));
        }
        match event {
            Event::StartFailed { .. } => {
                self.expect_none("at the failed start", |life| life.is_on_its_way());
            }
            Event::Finished { .. } => self.expect_none("at the end", |life| {
                life.is_on_its_way()
                    || matches!(life, Life::Ready | Life::CleaningUp | Life::Stopping)
            }),
            _ => {}
        }
    }

    fn begin(&mut self, plan: &Plan) {
        let nodes = plan.nodes();
        self.lives = vec![Life::Idle; nodes.len()];
        self.dependents = vec![Vec::new(); nodes.len()];
        for node in nodes {
            for dependency in plan.dependencies(node.id()) {
                self.dependents[dependency.index()].push(node.id().index());
            }
        }
        self.plan = Some(plan.clone());
        self.whole = Whole::Planned;
        self.restarting = None;
    }

    fn turn(&mut self, from: Whole, to: Whole) -> bool {
        let fits = self.whole == from;
        self.whole = to;
        fits
    }

    fn expect_none(&mut self, when: &str, open: impl Fn(Life) -> bool) {
        let lives = self.lives.iter().enumerate();
        let left = lives.filter(|(_, life)| open(**life));
        let left: Vec<_> = left
            .map(|(at, life)| format!("{when} number {at} is {life:?}"))
            .collect();
        self.faults.extend(left);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

/// Two nodes, of which the second depends on the first.
fn two() -> Plan {
    let mut graph = Graph::new();
    graph.node("first");
    graph.node("second").after("first");
    graph.plan().unwrap()
}

/// How many faults there are in `events`, after the plan.
fn faults<'a>(events: impl Fn(&'a Node, &'a Node) -> Vec<Event<'a>>, plan: &'a Plan) -> usize {
    let mut pairing = Pairing::default();
    pairing.hear(&Event::Planned { plan });
    let nodes = plan.nodes();
    for event in events(&nodes[0], &nodes[1]) {
        pairing.hear(&event);
    }
    pairing.faults().len()
}

#[test]
fn a_sound_log_has_no_faults() {
    let plan = two();
    let took = Duration::ZERO;
    let found = faults(
        |first, second| {
            vec![
                Event::Starting {
                    node: first,
                    attempt: 1,
                },
                Event::Ready { node: first, took },
                Event::Starting {
                    node: second,
                    attempt: 1,
                },
                Event::Ready { node: second, took },
                Event::Started { took },
                Event::Settled { took },
                Event::Stopping { node: second },
                Event::Stopped { node: second, took },
                Event::Stopping { node: first },
                Event::Stopped { node: first, took },
                Event::Finished { took },
            ]
        },
        &plan,
    );
    assert_eq!(found, 0);
}

#[test]
fn what_comes_in_no_order_is_found() {
    let plan = two();
    let took = Duration::ZERO;
    let ready_twice = |node| {
        vec![
            Event::Starting { node, attempt: 1 },
            Event::Ready { node, took },
            Event::Ready { node, took },
        ]
    };
    assert_eq!(faults(|first, _| ready_twice(first), &plan), 1);
    let early = |node| vec![Event::Starting { node, attempt: 1 }];
    assert_eq!(faults(|_, second| early(second), &plan), 1);
    let skipping_one = |node| vec![Event::Starting { node, attempt: 2 }];
    assert_eq!(faults(|first, _| skipping_one(first), &plan), 1);
    let never_started = |node| vec![Event::Stopping { node }];
    assert_eq!(faults(|first, _| never_started(first), &plan), 1);
    let words = |node| {
        vec![Event::Advanced {
            node,
            current: 1,
            total: None,
            message: None,
        }]
    };
    assert_eq!(faults(|first, _| words(first), &plan), 1);
    let left_open = |node| {
        vec![
            Event::Starting { node, attempt: 1 },
            Event::Started { took },
            Event::Finished { took },
        ]
    };
    assert_eq!(faults(|first, _| left_open(first), &plan), 1);
    let after_the_end = |node| {
        vec![
            Event::Started { took },
            Event::Finished { took },
            Event::Skipped {
                node,
                because: "late",
            },
        ]
    };
    assert_eq!(faults(|first, _| after_the_end(first), &plan), 1);
}
