//! What every cache needs of its surroundings, shared or its own.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::{
    cache::Leases,
    chance::Chance,
    clock::{Clock, PRECISION},
    coherence::{Floors, Ledger, LedgerConfig},
    events::Events,
};

/// The parts that a cache shares with the others of its `Caches`; a cheap clone.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) floors: Arc<Floors>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Clock,
    pub(crate) chance: Arc<Chance>,
    /// Under which name this process's own tiers are written.
    pub(crate) origin: u64,
    /// Flights and what they still write.
    pub(crate) tasks: TaskTracker,
    pub(crate) events: Events,
    /// One loader per key among all replicas, where there is somebody to arrange it.
    pub(crate) leases: Option<Arc<dyn Leases>>,
    /// For the placement of entries in memory, where runs must be alike.
    pub(crate) seed: Option<u64>,
}

impl Common {
    /// For one cache in memory alone.
    pub(crate) fn alone() -> Self {
        let floors = Arc::new(Floors::new(STRIPES));
        let chance = Arc::new(Chance::from_system());
        let config = LedgerConfig::default();
        let ledger = Ledger::new(
            Arc::clone(&floors),
            None,
            &[],
            None,
            config,
            Arc::clone(&chance),
        );
        Self {
            ledger,
            floors,
            clock: Clock::start(PRECISION),
            origin: chance.draw(),
            chance,
            tasks: TaskTracker::new(),
            events: Events::new(),
            leases: None,
            seed: None,
        }
    }
}

impl Common {
    /// Whether this process's own tiers may be asked: what was invalidated while it was away is known,
    /// or they hold nothing of before.
    pub(crate) fn own_ready(&self) -> bool {
        self.ledger.origin_local() == 0 || self.ledger.disk_ready()
    }
}

/// Floors for the last thousand keys at least: far more than change during one load; 20 KiB.
const STRIPES: usize = 256;
