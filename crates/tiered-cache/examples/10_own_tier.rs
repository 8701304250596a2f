//! A tier of one's own: here a map that takes 2 ms, below memory. It fails, the breaker leaves it alone,
//! and it comes back by itself.
//!
//! The clock is tokio's, paused, so that the time line is exact. Run it with
//! `cargo run -p tiered-cache --example 10_own_tier`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tiered_cache::{
    BoxError, BreakerState, Caches, Effect, EntryKey, Policy, Sealed, Tier, TierError, TierKind,
    TierScope, TierSet, TieredCache, Version,
};
use tokio::time::{Instant, sleep};

/// Holds bytes and decides nothing: what may be served, the cache decides when it reads them.
#[derive(Debug, Default)]
struct Shelf {
    entries: Mutex<HashMap<EntryKey, Bytes>>,
    down: AtomicBool,
}

impl Shelf {
    /// What every call costs, and whether it can be answered at all.
    async fn reach(&self) -> Result<(), TierError> {
        sleep(Duration::from_millis(2)).await;
        if self.down.load(Ordering::Relaxed) {
            return Err(TierError::Failed("the shelf fell down".into()));
        }
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<EntryKey, Bytes>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tier for Shelf {
    fn kind(&self) -> TierKind {
        TierKind::Other
    }

    fn scope(&self) -> TierScope {
        TierScope::Process
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        async move {
            self.reach().await?;
            Ok(self.entries().get(key).cloned())
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        _keep_for: Duration, // a longer-lived one would make room after it
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        async move {
            self.reach().await?;
            self.entries().insert(key.clone(), entry.bytes);
            Ok(true)
        }
        .boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        _version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        async move {
            self.reach().await?;
            // An expired one may stay: it is older than its floor, which the cache knows.
            if effect == Effect::Remove {
                self.entries().remove(key);
            }
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), BoxError> {
    let shelf = Arc::new(Shelf::default());
    let tier: Arc<dyn Tier> = Arc::clone(&shelf) as _;
    let caches = Caches::builder().tier(tier).build().await?;
    // Without memory, so that each read below is one of the shelf.
    let texts: TieredCache<u32, String> = TieredCache::builder("texts")
        .policy(Policy::default())
        .tiers(TierSet::ALL.without(TierKind::Memory))
        .build(&caches)?;

    let begun = Instant::now();
    let mut seen = Vec::new();
    for round in 0..14 {
        // Down from the fourth read on, for one second.
        shelf.down.store((3..7).contains(&round), Ordering::Relaxed);
        let read = Instant::now();
        let load = || async { Ok::<_, Infallible>(Some("a text".to_owned())) };
        let answer = texts.get_or_load(&1, load).await?;
        let took = read.elapsed();
        let breaker = caches.status().breakers[0].state;
        let from = match answer.tier() {
            Some(tier) => format!("tier {tier}"),
            None => "the loader".to_owned(),
        };
        println!(
            "{:>5.2} s  answered by {from:<11} after {:>2} ms, the breaker is {breaker:?}",
            (read - begun).as_secs_f64(),
            took.as_millis()
        );
        assert!(
            answer.value().is_some(),
            "a tier that fails costs no answer"
        );
        seen.push(breaker);
        sleep(Duration::from_millis(250)).await;
    }
    assert!(seen.contains(&BreakerState::Open));
    assert_eq!(seen.last(), Some(&BreakerState::Closed));

    println!("\n{}", texts.stats());
    caches.close().await;
    Ok(())
}
