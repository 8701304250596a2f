//! Random graphs as data, and what has to happen to each of their nodes: a model that knows nothing of tasks.
//!
//! Time is in milliseconds. Work takes even times and limits are odd, so that no two ends that matter fall together.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use init_graph::Policy;
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: Vec<Node>,
    /// Whether one more node takes the values of all.
    pub(crate) collects: bool,
    pub(crate) policy: Policy,
    pub(crate) cancel_after: Option<u64>,
    /// Of the whole start.
    pub(crate) timeout: Option<u64>,
    /// The start is over when this node is settled.
    pub(crate) until: Option<usize>,
    pub(crate) cancel_grace: u64,
    pub(crate) concurrency: Option<usize>,
    /// Of the class that some nodes are of.
    pub(crate) limit: Option<usize>,
    pub(crate) added_backwards: bool,
}

/// A node; what it depends on has a lower number.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// By name, or by handle where that is possible.
    pub(crate) after: Vec<(usize, bool)>,
    /// By `Component::needs`.
    pub(crate) needs: Option<usize>,
    pub(crate) first: (Take, usize),
    pub(crate) second: (Take, usize),
    pub(crate) attempts: Vec<Attempt>,
    /// How many attempts there may be, and the wait between them.
    pub(crate) retry: (u32, u64),
    pub(crate) timeout: Option<u64>,
    pub(crate) total_timeout: Option<u64>,
    pub(crate) stall_timeout: Option<u64>,
    /// Whether it says every 2 ms that it gets on.
    pub(crate) speaks: bool,
    pub(crate) optional: bool,
    pub(crate) background: bool,
    pub(crate) condition: Option<bool>,
    pub(crate) limited: bool,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) stop_timeout: Option<u64>,
    /// Whether it leaves a task behind that ends with its token.
    pub(crate) spawns: bool,
}

/// By which parameter a node takes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Nothing,
    Hard,
    Live,
    Soft,
    Outcome,
    Order,
    MaybeOrder,
    Lazy,
}

/// What an attempt does; the last one of a node stands for all further ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) takes: u64,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    Fails,
    Panics,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    pub(crate) takes: u64,
    pub(crate) end: HookEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookEnd {
    Well,
    Fails,
    Panics,
    Hangs,
}

/// What happens to a node if nothing gives up the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) begins: u64,
    pub(crate) settled: u64,
    pub(crate) outcome: Outcome,
    pub(crate) attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ready,
    Failed,
    Skipped,
    /// Only `Lazy` reaches it, and nobody asked.
    Unasked,
}

impl Node {
    pub(crate) fn attempt(&self, number: u32) -> Attempt {
        let at = (number as usize - 1).min(self.attempts.len() - 1);
        self.attempts[at]
    }

    fn takes(&self) -> [(Take, usize); 2] {
        [self.first, self.second]
    }

    /// Those that settle before it begins.
    pub(crate) fn behind(&self) -> BTreeSet<usize> {
        let taken = self.takes().into_iter();
        let taken = taken.filter(|(take, _)| !matches!(take, Take::Nothing | Take::Lazy));
        let after = self.after.iter().map(|(other, _)| *other);
        taken
            .map(|(_, other)| other)
            .chain(after)
            .chain(self.needs)
            .collect()
    }

    /// Those that it cannot do without.
    fn hard(&self) -> impl Iterator<Item = usize> {
        let taken = self.takes().into_iter();
        let taken = taken.filter(|(take, _)| matches!(take, Take::Hard | Take::Live));
        taken.map(|(_, other)| other).chain(self.needs)
    }

    pub(crate) fn lazy(&self) -> Option<usize> {
        let mut taken = self.takes().into_iter();
        taken
            .find(|(take, _)| *take == Take::Lazy)
            .map(|(_, other)| other)
    }

    /// How long the work of all attempts takes from the first on, how it ends and how many there are.
    fn work(&self) -> (u64, Outcome, u32) {
        let mut now = 0;
        let mut number = 1;
        loop {
            let attempt = self.attempt(number);
            let silent = self.stall_timeout.filter(|_| !self.speaks);
            let left = self.total_timeout.map(|total| total - now);
            let limit = [self.timeout, silent, left].into_iter().flatten().min();
            // What is there when its time is up counts.
            let in_time = limit.is_none_or(|limit| attempt.takes <= limit);
            now += limit.map_or(attempt.takes, |limit| limit.min(attempt.takes));
            if in_time && attempt.end == End::Well {
                return (now, Outcome::Ready, number);
            }
            let panicked = in_time && attempt.end == End::Panics;
            let next = now + self.retry.1;
            let too_late = self.total_timeout.is_some_and(|total| next >= total);
            if panicked || number >= self.retry.0 || too_late {
                return (now, Outcome::Failed, number);
            }
            now = next.max(self.undone(now));
            number += 1;
        }
    }

