//! The part of a run that outlives the start: per node its phase, stop hooks and token, and the observers of all.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::context::Advance;
use crate::error::BoxError;
use crate::guard::drop_quietly;
use crate::observers::Observers;
use crate::plan::{NodeId, Plan};

pub(crate) type HookFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
pub(crate) type Hook = Box<dyn FnOnce() -> HookFuture + Send>;

/// Shared by every [`Context`](crate::Context) of a run; holds no values, so a kept context keeps none alive.
pub(crate) struct Core {
    pub(crate) plan: Plan,
    pub(crate) observers: Observers,
    /// Cancelled when the start is given up; the tokens of the nodes are its children.
    pub(crate) given_up: CancellationToken,
    cells: Box<[Cell]>,
}

#[derive(Default)]
struct Cell {
    phase: AtomicU8,
    token: OnceLock<CancellationToken>,
    advance: Mutex<Advance>,
    hooks: Mutex<Hooks>,
}

#[derive(Default)]
struct Hooks {
    closed: bool,
    stack: Vec<Hook>,
}

/// How far a node is on its way through a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Pending = 0,
    Running,
    Ready,
    Failed,
    Skipped,
    Cancelled,
}

impl Core {
    pub(crate) fn new(plan: Plan, observers: Observers) -> Self {
        let cells = plan.nodes().iter().map(|_| Cell::default()).collect();
        Self {
            plan,
            observers,
            given_up: CancellationToken::new(),
            cells,
        }
    }

    pub(crate) fn phase(&self, id: NodeId) -> Phase {
        match self.cells[id.index()].phase.load(Ordering::Acquire) {
            0 => Phase::Pending,
            1 => Phase::Running,
            2 => Phase::Ready,
            3 => Phase::Failed,
            4 => Phase::Skipped,
            _ => Phase::Cancelled,
        }
    }

    pub(crate) fn set_phase(&self, id: NodeId, phase: Phase) {
        self.cells[id.index()]
            .phase
            .store(phase as u8, Ordering::Release);
    }

    /// Made on first use: most components never ask for one.
    pub(crate) fn token(&self, id: NodeId) -> CancellationToken {
        self.cells[id.index()]
            .token
            .get_or_init(|| self.given_up.child_token())
            .clone()
    }

    pub(crate) fn cancel_token(&self, id: NodeId) {
        self.token(id).cancel();
    }

    /// Changes what a running node says of itself; `None` when it is not running.
    pub(crate) fn advance(&self, id: NodeId, change: impl FnOnce(&mut Advance)) -> Option<Advance> {
        let mut advance = lock(&self.cells[id.index()].advance);
        if self.phase(id) != Phase::Running {
            return None;
        }
        change(&mut advance);
        Some(advance.clone())
    }

    pub(crate) fn push_hook(&self, id: NodeId, hook: Hook) -> Result<(), Hook> {
        let mut hooks = lock(&self.cells[id.index()].hooks);
        if hooks.closed {
            return Err(hook);
        }
        hooks.stack.push(hook);
        Ok(())
    }

    pub(crate) fn has_hooks(&self, id: NodeId) -> bool {
        !lock(&self.cells[id.index()].hooks).stack.is_empty()
    }

    /// The hook registered last; when there is none, no more are taken.
    pub(crate) fn pop_hook(&self, id: NodeId) -> Option<Hook> {
        let mut hooks = lock(&self.cells[id.index()].hooks);
        let hook = hooks.stack.pop();
        hooks.closed = hook.is_none();
        hook
    }

    /// Drops the hooks of a node unrun and takes no more; returns how many there were.
    pub(crate) fn close_hooks_of(&self, id: NodeId) -> usize {
        let mut hooks = lock(&self.cells[id.index()].hooks);
        hooks.closed = true;
        let stack = std::mem::take(&mut hooks.stack);
        // Outside the lock: what a hook owns may use its context while it is dropped.
        drop(hooks);
        let count = stack.len();
        stack.into_iter().for_each(drop_quietly);
        count
    }

    pub(crate) fn close_hooks(&self) -> usize {
        self.plan
            .nodes()
            .iter()
            .map(|node| self.close_hooks_of(node.id()))
            .sum()
    }
}

/// Nothing of ours panics inside a lock; if it did, the data would still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
