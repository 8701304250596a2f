//! What the handlers work with.

use tiered_cache::TieredCache;
use uuid::Uuid;

use crate::{domain::Record, store::Store};

/// Cheap clone of everything that a handler needs.
#[derive(Clone, Debug)]
pub struct AppState {
    /// Tasks and records.
    pub store: Store,
    /// Records by id, in front of the store.
    pub records: TieredCache<Uuid, Record>,
}
