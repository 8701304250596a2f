//! A hook that notes what it is told, for the tests of both databases.

use std::sync::{Arc, Mutex};

use db_pool::{HookError, Outcome, TransactionHook};

/// What hooks were told, in order.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How often a hook was told how it ended.
    pub(crate) fn ends(&self) -> usize {
        self.all().iter().filter(|what| *what != "prepare").count()
    }
}

/// A hook that notes what it is told.
pub(crate) struct Noting {
    pub(crate) told: Told,
    pub(crate) refuses: bool,
}

impl Noting {
    pub(crate) fn new(told: &Told) -> Self {
        Self {
            told: told.clone(),
            refuses: false,
        }
    }
}

impl TransactionHook for Noting {
    async fn prepare(&mut self) -> Result<(), HookError> {
        self.told.note("prepare");
        tokio::task::yield_now().await;
        match self.refuses {
            true => Err("the log is away".into()),
            false => Ok(()),
        }
    }

    async fn finished(self, outcome: Outcome) {
        tokio::task::yield_now().await;
        self.told.note(name(outcome));
    }
}

pub(crate) fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed { .. } => "committed",
        Outcome::RolledBack => "rolled back",
        _ => "unknown",
    }
}
