//! Insertions and invalidations of one cache: done in this process before the first wait, then told to
//! the tiers below.

use std::{borrow::Borrow, sync::Arc, time::Duration};

use super::{
    Inner, TieredCache,
    load::Wish,
    publish::{Kept, Versions},
};
use crate::{
    coherence::{Change, Effect, Target, Token},
    key::{CacheKey, key_hash},
    memory::{Entry, Memory},
    tag::Tag,
    tier::TierScope,
};

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// Keeps `value` under the key in every tier, in place of whatever was there or is being loaded.
    ///
    /// When it returns, no later read of this process sees an older value. A value that is too large
    /// for the policy is not kept, but the older one still goes. Dropping the future leaves the value
    /// in memory; below, it is then kept or missing, never older.
    pub async fn insert(&self, key: &K, value: V) {
        self.inner.insert(key, value, Wish::default()).await;
    }

    /// Makes the value under the key stale in every tier: it may still serve where the policy lets a
    /// stale value serve (`stale_while_revalidate`, `stale_if_error`), and nowhere else.
    ///
    /// It promises what [`remove`](Self::remove) does, dropping the future included.
    pub async fn expire(&self, key: &K) {
        self.inner.meter.expires.add();
        self.inner.change_key(key, Effect::Expire).await;
    }

    /// Takes the key out of every tier.
    ///
    /// When it returns, no later read of this process sees the old value: not from a load that was
    /// in flight, not from a tier that could not be reached, not after a restart. (The disk may hold
    /// its bytes, unreachable, until their room is needed.) Dropping the future is safe: what makes the
    /// value unreachable here happens before the first wait, and other replicas are told in the
    /// background.
    pub async fn remove(&self, key: &K) {
        self.inner.meter.removals.add();
        self.inner.change_key(key, Effect::Remove).await;
    }

    /// Takes several keys out of every tier, at the cost of about one.
    ///
    /// It promises what [`remove`](Self::remove) does, dropping the future included.
    pub async fn remove_many<Q: Borrow<K>>(&self, keys: impl IntoIterator<Item = Q>) {
        let inner = &*self.inner;
        inner.meter.removals.add();
        let keys: Vec<Q> = keys.into_iter().collect();
        let changes = keys
            .iter()
            .map(|key| inner.key_change(key.borrow(), Effect::Remove).evicting());
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() {
            return;
        }
        let ticket = inner.ledger.announce(&changes);
        // Dropped when all are out: the announcement counts on it, whatever a value's own code does.
        let removed: Vec<_> = keys
            .iter()
            .map(|key| inner.memory.remove(key.borrow()))
            .collect();
        drop(removed);
        for key in &keys {
            inner.tell_key(key.borrow(), Effect::Remove);
        }
        drop(keys);
        inner.ledger.settle(ticket).await;
    }

    /// Makes the values under several keys stale in every tier, at the cost of about one.
    ///
    /// It promises what [`expire`](Self::expire) does, dropping the future included.
    pub async fn expire_many<Q: Borrow<K>>(&self, keys: impl IntoIterator<Item = Q>) {
        let inner = &*self.inner;
        inner.meter.expires.add();
        let changes = keys.into_iter();
        let changes: Vec<_> = changes
            .map(|key| {
                inner.tell_key(key.borrow(), Effect::Expire);
                inner.key_change(key.borrow(), Effect::Expire)
            })
            .collect();
        if !changes.is_empty() {
            inner.change(&changes).await;
        }
    }

    /// Makes every value of this cache stale, in every tier; see [`expire`](Self::expire). O(1).
    pub async fn expire_all(&self) {
        self.inner.meter.expires.add();
        self.inner
            .tell_many(|| "everything".to_owned(), Effect::Expire);
        let change = Change::cache(self.inner.id, Effect::Expire);
        self.inner.change(&[change]).await;
    }

    /// Takes every key of this cache out of every tier; other caches keep theirs.
    ///
    /// It promises what [`remove`](Self::remove) does, dropping the future included. Below memory the
    /// old bytes are unreachable at once, and leave when their time is up.
    pub async fn clear(&self) {
        let inner = &*self.inner;
        inner.meter.removals.add();
        let ticket = inner
            .ledger
            .announce(&[Change::cache(inner.id, Effect::Remove)]);
        inner.memory.clear();
        inner.tell_many(|| "everything".to_owned(), Effect::Remove);
        inner.ledger.settle(ticket).await;
    }

    /// Invalidates every entry that carries the tag, in O(1): here and in all other caches of the same
    /// `Caches`, as `Caches::invalidate_tag`.
    pub async fn invalidate_tag(&self, tag: impl Into<Tag>, effect: Effect) {
        let tag: Tag = tag.into();
        self.inner.tell_tag(&tag, effect);
        self.inner.change_group(Target::Tag(tag.hash), effect).await;
    }

    /// Invalidates every key whose text begins with `prefix`, in O(1).
    ///
    /// The cache must know prefixes (`CacheBuilder::prefixes`). A prefix that does not end at the
    /// delimiter, or that lies deeper than 8 of them or
    /// 1,024 bytes, invalidates the longest one that does, or else
    /// the whole cache: more than was asked costs loads, less would serve old values.
    pub async fn invalidate_prefix(&self, prefix: &str, effect: Effect) {
        let inner = &self.inner;
        inner.tell_many(|| format!("prefix {prefix:?}"), effect);
        let target = self.inner.groups.covering_prefix(prefix);
        self.inner.change_group(target, effect).await;
    }

    /// Invalidates every key that the pattern `name` puts into `group`, in O(1).
    ///
    /// The cache must know the pattern (`CacheBuilder::pattern`); one that it does not know invalidates
    /// the whole cache.
    pub async fn invalidate_pattern(&self, name: &str, group: &str, effect: Effect) {
        let inner = &self.inner;
        inner.tell_many(|| format!("group {group:?} of pattern {name:?}"), effect);
        let target = self.inner.groups.covering_group(name, group);
        self.inner.change_group(target, effect).await;
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    pub(super) async fn insert(&self, key: &K, value: V, wish: Wish) {
        self.meter.inserts.add();
        let Wish { options, tiers } = wish.within(self.tiers);
        let body = self.body_of(&value, &options, tiers);
        if body.is_err() {
            self.meter.unkept.add();
            return self.change_key(key, Effect::Remove).await;
        }
        let (now, draw) = (self.clock.exact_ms(), self.common.chance.unit());
        let times = self.policy.times(&options, now, Duration::ZERO, draw);
        if options.uncached || times.over(now) {
            return self.change_key(key, Effect::Remove).await;
        }
        let hash = key_hash(key, self.id);
        let facts = self.facts(key, times, &options).of(&body);
        let body = body.ok().flatten();
        let change = Change::key(self.id, hash, Effect::Remove, self.entry_key(key, hash));
        // Below, the new entry takes the place of the old one in memory, or nothing does.
        let change = change.evicting();
        // The epoch before the announcement: the version that the log gives is of no earlier one.
        let token = self.floors.token();
        let ticket = self.ledger.announce(&[change]);
        let mut evict = Evict(Some((&self.memory, key)));
        // The number of the announcement itself: a removal that comes between these lines is later.
        let token = Token {
            local: ticket.number(0),
            ..token
        };
        let meta = self.meta(hash, token, &facts, &options);
        let entry = Arc::new(Entry::new(value, meta));
        if tiers.contains(crate::cached::TierKind::Memory) {
            self.put_value(key, &entry, body.as_ref());
            evict.0 = None;
        }
        drop(evict);
        // CANCEL: the older value is unreachable here already, and the ledger sees to the others.
        let Some(body) = body else {
            self.ledger.settle(ticket).await;
            return;
        };
        let kept = Kept { body, facts };
        let write = async |version| {
            let versions = Versions {
                local: token.local,
                shared: (token.origin != 0).then_some((version, token.origin)),
                insertion: true,
            };
            self.write_entry(key, hash, &kept, &versions, tiers, TierScope::Shared)
                .await
        };
        self.ledger.settle_with(ticket, write).await;
        let versions = Versions {
            local: token.local,
            shared: None,
            insertion: true,
        };
        self.write_entry(key, hash, &kept, &versions, tiers, TierScope::Process)
            .await;
    }

    pub(super) async fn change_key(&self, key: &K, effect: Effect) {
        let change = self.key_change(key, effect);
        let ticket = if effect == Effect::Remove {
            let ticket = self.ledger.announce(&[change.evicting()]);
            self.memory.remove(key);
            ticket
        } else {
            self.ledger.announce(&[change])
        };
        self.tell_key(key, effect);
        // CANCEL: from here on only other tiers and replicas are left, and the ledger has noted them.
        self.ledger.settle(ticket).await;
    }

    pub(crate) fn key_change(&self, key: &K, effect: Effect) -> Change {
        let hash = key_hash(key, self.id);
        Change::key(self.id, hash, effect, self.entry_key(key, hash))
    }

    /// The change that covers all keys whose text begins with the prefix.
    pub(crate) fn prefix_change(&self, prefix: &str, effect: Effect) -> Change {
        self.group_change(self.groups.covering_prefix(prefix), effect)
    }

    /// The change that covers all keys that the pattern puts into the group.
    pub(crate) fn pattern_change(&self, name: &str, group: &str, effect: Effect) -> Change {
        self.group_change(self.groups.covering_group(name, group), effect)
    }

    fn group_change(&self, target: Target, effect: Effect) -> Change {
        match target {
            Target::Tag(hash) => Change::tag(hash, effect),
            _ => Change::cache(self.id, effect),
        }
    }

    async fn change_group(&self, target: Target, effect: Effect) {
        match effect {
            Effect::Expire => self.meter.expires.add(),
            Effect::Remove => self.meter.removals.add(),
        }
        self.change(&[self.group_change(target, effect)]).await;
    }

    async fn change(&self, changes: &[Change]) {
        let ticket = self.ledger.announce(changes);
        self.ledger.settle(ticket).await;
    }
}

/// Takes the key out of memory, unless a new entry has taken the place of the old one: the weigher of the
/// application may panic, and the ledger counts on it that the old one is gone.
struct Evict<'a, K: CacheKey, V: Send + Sync + 'static>(Option<(&'a Memory<K, V>, &'a K)>);

impl<K: CacheKey, V: Send + Sync + 'static> Drop for Evict<'_, K, V> {
    fn drop(&mut self) {
        if let Some((memory, key)) = self.0 {
            memory.remove(key);
        }
    }
}
