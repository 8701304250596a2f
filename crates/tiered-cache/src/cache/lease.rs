//! One loader per key among all replicas: the holder of a lease loads, the others wait for its value.

use std::{any::Any, fmt::Debug, time::Duration};

use futures_util::future::{BoxFuture, join_all};

use super::{Inner, below::Below, fly::Ask};
use crate::{
    key::CacheKey,
    tier::{EntryKey, TierError, TierScope},
};

/// Held by who may load; given back when it is dropped.
pub(crate) type Leased = Box<dyn Any + Send>;

/// Who hands out leases; Redis does in service.
pub(crate) trait Leases: Debug + Send + Sync + 'static {
    /// Takes the lease of the key for at most `ttl`; `None` when another holds it.
    fn acquire<'a>(
        &'a self,
        key: &'a EntryKey,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Leased>, TierError>>;

    /// Waits until the lease is given back or over, at most for `bound`; whether it is.
    fn watch<'a>(
        &'a self,
        key: &'a EntryKey,
        bound: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>>;
}

/// What came of asking for the lease.
pub(super) enum Turn<V> {
    /// Load, and hold this meanwhile if there is something to hold.
    Load(Option<Leased>),
    /// Another replica has loaded; this is what it left.
    Found(Below<V>),
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Asks for the lease of the key where the policy wants one. Without an answer, or when the other
    /// replica takes too long, this one loads itself: the lease saves loads and is no lock.
    pub(super) async fn turn(&self, ask: &Ask<K>) -> Turn<V> {
        let alone = Turn::Load(None);
        let (Some(bound), Some(leases)) = (self.policy.lease, &self.common.leases) else {
            return alone;
        };
        let tags = self.known_tags(&ask.key, &ask.wish.options);
        let (Some(name), false) = (
            self.entry_key(&ask.key, ask.hash),
            self.closed_off(TierScope::Shared, ask.hash, &tags),
        ) else {
            return alone;
        };
        match leases.acquire(&name, self.policy.load_timeout).await {
            Ok(Some(lease)) => return Turn::Load(Some(lease)),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(cache = &*self.name, %error, "loading without a lease");
                return alone;
            }
        }
        // CANCEL: nothing is held while another loads.
        if leases.watch(&name, bound).await.is_err() {
            return alone;
        }
        let only = Some(TierScope::Shared);
        let found = self
            .find_below(&ask.key, ask.hash, ask.token, ask.wish.tiers, only)
            .await;
        match found {
            Below::Fresh(..) | Below::Absent(_) => Turn::Found(found),
            _ => alone,
        }
    }

    /// Asks for the leases of several keys, and puts those that it gets into `leased`. Where others hold
    /// them all, waits for those as [`turn`](Self::turn) does, and returns `true`: look again.
    ///
    /// Who holds one waits for none: two replicas that want the same keys never wait for one another.
    pub(super) async fn turns(&self, asks: &[&Ask<K>], leased: &mut Vec<Leased>) -> bool {
        let (Some(bound), Some(leases)) = (self.policy.lease, &self.common.leases) else {
            return false;
        };
        let names = asks.iter().filter_map(|ask| {
            let tags = self.known_tags(&ask.key, &ask.wish.options);
            let closed = self.closed_off(TierScope::Shared, ask.hash, &tags);
            self.entry_key(&ask.key, ask.hash).filter(|_| !closed)
        });
        let names: Vec<EntryKey> = names.collect();
        let ttl = self.policy.load_timeout;
        let mut answers = Vec::with_capacity(names.len());
        for some in names.chunks(ACQUIRED_AT_ONCE) {
            let calls: Vec<_> = some.iter().map(|name| leases.acquire(name, ttl)).collect();
            answers.extend(join_all(calls).await);
        }
        let all_held = !names.is_empty() && answers.iter().all(|one| matches!(one, Ok(None)));
        leased.extend(
            answers
                .into_iter()
                .filter_map(|answer| answer.ok().flatten()),
        );
        if all_held {
            let watch = async {
                for some in names.chunks(WATCHED_AT_ONCE) {
                    let calls: Vec<_> = some.iter().map(|name| leases.watch(name, bound)).collect();
                    // Without an answer this replica loads the key itself.
                    join_all(calls).await;
                }
            };
            // CANCEL: nothing is held while others load.
            let _ = tokio::time::timeout(bound, watch).await;
        }
        all_held
    }
}

const ACQUIRED_AT_ONCE: usize = 64;
/// Each asks Redis every now and then.
const WATCHED_AT_ONCE: usize = 16;