    /// When the hooks of an attempt that failed at `now` have run, which is before the next one begins.
    fn undone(&self, now: u64) -> u64 {
        let end = now + self.stop_timeout.unwrap_or(STOP_TIMEOUT).min(STOP_TIMEOUT);
        let end = self.total_timeout.map_or(end, |total| total.min(end));
        self.hooks.iter().fold(now, |at, hook| match hook.end {
            HookEnd::Hangs => end,
            _ => (at + hook.takes).min(end),
        })
    }
}

// === the model ===

/// What happens to each node if nothing gives up the start and no permit is scarce.
pub(crate) fn fates(shape: &Shape) -> Vec<Fate> {
    let mut model = Model {
        shape,
        wanted: eager(shape),
        fates: vec![None; shape.nodes.len()],
        begun: vec![false; shape.nodes.len()],
        ends: BinaryHeap::new(),
    };
    let mut now = 0;
    loop {
        while model.begin_what_can(now) {}
        let Some(Reverse((at, number))) = model.ends.pop() else {
            break;
        };
        now = at;
        let begins = model.fates[number].map_or(0, |fate| fate.begins);
        let (_, outcome, attempts) = shape.nodes[number].work();
        model.fates[number] = Some(Fate {
            begins,
            settled: now,
            outcome,
            attempts,
        });
    }
    let unasked = Fate {
        begins: 0,
        settled: 0,
        outcome: Outcome::Unasked,
        attempts: 0,
    };
    let fates = model.fates.into_iter();
    fates.map(|fate| fate.unwrap_or(unasked)).collect()
}

struct Model<'a> {
    shape: &'a Shape,
    wanted: Vec<bool>,
    /// Of those that have begun, with a settled time of `OPEN` until they are settled.
    fates: Vec<Option<Fate>>,
    begun: Vec<bool>,
    ends: BinaryHeap<Reverse<(u64, usize)>>,
}

const OPEN: u64 = u64::MAX;

/// Of the graph as a whole, by default.
const STOP_TIMEOUT: u64 = 30_000;

impl Model<'_> {
    fn settled(&self, number: usize) -> Option<Fate> {
        self.fates[number].filter(|fate| fate.settled != OPEN)
    }

    /// Whether anything changed.
    fn begin_what_can(&mut self, now: u64) -> bool {
        let mut changed = false;
        for number in 0..self.shape.nodes.len() {
            let node = &self.shape.nodes[number];
            if !self.wanted[number] || self.begun[number] {
                continue;
            }
            if self.fates[number].is_none() {
                let behind = node.behind();
                if !behind.iter().all(|other| self.settled(*other).is_some()) {
                    continue;
                }
                changed = true;
                let fallen = |other| {
                    self.settled(other)
                        .is_some_and(|fate| fate.outcome != Outcome::Ready)
                };
                if node.condition == Some(false) || node.hard().any(fallen) {
                    self.begun[number] = true;
                    self.fates[number] = Some(Fate {
                        begins: now,
                        settled: now,
                        outcome: Outcome::Skipped,
                        attempts: 0,
                    });
                    continue;
                }
                self.fates[number] = Some(Fate {
                    begins: now,
                    settled: OPEN,
                    outcome: Outcome::Ready,
                    attempts: 0,
                });
                if let Some(target) = node.lazy() {
                    self.want(target);
                }
            }
            // It asks first and works when it has its answer.
            if node
                .lazy()
                .is_none_or(|target| self.settled(target).is_some())
            {
                changed = true;
                self.begun[number] = true;
                self.ends.push(Reverse((now + node.work().0, number)));
            }
        }
        changed
    }

    fn want(&mut self, number: usize) {
        if !std::mem::replace(&mut self.wanted[number], true) {
            for other in self.shape.nodes[number].behind() {
                self.want(other);
            }
        }
    }
}

