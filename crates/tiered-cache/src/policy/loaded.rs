//! What a loader gives back: the value, that there is none, or that the old one still holds; each with
//! what it says about its own entry.

use std::time::Duration;

use crate::tag::Tag;

/// The answer of a loader. `Option<V>` converts into it, so a plain loader needs no mention of it.
#[derive(Debug, Clone)]
pub struct Loaded<V> {
    pub(crate) content: Content<V>,
    pub(crate) options: EntryOptions,
}

#[derive(Debug, Clone)]
pub(crate) enum Content<V> {
    Value(V),
    Absent,
    NotModified,
}

/// What one entry has in place of the cache's policy.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct EntryOptions {
    /// In place of `Policy::ttl` (or `negative_ttl`, for an absent value).
    pub ttl: Option<Duration>,
    /// In place of `Policy::stale_while_revalidate`.
    pub stale_while_revalidate: Option<Duration>,
    /// In place of `Policy::stale_if_error`.
    pub stale_if_error: Option<Duration>,
    /// What the entry depends on.
    pub tags: Vec<Tag>,
    /// An ETag or modification time that the next load of the key is given.
    pub validator: Option<String>,
    /// The value is handed to its callers and kept nowhere.
    pub uncached: bool,
}

impl<V> Loaded<V> {
    /// There is a value.
    pub fn value(value: V) -> Self {
        Self::of(Content::Value(value))
    }

    /// There is none; remembered for `Policy::negative_ttl`.
    pub fn absent() -> Self {
        Self::of(Content::Absent)
    }

    /// The value that the loader was shown (`LoadContext::stale`) still holds: its time begins anew.
    pub fn not_modified() -> Self {
        Self::of(Content::NotModified)
    }

    /// Takes this TTL in place of the policy's.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = Some(ttl);
        self
    }

    /// Adds a tag: invalidating it invalidates this entry.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.options.tags.push(tag.into());
        self
    }

    /// Keeps an ETag or modification time for the next load of the key.
    #[must_use]
    pub fn validator(mut self, validator: impl Into<String>) -> Self {
        self.options.validator = Some(validator.into());
        self
    }

    /// Hands the value to its callers and keeps it nowhere.
    #[must_use]
    pub fn uncached(mut self) -> Self {
        self.options.uncached = true;
        self
    }

    fn of(content: Content<V>) -> Self {
        Self {
            content,
            options: EntryOptions::default(),
        }
    }
}

impl<V> From<Option<V>> for Loaded<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or_else(Self::absent, Self::value)
    }
}
