//! Which node is visited next, and by whom: the counters, the shared queue and the rule by which drivers relieve each
//! other. Decisions only, no tasks and no waiting, so that a model checker can run through every interleaving.
//!
//! A *driver* is a task that visits nodes one after another. A visit may take its thread or wait for long, so whoever
//! leaves nodes in the queue makes sure that another driver is about to come for them: the *relief*. There is at most
//! one, and whenever the lock is free, a queue that is not empty has one. So no visit holds up another node, and yet
//! nodes that end at once cost no task each.

use super::ready::{Ranks, Ready};
use super::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use super::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) struct Handoff {
    /// Per node the edges to it that are not counted off yet; [`DEFERRED`] on top until it is activated.
    remaining: Box<[AtomicU32]>,
    /// Nodes that became free and have not ended; the walk is over while there are none.
    open: AtomicUsize,
    queue: Mutex<Queue>,
    ranks: Ranks,
}

struct Queue {
    ready: Ready,
    /// Whether a relief was asked for that has not arrived.
    relief: bool,
}

/// What a driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Turn {
    /// The node to visit, or `None` to end.
    pub(crate) node: Option<u32>,
    /// Whether the caller has to see to it that a relief [arrives](Handoff::arrive).
    pub(crate) relief: bool,
    /// Whether the walk is over with this: each time it becomes so, one caller is told.
    pub(crate) over: bool,
}

impl Turn {
    /// To visit `node`, with nothing else to see to.
    pub(crate) fn of(node: u32) -> Self {
        Self {
            node: Some(node),
            relief: false,
            over: false,
        }
    }
}

impl Handoff {
    /// `remaining` has the edges to each node, and those that wait to be activated carry [`DEFERRED`] as well.
    pub(crate) fn new(remaining: impl IntoIterator<Item = u32>, ranks: Ranks) -> Self {
        let queue = Queue {
            ready: Ready::new(&ranks),
            relief: false,
        };
        Self {
            remaining: remaining.into_iter().map(AtomicU32::new).collect(),
            open: AtomicUsize::new(0),
            queue: Mutex::new(queue),
            ranks,
        }
    }

    /// The nodes that wait for none; only right before the first driver arrives.
    pub(crate) fn roots(&self) -> Vec<u32> {
        (0..)
            .zip(&self.remaining)
            .filter(|(_, left)| left.load(Ordering::Relaxed) == 0)
            .map(|(node, _)| node)
            .collect()
    }

    /// Whether no node is on its way.
    pub(crate) fn is_over(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Whether `node` became free with this: it waited to be activated and for nothing else.
    pub(crate) fn activate(&self, node: u32) -> bool {
        self.remaining[node as usize].fetch_and(!DEFERRED, Ordering::AcqRel) == DEFERRED
    }

    /// Counts an edge to each of `followers` off and yields those that became free by it.
    pub(crate) fn count_off<'a, N: Copy + Into<u32>>(
        &'a self,
        followers: &'a [N],
    ) -> impl Iterator<Item = u32> + 'a {
        let left = |node: &u32| &self.remaining[*node as usize];
        // Release publishes what the visit wrote, acquire lets the last one see what all the others wrote.
        let last = move |node: &u32| left(node).fetch_sub(1, Ordering::AcqRel) == 1;
        followers.iter().map(|node| (*node).into()).filter(last)
    }

    /// Notes that so many nodes became free, before any of them is handed on.
    pub(crate) fn announce(&self, nodes: usize) {
        self.open.fetch_add(nodes, Ordering::Relaxed);
    }

    /// Puts nodes that were announced into the queue; tells whether the caller has to see to a relief.
    pub(crate) fn push(&self, nodes: &[u32]) -> bool {
        if nodes.is_empty() {
            return false;
        }
        let mut queue = self.lock();
        for node in nodes {
            queue.ready.push(*node, &self.ranks);
        }
        !std::mem::replace(&mut queue.relief, true)
    }

    /// The turn of a driver that comes as the relief.
    pub(crate) fn arrive(&self) -> Turn {
        let mut queue = self.lock();
        queue.relief = false;
        self.take(queue)
    }

    /// The turn of a driver whose node released its followers: the most critical of those that became free by it, or
    /// else one from the queue. The other free ones go into the queue.
    pub(crate) fn complete<N: Copy + Into<u32>>(&self, followers: &[N]) -> Turn {
        let mut kept: Option<u32> = None;
        let mut spare = Spare::default();
        let mut relief = false;
        for free in self.count_off(followers) {
            let Some(best) = kept else {
                kept = Some(free);
                continue;
            };
            let less = if self.ranks.is_before(free, best) {
                kept = Some(free);
                best
            } else {
                free
            };
            if spare.is_full_with(less) {
                relief |= self.pass_on(&mut spare);
            }
        }
        relief |= self.pass_on(&mut spare);
        match kept {
            // It takes the place of the one that ended, so the count of open nodes stands: a chain never touches it.
            Some(node) => Turn {
                relief,
                ..Turn::of(node)
            },
            None => self.end(),
        }
    }

    /// The turn of a driver whose node ended after `begin` became free by it, which were announced already.
    pub(crate) fn hand_on(&self, begin: &[u32]) -> Turn {
        let Some((first, rest)) = begin.split_first() else {
            return self.end();
        };
        // The first is open, so this was not the last one.
        self.open.fetch_sub(1, Ordering::AcqRel);
        Turn {
            relief: self.push(rest),
            ..Turn::of(*first)
        }
    }

    /// The turn of a driver that has no node any more, which may be open all the same.
    pub(crate) fn next(&self) -> Turn {
        self.take(self.lock())
    }

    /// The turn of a driver whose node ended and released none.
    pub(crate) fn end(&self) -> Turn {
        // Acquire and release, so that whoever sees the end sees what every visit wrote.
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            return Turn {
                node: None,
                relief: false,
                over: true,
            };
        }
        self.next()
    }

    /// Lets go of a driver for a while, so that others have their turn: when a relief is coming, the driver leaves it
    /// its node and ends (false), or else it is the relief itself (true) and comes back by [`arrive`](Self::arrive).
    pub(crate) fn give_way(&self, node: u32) -> bool {
        self.push(&[node])
    }

    fn pass_on(&self, spare: &mut Spare) -> bool {
        self.announce(spare.len);
        let relief = self.push(&spare.nodes[..spare.len]);
        spare.len = 0;
        relief
    }

    fn take(&self, mut queue: MutexGuard<'_, Queue>) -> Turn {
        let node = queue.ready.pop();
        let relief = !queue.ready.is_empty() && !std::mem::replace(&mut queue.relief, true);
        Turn {
            node,
            relief,
            over: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics inside this lock; if it did, the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Free nodes on their way into the queue, gathered so that the lock is taken once for many.
struct Spare {
    nodes: [u32; SPARE],
    len: usize,
}

impl Default for Spare {
    fn default() -> Self {
        Self {
            nodes: [0; SPARE],
            len: 0,
        }
    }
}

impl Spare {
    fn is_full_with(&mut self, node: u32) -> bool {
        self.nodes[self.len] = node;
        self.len += 1;
        self.len == SPARE
    }
}

/// On top of the count of a node that waits to be activated.
pub(crate) const DEFERRED: u32 = 1 << 31;

const SPARE: usize = 64;