/// Which nodes start without being asked for.
pub(crate) fn eager(shape: &Shape) -> Vec<bool> {
    let count = shape.nodes.len();
    if shape.collects {
        return vec![true; count];
    }
    let lazy: BTreeSet<_> = shape.nodes.iter().filter_map(Node::lazy).collect();
    let behind: Vec<_> = shape.nodes.iter().map(Node::behind).collect();
    let taken: BTreeSet<_> = behind.iter().flatten().copied().collect();
    // Numbers fall along every edge, so nobody is reached only in a circle.
    let mut eager: Vec<_> = (0..count)
        .map(|number| !lazy.contains(&number) && !taken.contains(&number))
        .collect();
    for number in (0..count).rev() {
        for other in &behind[number] {
            eager[*other] |= eager[number];
        }
    }
    eager
}

/// How long a stop takes in which every hook ends well, after a start in which every node was ready.
pub(crate) fn stop_time(shape: &Shape) -> u64 {
    let mut stopped: Vec<u64> = vec![0; shape.nodes.len()];
    let mut begins = stopped.clone();
    for (number, node) in shape.nodes.iter().enumerate().rev() {
        let hooks: u64 = node.hooks.iter().map(|hook| hook.takes).sum();
        stopped[number] = begins[number] + hooks;
        for other in node.behind() {
            begins[other] = begins[other].max(stopped[number]);
        }
    }
    stopped.into_iter().max().unwrap_or(0)
}

/// Which nodes the start does not wait for: those in the background or on demand, and those behind them; where it waits
/// for one node only, all the others.
pub(crate) fn not_waited_for(shape: &Shape) -> Vec<bool> {
    if let Some(until) = shape.until {
        return (0..shape.nodes.len())
            .map(|number| number != until)
            .collect();
    }
    let eager = eager(shape);
    let mut off: Vec<bool> = Vec::new();
    for (number, node) in shape.nodes.iter().enumerate() {
        let behind = node.behind().iter().any(|other| off[*other]);
        off.push(node.background || !eager[number] || behind);
    }
    off
}

// === random shapes ===

/// What may happen in a graph.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wild {
    pub(crate) failures: bool,
    pub(crate) cancels: bool,
    pub(crate) limits: bool,
    pub(crate) lazies: bool,
    pub(crate) bad_hooks: bool,
    pub(crate) background: bool,
    pub(crate) milestones: bool,
    pub(crate) size: usize,
}

pub(crate) fn shapes(wild: Wild) -> impl Strategy<Value = Shape> {
    let policy = match wild.failures {
        true => prop_oneof![
            Just(Policy::FailFast),
            Just(Policy::Drain),
            Just(Policy::KeepGoing)
        ]
        .boxed(),
        false => Just(Policy::FailFast).boxed(),
    };
    let limits = if wild.limits { 0.7 } else { 0.0 };
    (
        prop::collection::vec(nodes(wild), 1..=wild.size),
        prop::bool::weighted(0.2),
        policy,
        maybe(if wild.cancels { 0.6 } else { 0.0 }, 1..80_u64),
        prop_oneof![3 => Just(0), 1 => 1..20_u64],
        maybe(limits, 1..4_usize),
        maybe(limits, 1..3_usize),
        any::<bool>(),
        maybe(if wild.cancels { 0.3 } else { 0.0 }, 1..80_u64),
        maybe(if wild.milestones { 0.4 } else { 0.0 }, any::<Index>()),
    )
        .prop_map(
            |(
                nodes,
                collects,
                policy,
                cancel,
                grace,
                concurrency,
                limit,
                backwards,
                time,
                until,
            )| {
                let nodes = nodes.into_iter().enumerate();
                let mut shape = Shape {
                    nodes: nodes.map(|(own, rough)| rough.node(own)).collect(),
                    collects,
                    policy,
                    // Even times are those of work.
                    cancel_after: cancel.map(|after| after | 1),
                    timeout: time.map(|limit| limit | 1),
                    until: None,
                    cancel_grace: if grace == 0 { 0 } else { grace | 1 },
                    concurrency,
                    limit,
                    added_backwards: backwards,
                };
                make_valid(&mut shape);
                let eager = eager(&shape);
                let until = until.map(|index| index.index(eager.len()));
                shape.until = until.filter(|number| eager[*number]);
                shape
            },
        )
}

/// What must start may not need what may fail.
fn make_valid(shape: &mut Shape) {
    for number in 0..shape.nodes.len() {
        let hard: Vec<_> = shape.nodes[number].hard().collect();
        if hard.iter().any(|other| shape.nodes[*other].optional) {
            shape.nodes[number].optional = true;
        }
    }
}

#[derive(Clone, Debug)]
struct Rough {
    edges: Vec<(Index, bool)>,
    needs: Option<Index>,
    first: (Take, Index),
    second: (Take, Index),
    node: Node,
}

