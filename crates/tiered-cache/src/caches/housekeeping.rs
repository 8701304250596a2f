//! The one task behind `Caches`: it sweeps, and passes counts on.

use std::{sync::Weak, time::Duration};

use super::Shared;

/// Ends by itself once the last handle is gone; it holds none meanwhile.
pub(super) async fn keep_house(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(EACH).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        for cache in shared.registry.caches() {
            cache.tend();
        }
    }
}

const EACH: Duration = Duration::from_secs(1);
