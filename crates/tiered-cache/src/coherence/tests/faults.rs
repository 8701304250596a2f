//! A fault at every call, one after the other: in the end all is as if there had been none.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use super::{
    process::{CACHE, Process, TAG, remove, settle_down},
    server::{FAULTS, Server},
};
use crate::{
    cached::TierKind,
    coherence::{Change, Effect, Standing, Version},
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};

/// Goal: one lost or refused call anywhere loses no invalidation, blocks nothing for ever and needs no
/// gap. Method: two replicas, the fault at each of the first calls of their lives in turn.
#[tokio::test(start_paused = true)]
async fn a_fault_at_any_call_delays_and_loses_nothing() {
    for fault in FAULTS {
        for at in 0..60 {
            let server = Server::start();
            server.fail(at, fault);
            let (one, two) = Process::two(&server, None).await;
            for round in 0..3_u64 {
                let (here, there) = (one.token(), two.token());
                let changes = [remove(round), Change::tag(TAG, Effect::Expire)];
                let ticket = one.ledger.announce(&changes);
                assert_eq!(one.standing(round, here), Standing::Removed);
                if one.ledger.settle(ticket).await.is_none() {
                    assert!(one.ledger.blocks(CACHE, round, &[]), "{fault:?} at {at}");
                }
                settle_down().await;
                assert_eq!(
                    two.standing(round, there),
                    Standing::Removed,
                    "{fault:?} at {at}"
                );
                assert_eq!(
                    two.standing(99, there),
                    Standing::Expired,
                    "{fault:?} at {at}"
                );
            }
            assert!(server.failed(), "{fault:?} at {at}");
            for process in [&one, &two] {
                let status = process.ledger.log_status().expect("there is a log");
                assert_eq!((status.pending, status.gaps), (0, 0), "{fault:?} at {at}");
                assert!(
                    status.ready && status.silent_for.is_none(),
                    "{fault:?} at {at}"
                );
            }
            assert_eq!(server.held().slots.len(), 3, "{fault:?} at {at}");
        }
    }
}

/// As above, where the server fails over in the middle.
#[tokio::test(start_paused = true)]
async fn a_fault_at_any_call_of_a_gap_delays_and_loses_nothing() {
    for fault in FAULTS {
        for at in 0..30 {
            let server = Server::start();
            let (one, two) = Process::two(&server, None).await;
            assert!(one.invalidate(remove(1)).await);
            let there = two.token();
            server.fail(at, fault);
            server.fail_over(1);
            assert!(
                two.ledger
                    .log_status()
                    .is_some_and(|status| status.gaps == 0)
            );
            one.invalidate(remove(2)).await;
            settle_down().await;
            one.until_ready().await;
            two.until_ready().await;
            assert_eq!(
                two.standing(3, there),
                Standing::Removed,
                "{fault:?} at {at}"
            );
            assert_eq!(one.token().origin, two.token().origin, "{fault:?} at {at}");
            assert_eq!(two.standing(3, two.token()), Standing::Valid);
            let keys: Vec<_> = server.held().slots.keys().cloned().collect();
            assert_eq!(keys, ["key 1", "key 2"], "{fault:?} at {at}");
        }
    }
}

/// Goal: dropping a settle anywhere leaves the invalidation pending. Method: it is polled so many times
/// and then dropped.
#[tokio::test(start_paused = true)]
async fn dropping_the_future_at_any_await_leaves_the_rest_to_the_background() {
    for polls in 0..12_u64 {
        let server = Server::start();
        let (one, two) = Process::two(&server, None).await;
        let token = two.token();
        let ticket = one.ledger.announce(&[remove(5)]);
        let settle = one.ledger.settle(ticket);
        let within = Duration::from_micros(300 * polls);
        let _ = tokio::time::timeout(within, settle).await;
        settle_down().await;
        assert_eq!(
            two.standing(5, token),
            Standing::Removed,
            "after {polls} polls"
        );
        assert!(!one.ledger.blocks(CACHE, 5, &[]), "after {polls} polls");
        assert!(
            server.held().slots.contains_key("key 5"),
            "after {polls} polls"
        );
    }
}

/// A shared tier that hangs at first, then panics, then does what it is told.
#[derive(Debug, Default)]
struct Rude {
    asked: AtomicUsize,
    told: AtomicUsize,
}

impl Tier for Rude {
    fn kind(&self) -> TierKind {
        TierKind::Redis
    }

    fn scope(&self) -> TierScope {
        TierScope::Shared
    }

    fn read<'a>(&'a self, _key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        ready(Ok(None)).boxed()
    }

    fn write<'a>(
        &'a self,
        _key: &'a EntryKey,
        _entry: Sealed,
        _keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        ready(Ok(false)).boxed()
    }

    fn invalidate<'a>(
        &'a self,
        _key: &'a EntryKey,
        _effect: Effect,
        _version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => pending().boxed(),
            1 => panic!("as asked for"),
            _ => {
                self.told.fetch_add(1, Ordering::Relaxed);
                ready(Ok(())).boxed()
            }
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_tier_that_hangs_or_panics_is_told_again_and_holds_up_nothing() {
    let server = Server::start();
    let tier = Arc::new(Rude::default());
    let one = Process::start_over(&server, 1, &(Arc::clone(&tier) as Arc<dyn Tier>));
    one.until_ready().await;
    let asked = Instant::now();
    assert!(one.invalidate(remove(5)).await, "it is in the log");
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(one.ledger.blocks(CACHE, 5, &[]));
    settle_down().await;
    assert!(!one.ledger.blocks(CACHE, 5, &[]));
    assert_eq!(tier.told.load(Ordering::Relaxed), 1);
    assert_eq!(one.ledger.served_until(0), u64::MAX, "the log is followed");
}