impl Rough {
    fn node(self, own: usize) -> Node {
        let mut node = self.node;
        if own == 0 {
            return node;
        }
        let edges = self.edges.iter();
        node.after = edges
            .map(|(index, handle)| (index.index(own), *handle))
            .collect();
        node.needs = self.needs.map(|index| index.index(own));
        node.first = (self.first.0, self.first.1.index(own));
        node.second = (self.second.0, self.second.1.index(own));
        if node.lazy().is_some() {
            // It works only once it has its answer, so its own limits would be about the other's time.
            (node.timeout, node.total_timeout, node.stall_timeout) = (None, None, None);
            node.retry.0 = 1;
        }
        node
    }
}

fn takes(wild: Wild, lazy: bool) -> impl Strategy<Value = Take> {
    prop_oneof![
        6 => Just(Take::Nothing),
        3 => Just(Take::Hard),
        1 => Just(Take::Live),
        2 => Just(Take::Soft),
        1 => Just(Take::Outcome),
        1 => Just(Take::Order),
        1 => Just(Take::MaybeOrder),
        2 => Just(if wild.lazies && lazy { Take::Lazy } else { Take::Nothing }),
    ]
}

fn nodes(wild: Wild) -> impl Strategy<Value = Rough> {
    let edges = (
        prop::collection::vec((any::<Index>(), any::<bool>()), 0..3),
        maybe(0.15, any::<Index>()),
        (takes(wild, true), any::<Index>()),
        (takes(wild, false), any::<Index>()),
    );
    let chance = |share: f64| prop::bool::weighted(if wild.failures { share } else { 0.0 });
    let odd = |share: f64, most: u64| {
        let share = if wild.failures { share } else { 0.0 };
        maybe(share, (1..most).prop_map(|half| 2 * half + 1))
    };
    let work = (
        prop::collection::vec(attempts(wild), 1..4),
        (1..4_u32, (0..8_u64).prop_map(|half| 2 * half)),
        (odd(0.15, 15), odd(0.1, 30), odd(0.1, 10)),
        any::<bool>(),
    );
    let rest = (
        chance(0.3),
        prop::bool::weighted(if wild.background { 0.2 } else { 0.0 }),
        maybe(if wild.failures { 0.15 } else { 0.0 }, any::<bool>()),
        any::<bool>(),
        prop::collection::vec(hooks(wild), 0..3),
        maybe(if wild.bad_hooks { 0.3 } else { 0.0 }, 3..15_u64),
        prop::bool::weighted(0.2),
    );
    (edges, work, rest).prop_map(|((edges, needs, first, second), work, rest)| {
        let (attempts, retry, (timeout, total_timeout, stall_timeout), speaks) = work;
        let (optional, background, condition, limited, hooks, stop_timeout, spawns) = rest;
        Rough {
            edges,
            needs,
            first,
            second,
            node: Node {
                after: Vec::new(),
                needs: None,
                first: (Take::Nothing, 0),
                second: (Take::Nothing, 0),
                attempts,
                retry,
                timeout,
                total_timeout,
                stall_timeout,
                speaks,
                optional,
                background,
                condition,
                limited,
                hooks,
                stop_timeout: stop_timeout.map(|limit| limit | 1),
                spawns,
            },
        }
    })
}

fn attempts(wild: Wild) -> impl Strategy<Value = Attempt> {
    let end = match wild.failures {
        true => prop_oneof![
            12 => Just(End::Well),
            2 => Just(End::Fails),
            1 => Just(End::Panics)
        ]
        .boxed(),
        false => Just(End::Well).boxed(),
    };
    let takes = (0..12_u64).prop_map(|half| 2 * half);
    (takes, end).prop_map(|(takes, end)| Attempt { takes, end })
}

fn hooks(wild: Wild) -> impl Strategy<Value = Hook> {
    let end = match wild.bad_hooks {
        true => prop_oneof![
            6 => Just(HookEnd::Well),
            1 => Just(HookEnd::Fails),
            1 => Just(HookEnd::Panics),
            1 => Just(HookEnd::Hangs)
        ]
        .boxed(),
        false => Just(HookEnd::Well).boxed(),
    };
    let takes = (0..6_u64).prop_map(|half| 2 * half);
    (takes, end).prop_map(|(takes, end)| Hook { takes, end })
}

fn maybe<S: Strategy + 'static>(share: f64, some: S) -> BoxedStrategy<Option<S::Value>>
where
    S::Value: Clone + 'static,
{
    if share == 0.0 {
        Just(None).boxed()
    } else {
        prop::option::weighted(share, some).boxed()
    }
}
