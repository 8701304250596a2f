//! What a loader gives back: the value, that there is none, or that the old one still holds; each with
//! what it says about its own entry.

use std::time::Duration;

use crate::tag::Tag;

/// The answer of a loader. `Option<V>` converts into it, so a plain loader needs no mention of it; name it
/// to say something of the entry:
///
/// ```
/// use std::time::Duration;
/// use tiered_cache::Loaded;
///
/// let answer = Loaded::value("Ada")
///     .ttl(Duration::from_secs(60))
///     .tag("team:3")
///     .validator("\"etag-1\"");
/// # let _ = answer;
/// ```
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

/// What one entry has in place of the cache's policy. Durations over 10 years count as 10 years.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct EntryOptions {
    /// In place of `Policy::ttl` (or `negative_ttl`, for an absent value). With zero it is kept only as
    /// long as the stale windows let it serve; without such windows, not at all.
    pub ttl: Option<Duration>,
    /// In place of `Policy::memory_ttl`.
    pub memory_ttl: Option<Duration>,
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

impl EntryOptions {
    /// These, with what the loader said on top; the tags of both.
    pub(crate) fn with(mut self, loader: Self) -> Self {
        self.tags.extend(loader.tags);
        Self {
            ttl: loader.ttl.or(self.ttl),
            memory_ttl: loader.memory_ttl.or(self.memory_ttl),
            stale_while_revalidate: loader
                .stale_while_revalidate
                .or(self.stale_while_revalidate),
            stale_if_error: loader.stale_if_error.or(self.stale_if_error),
            tags: self.tags,
            validator: loader.validator.or(self.validator),
            uncached: loader.uncached || self.uncached,
        }
    }
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

    /// Takes this TTL in place of the policy's; see [`EntryOptions::ttl`] for zero.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = Some(ttl);
        self
    }

    /// Takes this TTL for the memory tier in place of the policy's.
    #[must_use]
    pub fn memory_ttl(mut self, ttl: Duration) -> Self {
        self.options.memory_ttl = Some(ttl);
        self
    }

    /// Takes this in place of `Policy::stale_while_revalidate`.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.stale_while_revalidate = Some(window);
        self
    }

    /// Takes this in place of `Policy::stale_if_error`.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.stale_if_error = Some(window);
        self
    }

    /// Adds a tag: invalidating it invalidates this entry.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.options.tags.push(tag.into());
        self
    }

    /// Adds several tags.
    #[must_use]
    pub fn tags<T: Into<Tag>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.options.tags.extend(tags.into_iter().map(Into::into));
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

    /// [`uncached`](Self::uncached) if the value is there and `skip` says so of it.
    #[must_use]
    pub fn uncached_if(mut self, skip: impl FnOnce(&V) -> bool) -> Self {
        if let Content::Value(value) = &self.content {
            self.options.uncached |= skip(value);
        }
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
