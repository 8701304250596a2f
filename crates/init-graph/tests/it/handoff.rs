//! Every interleaving of a few threads that drive small graphs, by a model checker in the place of `std::sync`.
//!
//! Workers take drivers from a list as a runtime would, and run the very file that the executor runs.

#![expect(
    dead_code,
    reason = "the executor uses more of these files than the model"
)]

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, Ordering};

use checked::{DEFERRED, Handoff, Turn};
use ready::Ranks;

#[path = "../../src/exec/handoff.rs"]
mod checked;
#[path = "../../src/exec/ready.rs"]
mod ready;

mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
}

/// The nodes behind each node, and which of them are deferred.
#[derive(Clone)]
struct Shape {
    behind: Vec<Vec<u32>>,
    deferred: Vec<u32>,
    ranks: Option<Vec<u64>>,
    /// A driver gives way after so many nodes.
    hops: u32,
    /// The node that activates all that are deferred.
    activates: Option<u32>,
    /// Nodes that release nobody.
    halts: Vec<u32>,
    /// Nodes that keep their driver until nothing else can run.
    waits: Vec<u32>,
}

fn shape(behind: &[&[u32]]) -> Shape {
    Shape {
        behind: behind.iter().map(|behind| behind.to_vec()).collect(),
        deferred: Vec::new(),
        ranks: None,
        hops: 64,
        activates: None,
        halts: Vec::new(),
        waits: Vec::new(),
    }
}

struct Model {
    shape: Shape,
    handoff: Handoff,
    /// Drivers that were spawned and do not run: those that carry a node, and the relief, which carries none.
    drivers: Mutex<Vec<Option<u32>>>,
    visited: Vec<AtomicU32>,
    waiting: Mutex<Vec<u32>>,
    overs: AtomicU32,
}

impl Model {
    fn new(shape: Shape) -> Self {
        let mut remaining = vec![0; shape.behind.len()];
        for node in shape.behind.iter().flatten() {
            remaining[*node as usize] += 1;
        }
        for node in &shape.deferred {
            remaining[*node as usize] |= DEFERRED;
        }
        let ranks = shape.ranks.clone().map_or_else(Ranks::default, Ranks::new);
        let visited = remaining.iter().map(|_| AtomicU32::new(0)).collect();
        Self {
            handoff: Handoff::new(remaining, ranks),
            drivers: Mutex::new(Vec::new()),
            visited,
            waiting: Mutex::new(Vec::new()),
            overs: AtomicU32::new(0),
            shape,
        }
    }

    fn begin(&self) {
        let roots = self.handoff.roots();
        self.hand_in(&roots);
    }

    fn hand_in(&self, nodes: &[u32]) {
        self.handoff.announce(nodes.len());
        if self.handoff.push(nodes) {
            self.spawn(None);
        }
    }

    fn spawn(&self, driver: Option<u32>) {
        self.drivers.lock().unwrap().push(driver);
    }

    /// What one worker of a runtime does, until no driver is left that could run.
    fn work(&self) {
        loop {
            let driver = self.drivers.lock().unwrap().pop();
            let Some(driver) = driver else { return };
            self.drive(driver);
        }
    }

    fn drive(&self, carried: Option<u32>) {
        self.take_turns(match carried {
            None => self.handoff.arrive(),
            Some(node) => Turn::of(node),
        });
    }

    fn take_turns(&self, mut turn: Turn) {
        let mut hops = 0;
        loop {
            if turn.over {
                self.overs.fetch_add(1, Ordering::Relaxed);
            }
            if turn.relief {
                // This driver becomes the relief, and another carries its node.
                self.spawn(turn.node);
                return self.spawn(None);
            }
            let Some(node) = turn.node else { return };
            if hops == self.shape.hops {
                if self.handoff.give_way(node) {
                    self.spawn(None);
                }
                return;
            }
            hops += 1;
            self.visit(node);
            if self.shape.waits.contains(&node) {
                return self.waiting.lock().unwrap().push(node);
            }
            turn = self.end(node);
        }
    }

    fn visit(&self, node: u32) {
        let before = self.visited[node as usize].fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "node {node} is visited once");
        for (other, behind) in self.shape.behind.iter().enumerate() {
            if behind.contains(&node) {
                let visited = self.visited[other].load(Ordering::Relaxed);
                assert_eq!(visited, 1, "node {other} comes before {node}");
            }
        }
        if self.shape.activates == Some(node) {
            // Twice, as two that ask for the same node do.
            for deferred in self.shape.deferred.iter().chain(&self.shape.deferred) {
                if self.handoff.activate(*deferred) {
                    self.hand_in(&[*deferred]);
                }
            }
        }
    }

    /// The nodes that none of `waiting` is before.
    fn free_of(&self, waiting: &[u32]) -> Vec<u32> {
        let mut held = waiting.to_vec();
        let mut at = 0;
        while let Some(node) = held.get(at) {
            held.extend(&self.shape.behind[*node as usize]);
            at += 1;
        }
        let nodes = 0..self.shape.behind.len() as u32;
        nodes.filter(|node| !held.contains(node)).collect()
    }

    fn end(&self, node: u32) -> Turn {
        if self.shape.halts.contains(&node) {
            self.handoff.end()
        } else {
            self.handoff.complete(&self.shape.behind[node as usize])
        }
    }
}

