//! Loaders that take their time, and fail in every way a loader can.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    database::{Value, tags},
    dice::Dice,
    world::World,
};
use crate::Loaded;

/// What one call of a loader will do; drawn before the call, so that it does not depend on others.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadPlan {
    pub(super) end: LoadEnd,
    before_ms: u64,
    after_ms: u64,
    uncached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadEnd {
    Value,
    Fails,
    Hangs,
    Panics,
}

/// The database's error.
#[derive(Debug, thiserror::Error)]
#[error("the database is away")]
pub(super) struct Away;

impl LoadPlan {
    pub(super) fn draw(dice: &Dice) -> Self {
        use LoadEnd::{Fails, Hangs, Panics, Value};
        let wait = |dice: &Dice| match dice.below(4) {
            0 => 0,
            1 | 2 => dice.below(30),
            _ => dice.below(1_000),
        };
        Self {
            end: dice.weighted(&[(30, Value), (3, Fails), (1, Hangs), (1, Panics)]),
            before_ms: wait(dice),
            after_ms: wait(dice),
            uncached: dice.one_in(12),
        }
    }

    /// Reads the row, as it is at some moment of the call. `shown` is the version that the cache has
    /// at hand.
    pub(super) async fn run(
        self,
        world: Arc<World>,
        row: usize,
        shown: Option<u64>,
    ) -> Result<Loaded<Value>, Away> {
        sleep(Duration::from_millis(self.before_ms)).await;
        match self.end {
            LoadEnd::Value => {}
            LoadEnd::Fails => return Err(Away),
            LoadEnd::Hangs => pending().await,
            // Not by `panic!`, whose hook would print what is meant to happen.
            LoadEnd::Panics => std::panic::resume_unwind(Box::new("planned")),
        }
        let (version, value) = world.query(row);
        sleep(Duration::from_millis(self.after_ms)).await;
        let loaded = match value {
            Some(_) if shown == Some(version) => Loaded::not_modified(),
            Some(value) => Loaded::value(value),
            None => Loaded::absent(),
        };
        let [first, second] = tags(row, version);
        let loaded = loaded.tag(first).tag(second);
        Ok(if self.uncached {
            loaded.uncached()
        } else {
            loaded
        })
    }
}
