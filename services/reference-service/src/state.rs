//! What the handlers work with.

use tiered_cache::{Invalidations, TieredCache};
use uuid::Uuid;

use crate::{domain::Record, store::Store};

/// Cheap clone of everything that a handler needs.
#[derive(Clone, Debug)]
pub struct AppState {
    /// Tasks and records.
    pub store: Store,
    /// Records by id, in front of the store.
    pub records: TieredCache<Uuid, Record>,
    /// What goes out of the caches together with a change of the store.
    pub invalidations: Invalidations,
}
