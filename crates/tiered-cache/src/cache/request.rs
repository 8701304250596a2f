//! `EntryRequest`: one call with what differs from the cache's policy.

use std::{fmt, future::Future, time::Duration};

use super::{LoadContext, TieredCache, context::answer_of, load::Wish};
use crate::{
    cached::{Lookup, TierSet},
    error::{BoxError, LoadError},
    key::CacheKey,
    policy::Loaded,
    tag::Tag,
};

/// One read, load or insertion with what differs from the cache's policy; made by
/// [`TieredCache::entry`].
///
/// What it says of an entry counts when this call makes the entry; what a loader says in its
/// [`Loaded`] comes before it. A caller that joins another caller's load gets what that one asked for.
#[must_use = "nothing is read or written before a call such as `get`"]
pub struct EntryRequest<'a, K, V> {
    cache: &'a TieredCache<K, V>,
    key: &'a K,
    wish: Wish,
}

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// Begins a call for the key with settings of its own.
    pub fn entry<'a>(&'a self, key: &'a K) -> EntryRequest<'a, K, V> {
        EntryRequest {
            cache: self,
            key,
            wish: Wish::default(),
        }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> EntryRequest<'_, K, V> {
    /// In place of `Policy::ttl`; zero keeps the value only as long as stale windows let it serve.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.wish.options.ttl = Some(ttl);
        self
    }

    /// In place of `Policy::stale_while_revalidate`.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.wish.options.stale_while_revalidate = Some(window);
        self
    }

    /// In place of `Policy::stale_if_error`.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.wish.options.stale_if_error = Some(window);
        self
    }

    /// Adds a tag: invalidating it invalidates the entry.
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.wish.options.tags.push(tag.into());
        self
    }

    /// Adds several tags.
    pub fn tags<T: Into<Tag>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.wish
            .options
            .tags
            .extend(tags.into_iter().map(Into::into));
        self
    }

    /// Uses these tiers alone. An insertion still invalidates the key in the others.
    pub fn tiers(mut self, tiers: TierSet) -> Self {
        self.wish.tiers = tiers;
        self
    }

    /// Goes past the cache: the loader runs for this caller alone, nothing is read or joined, and its
    /// answer is kept nowhere. What the cache holds stays as it is.
    pub fn bypass(mut self) -> Self {
        self.wish.tiers = TierSet::NONE;
        self.wish.options.uncached = true;
        self
    }

    /// As [`TieredCache::get`].
    pub async fn get(self) -> Lookup<V> {
        self.cache.inner.get(self.key, self.wish.tiers).await
    }

    /// As [`TieredCache::get_or_load`].
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_load<F, Fut, R, E>(self, loader: F) -> Result<Lookup<V>, LoadError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<V>> + 'static,
        E: Into<BoxError> + 'static,
    {
        let load = Box::new(move |_| answer_of(loader()));
        let inner = &self.cache.inner;
        inner.get_or_load_boxed(self.key, self.wish, load).await
    }

    /// As [`TieredCache::get_or_load`], for a loader that wants to know what is held already.
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_load_with<F, Fut, R, E>(self, loader: F) -> Result<Lookup<V>, LoadError>
    where
        F: FnOnce(LoadContext<K, V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<V>> + 'static,
        E: Into<BoxError> + 'static,
    {
        let inner = &self.cache.inner;
        inner.get_or_load_with(self.key, self.wish, loader).await
    }

    /// As [`TieredCache::fetch`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch(self) -> Result<Lookup<V>, LoadError> {
        let inner = &self.cache.inner;
        let load = inner.registered(self.key).ok_or(LoadError::NoLoader)?;
        inner.get_or_load_boxed(self.key, self.wish, load).await
    }

    /// As [`TieredCache::insert`].
    pub async fn insert(self, value: V) {
        self.cache.inner.insert(self.key, value, self.wish).await;
    }
}

impl<K, V> fmt::Debug for EntryRequest<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryRequest")
            .field("wish", &self.wish)
            .finish_non_exhaustive()
    }
}
