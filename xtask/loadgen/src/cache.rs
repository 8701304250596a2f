//! Drives `tiered-cache` directly: what each tier costs and how often it answers, without HTTP before it.

mod tiers;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tiers::Tiers;

use crate::load::refuse;
use crate::{Load, LoadError, Measured, Stop, operations};

/// What is asked of which cache.
#[derive(Clone, PartialEq)]
pub struct CacheConfig {
    /// Adds the Redis tier, at this URL. Its keys begin with a name of our own and are removed afterwards.
    pub redis: Option<String>,
    /// Adds the disk tier, in a folder of our own within this one, removed afterwards.
    pub disk: Option<PathBuf>,
    /// Different keys.
    pub keys: u32,
    /// Most values in memory.
    pub memory_capacity: usize,
    /// Size of each value, in bytes.
    pub value_bytes: usize,
    /// How much more often the first keys are asked for: the n-th with a weight of 1/n^`skew`. 0 asks for all alike.
    pub skew: f64,
    /// Weight of `get`, which leaves a miss as it is.
    pub gets: u32,
    /// Weight of `get_or_load`, with a loader that has the value at hand.
    pub loads: u32,
    /// Weight of `insert`.
    pub inserts: u32,
}

impl Default for CacheConfig {
    /// Memory alone, with room for a tenth of 100,000 values of 256 bytes; reads that load, 5 % insertions.
    fn default() -> Self {
        Self {
            redis: None,
            disk: None,
            keys: 100_000,
            memory_capacity: 10_000,
            value_bytes: 256,
            skew: 1.0,
            gets: 0,
            loads: 95,
            inserts: 5,
        }
    }
}

/// A run that could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The load cannot be carried out.
    #[error("impossible load")]
    Load(#[from] LoadError),
    /// The cache cannot be made.
    #[error("the cache cannot be made")]
    Build(#[from] tiered_cache::BuildError),
    /// The system refuses a thread or a folder.
    #[error("the generator cannot start")]
    System(#[source] std::io::Error),
}

/// Sends `load` to a cache, blocking until it is over; `progress` as in [`run`](crate::run).
///
/// Times are whole microseconds, 1 at least: what a hit in memory takes is a question for a micro bench, how many of
/// them a run does is answered here.
///
/// # Errors
/// Only for what keeps a run from beginning; a Redis that is away is a miss, told in the notes.
pub fn run(
    config: &CacheConfig,
    load: &Load,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Measured, CacheError> {
    load.validate()?;
    config.validate()?;
    let runtime = operations::runtime(load).map_err(CacheError::System)?;
    let tiers = Arc::new(runtime.block_on(Tiers::build(config))?);
    let measured = operations::drive(&runtime, &tiers, load, stop, progress);
    let notes = tiers.notes();
    runtime.block_on(tiers.remove());
    let mut measured = measured.map_err(CacheError::System)?;
    measured.notes = notes;
    Ok(measured)
}

/// Without the URL of Redis: it may hold a password.
impl fmt::Debug for CacheConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheConfig")
            .field("redis", &self.redis.is_some())
            .field("disk", &self.disk)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What it is asked, by the names of an outcome's routes.
pub(crate) const OPERATIONS: [&str; 3] = ["get", "get-or-load", "insert"];

impl CacheConfig {
    fn validate(&self) -> Result<(), LoadError> {
        if !(1..=KEYS_MAX).contains(&self.keys) {
            let problem = "expected 1 to 100000000";
            return Err(refuse("keys", self.keys, problem));
        }
        if !(0.0..=SKEW_MAX).contains(&self.skew) {
            return Err(refuse("skew", self.skew, "expected 0 to 10"));
        }
        let weights = [self.gets, self.loads, self.inserts];
        if weights.iter().all(|weight| *weight == 0) {
            let problem = "one of gets, loads and inserts has to be above 0";
            return Err(refuse("weights", format!("{weights:?}"), problem));
        }
        Ok(())
    }
}

/// The table of their weights takes 8 bytes for each, making it some 40.
const KEYS_MAX: u32 = 100_000_000;
/// Beyond it all but the first key have no weight that can be told from 0.
const SKEW_MAX: f64 = 10.0;
