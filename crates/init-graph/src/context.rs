//! What an initialiser knows of its own run, and what it may leave behind: progress, messages and stop hooks.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::{Core, Hook};
use crate::error::Result;
use crate::event::Event;
use crate::guard::drop_quietly;
use crate::plan::{Node, NodeId};

/// The run of one initialiser; a cheap clone that background work may keep.
#[derive(Clone)]
pub struct Context {
    core: Arc<Core>,
    id: NodeId,
    /// How often the component was started again before.
    restarts: u32,
    /// How many tokens it had before this one.
    tokens: u32,
    attempt: u32,
    deadline: Option<Instant>,
}

impl Context {
    pub(crate) fn new(
        core: Arc<Core>,
        id: NodeId,
        attempt: u32,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            restarts: core.restarts(id),
            tokens: core.tokens(id),
            core,
            id,
            attempt,
            deadline,
        }
    }

    /// The name of the component.
    pub fn name(&self) -> &str {
        self.node().name()
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When this attempt runs out of time, by the tighter of its own limits; `None` without any.
    ///
    /// A stall timeout is not among them, since every word extends it.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A token that is cancelled when the start is given up, and otherwise just before the stop hooks of this
    /// component run.
    ///
    /// The initialiser itself needs no token: it is dropped at its current await. This one is for tasks that it
    /// spawns. A further attempt and a [restart](crate::Handle::restart) have a context and a token of their own; that of
    /// this one stays cancelled.
    pub fn cancelled(&self) -> CancellationToken {
        self.core.token(self.id, self.tokens)
    }

    /// Tells the observers how far the initialiser is, in units of its own choice.
    ///
    /// Ignored once the initialiser has ended.
    pub fn progress(&self, current: u64, total: impl Into<Option<u64>>) {
        let total = total.into();
        self.advance(|advance| {
            advance.current = current;
            advance.total = total;
        });
    }

    /// Tells the observers what the initialiser is doing.
    ///
    /// Ignored once the initialiser has ended.
    pub fn message(&self, message: impl Into<String>) {
        let message = message.into().into();
        self.advance(|advance| advance.message = Some(message));
    }

    /// Says that the initialiser still gets on, for a [`stall_timeout`](crate::Component::stall_timeout), without
    /// anything to show for it.
    pub fn keep_alive(&self) {
        if self.core.restarts(self.id) == self.restarts {
            self.core.extra(self.id).spoke(Instant::now());
        }
    }

    /// Registers what undoes a step of the initialiser, to be run when the component stops.
    ///
    /// Register it as soon as there is something to undo: it runs also when the initialiser fails, times out or is
    /// cancelled later, and after an attempt that failed before there is another. The hooks of a component run one after
    /// another, the last registered first, each even if another failed; components stop in reverse order of dependency, in
    /// parallel. A hook that outlives the time limit is dropped. A hook registered after the component has stopped is
    /// dropped with a warning.
    pub fn on_stop<F, Fut>(&self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let hook: Hook = Box::new(move || Box::pin(hook()));
        if let Err(hook) = self.core.push_hook(self.id, self.restarts, hook) {
            drop_quietly(hook);
            tracing::warn!(
                node = self.name(),
                "stop hook registered after the component stopped; dropped"
            );
        }
    }

    fn node(&self) -> &Node {
        self.core.plan.node(self.id)
    }

    fn advance(&self, change: impl FnOnce(&mut Advance)) {
        if !self
            .core
            .advance(self.id, self.restarts, self.attempt, change)
        {
            return;
        }
        self.keep_alive();
        let words = || self.core.words(self.id).unwrap_or_default();
        let observers = &self.core.observers;
        observers.advance(self.node(), self.attempt, words);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// The latest words of an initialiser; a cheap clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Advance {
    /// Whose words they are.
    pub(crate) attempt: u32,
    pub(crate) current: u64,
    pub(crate) total: Option<u64>,
    pub(crate) message: Option<Arc<str>>,
}

impl Advance {
    /// Forgets the words of an earlier attempt.
    pub(crate) fn begin(&mut self, attempt: u32) {
        if self.attempt != attempt {
            *self = Self {
                attempt,
                ..Self::default()
            };
        }
    }

    pub(crate) fn event<'a>(&'a self, node: &'a Node) -> Event<'a> {
        Event::Advanced {
            node,
            current: self.current,
            total: self.total,
            message: self.message.as_deref(),
        }
    }
}
