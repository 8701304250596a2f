//! The one task behind `Caches`: it sweeps, and passes counts on.

use std::{sync::Weak, time::Duration};

use super::{Shared, gauges::Gauges, registry::tend};
use crate::{cached::TierKind, events::CacheEvent, guard::BreakerState};

/// Ends by itself once the last handle is gone; it holds none meanwhile.
pub(super) async fn keep_house(shared: Weak<Shared>, gauges: Gauges) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(EACH).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        for cache in shared.registry.caches() {
            tend(&*cache);
        }
        gauges.publish(&shared);
        seen.tell_changes(&shared);
    }
}

/// How breakers and the log stood at the last turn.
#[derive(Default)]
struct Seen {
    open: Vec<TierKind>,
    silent: bool,
    gaps: u64,
}

impl Seen {
    /// Tells the listeners what is different now.
    fn tell_changes(&mut self, shared: &Shared) {
        let events = &shared.common.events;
        let is_open = |state| state != BreakerState::Closed;
        let tiers = shared.tiers.iter().filter(|tier| is_open(tier.state()));
        let open: Vec<_> = tiers.map(|tier| tier.kind()).collect();
        for tier in shared.tiers.iter().map(|tier| tier.kind()) {
            let now = open.contains(&tier);
            if now != self.open.contains(&tier) {
                events.tell(|| CacheEvent::Breaker { tier, open: now });
            }
        }
        self.open = open;
        let Some(log) = shared.common.ledger.log_status() else {
            return;
        };
        match (self.silent, log.silent_for) {
            (false, Some(lasted)) => events.tell(|| CacheEvent::LogSilent { lasted }),
            (true, None) => events.tell(|| CacheEvent::LogBack),
            (false, None) | (true, Some(_)) => {}
        }
        self.silent = log.silent_for.is_some();
        if log.gaps > self.gaps {
            events.tell(|| CacheEvent::LogGap);
        }
        self.gaps = log.gaps;
    }
}

const EACH: Duration = Duration::from_secs(1);