/// Runs through the interleavings of two and of three workers; `visited` are the nodes that have their turn.
fn check(shape: &Shape, visited: &[u32]) {
    explore(shape, visited, 1, 4);
    explore(shape, visited, 2, 2);
}

/// `switches` bounds how often a thread is left that could go on, which keeps this to seconds.
fn explore(shape: &Shape, visited: &[u32], others: usize, switches: usize) {
    let (shape, visited) = (shape.clone(), visited.to_vec());
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(switches);
    model.check(move || {
        let model = Arc::new(Model::new(shape.clone()));
        model.begin();
        let workers: Vec<_> = (0..others)
            .map(|_| {
                let model = Arc::clone(&model);
                loom::thread::spawn(move || model.work())
            })
            .collect();
        model.work();
        for worker in workers {
            worker.join().unwrap();
        }
        loop {
            let waiting = std::mem::take(&mut *model.waiting.lock().unwrap());
            if waiting.is_empty() {
                break;
            }
            for node in model.free_of(&waiting) {
                let times = model.visited[node as usize].load(Ordering::Relaxed);
                assert_eq!(times, 1, "{waiting:?} hold up {node}");
            }
            for node in waiting {
                model.take_turns(model.end(node));
                model.work();
            }
        }
        for (node, times) in (0..).zip(&model.visited) {
            let times = times.load(Ordering::Relaxed);
            assert_eq!(times, u32::from(visited.contains(&node)), "node {node}");
        }
        assert!(model.handoff.is_over());
        assert_eq!(
            model.overs.load(Ordering::Relaxed),
            1,
            "the end is told once"
        );
    });
}

#[test]
fn a_chain_is_walked_in_order_and_ends_once() {
    check(&shape(&[&[1], &[2], &[]]), &[0, 1, 2]);
}

#[test]
fn the_last_of_two_releases_what_waits_for_both() {
    check(&shape(&[&[1, 2], &[3], &[3], &[]]), &[0, 1, 2, 3]);
}

#[test]
fn of_a_fan_out_no_node_is_lost_and_none_is_taken_twice() {
    check(&shape(&[&[1, 2, 3], &[], &[], &[]]), &[0, 1, 2, 3]);
}

#[test]
fn several_roots_end_in_one_node() {
    check(&shape(&[&[3], &[3], &[3], &[]]), &[0, 1, 2, 3]);
}

#[test]
fn ranks_change_nothing_but_the_order() {
    let mut shape = shape(&[&[1, 2, 3], &[4], &[4], &[], &[]]);
    shape.ranks = Some(vec![9, 1, 5, 5, 0]);
    check(&shape, &[0, 1, 2, 3, 4]);
}

#[test]
fn a_driver_that_gives_way_leaves_its_node_to_the_relief() {
    let mut shape = shape(&[&[1, 2], &[3], &[3], &[]]);
    shape.hops = 1;
    check(&shape, &[0, 1, 2, 3]);
}

#[test]
fn nodes_that_take_long_hold_up_none_but_those_behind_them() {
    let mut shape = shape(&[&[1, 2, 3], &[4], &[], &[], &[]]);
    shape.waits = vec![1, 2];
    check(&shape, &[0, 1, 2, 3, 4]);
    shape.waits = vec![0, 1, 2, 3];
    check(&shape, &[0, 1, 2, 3, 4]);
}

#[test]
fn what_is_behind_a_halt_never_has_its_turn() {
    let mut shape = shape(&[&[1, 2], &[3], &[3], &[]]);
    shape.halts = vec![1];
    check(&shape, &[0, 1, 2]);
}

#[test]
fn a_deferred_node_that_is_activated_while_its_dependency_ends_runs_once() {
    // 2 waits for 0 and for its activation by 1.
    let mut shape = shape(&[&[2], &[], &[]]);
    shape.deferred = vec![2];
    shape.activates = Some(1);
    check(&shape, &[0, 1, 2]);
}

#[test]
fn a_deferred_node_that_nobody_activates_does_not_hold_up_the_end() {
    let mut shape = shape(&[&[1, 2], &[], &[]]);
    shape.deferred = vec![2];
    check(&shape, &[0, 1]);
}
