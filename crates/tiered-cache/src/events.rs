//! Events: what caches do besides answering hits, for those who want to watch; free while nobody does.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::{cached::TierKind, coherence::Effect, stats::seconds, tag::Tag};

/// Something that happened in a cache, or in what caches share. A hit is no event: statistics count it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum CacheEvent {
    /// A loader ended.
    Loaded {
        /// The cache.
        #[serde(serialize_with = "text")]
        cache: Arc<str>,
        /// The key's text.
        #[serde(serialize_with = "text")]
        key: Arc<str>,
        /// How it ended.
        outcome: LoadEnd,
        /// How long it ran.
        #[serde(serialize_with = "seconds")]
        took: Duration,
    },
    /// Memory dropped an entry for want of room.
    Evicted {
        /// The cache.
        #[serde(serialize_with = "text")]
        cache: Arc<str>,
        /// The key's text.
        #[serde(serialize_with = "text")]
        key: Arc<str>,
    },
    /// An entry was expired by a call or a batch: it may still serve where the policy lets a stale
    /// value serve.
    Expired {
        /// The cache.
        #[serde(serialize_with = "text")]
        cache: Arc<str>,
        /// The key's text.
        #[serde(serialize_with = "text")]
        key: Arc<str>,
    },
    /// An entry was removed by a call or a batch.
    Removed {
        /// The cache.
        #[serde(serialize_with = "text")]
        cache: Arc<str>,
        /// The key's text.
        #[serde(serialize_with = "text")]
        key: Arc<str>,
    },
    /// More than one key was invalidated by a call or a batch: a tag, prefix, pattern or a whole cache.
    Invalidated {
        /// What, in words: `prefix "eu:" of cache users`, `everything of cache users`, and
        /// `tag 606fe9e68275c95e` where only the hash of a name is known, which the `Debug` text of
        /// [`Tag`](crate::Tag) shows.
        #[serde(serialize_with = "text")]
        what: Arc<str>,
        /// Whether it may still serve.
        #[serde(serialize_with = "effect_name")]
        effect: Effect,
    },
    /// Another process invalidated something, and it is in force here too; insertions of others are
    /// among it.
    Heard {
        /// What, as in `Invalidated`; of a key, the hash.
        #[serde(serialize_with = "text")]
        what: Arc<str>,
        /// Whether it may still serve.
        #[serde(serialize_with = "effect_name")]
        effect: Effect,
    },
    /// A caller got a value past its time.
    StaleServed {
        /// The cache.
        #[serde(serialize_with = "text")]
        cache: Arc<str>,
        /// The key's text.
        #[serde(serialize_with = "text")]
        key: Arc<str>,
        /// Why.
        reason: StaleReason,
    },
    /// The breaker of a tier opened or closed; told within a second.
    Breaker {
        /// The tier.
        tier: TierKind,
        /// Its state from now on.
        open: bool,
    },
    /// The shared log lost entries (it was flushed, restored, trimmed or failed over): everything older
    /// is gone from this process's tiers.
    LogGap,
    /// The shared log does not answer: values serve for `degraded_ttl` at most.
    LogSilent {
        /// For how long it has been silent.
        #[serde(serialize_with = "seconds")]
        lasted: Duration,
    },
    /// The shared log answers again.
    LogBack,
    /// This listener was too slow and lost so many events.
    Missed {
        /// How many.
        count: u64,
    },
}

/// How a loader ended, as an event tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadEnd {
    /// With a value, or that the old one still holds.
    Value,
    /// There is none.
    Absent,
    /// With an error, a panic or a timeout.
    Failed,
}

/// Why a stale value was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StaleReason {
    /// It is being loaded anew meanwhile.
    Revalidating,
    /// The loader failed.
    Error,
    /// The loader takes longer than `Policy::soft_timeout`.
    Slow,
}

fn text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn effect_name<S: serde::Serializer>(effect: &Effect, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match effect {
        Effect::Expire => "expire",
        Effect::Remove => "remove",
    })
}

/// One listener's events, in order; it holds up to 1,024 that were not taken yet, then loses the oldest.
///
/// Dropping it stops listening.
pub struct CacheEvents {
    receiver: broadcast::Receiver<CacheEvent>,
    /// Held to be counted.
    #[expect(dead_code, reason = "its drop is what counts")]
    listener: Listener,
}

impl CacheEvents {
    /// The next event; `None` when the caches are gone. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<CacheEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(CacheEvent::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// An event that is there already; `None` when there is none now.
    pub fn try_recv(&mut self) -> Option<CacheEvent> {
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(count)) => {
                Some(CacheEvent::Missed { count })
            }
            Err(_) => None,
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = CacheEvent> + Send {
        stream::unfold(self, async |mut events| {
            events.recv().await.map(|event| (event, events))
        })
    }
}

impl fmt::Debug for CacheEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheEvents")
            .field("waiting", &self.receiver.len())
            .finish_non_exhaustive()
    }
}

/// Where events are put; a cheap clone, shared by all caches of one `Caches`.
#[derive(Clone)]
pub(crate) struct Events(Arc<Hub>);

struct Hub {
    listeners: AtomicUsize,
    /// Made for the first listener: it holds 100 KiB, which a cache that nobody watches need not.
    sender: OnceLock<broadcast::Sender<CacheEvent>>,
    /// Of each cache by its number, for events that know no more of it; as many as there are names.
    names: Mutex<BTreeMap<u64, Arc<str>>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Hub {
            listeners: AtomicUsize::new(0),
            sender: OnceLock::new(),
            names: Mutex::default(),
        }))
    }

    /// Notes the name of a cache.
    pub(crate) fn name(&self, cache: u64, name: &Arc<str>) {
        self.names().insert(cache, Arc::clone(name));
    }

    pub(crate) fn name_of(&self, cache: u64) -> Option<Arc<str>> {
        self.names().get(&cache).map(Arc::clone)
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<str>>> {
        let names = &self.0.names;
        names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody listens; one relaxed load.
    #[inline]
    pub(crate) fn watched(&self) -> bool {
        self.0.listeners.load(Ordering::Relaxed) > 0
    }

    /// Tells the listeners; `event` is not called when there are none. Never waits for one.
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> CacheEvent) {
        if self.watched()
            && let Some(sender) = self.0.sender.get()
        {
            // An error means that the last listener just left.
            let _ = sender.send(event());
        }
    }

    /// Tells that all that carries a tag was invalidated; only its hash is known.
    pub(crate) fn tell_tag(&self, tag: &Tag, effect: Effect) {
        self.tell(|| CacheEvent::Invalidated {
            what: format!("tag {:016x}", tag.hash).into(),
            effect,
        });
    }

    /// A listener that gets every event from now on.
    pub(crate) fn listen(&self) -> CacheEvents {
        let hub = &self.0;
        let sender = hub
            .sender
            .get_or_init(|| broadcast::Sender::new(WAITING_MAX));
        let receiver = sender.subscribe();
        hub.listeners.fetch_add(1, Ordering::Relaxed);
        CacheEvents {
            receiver,
            listener: Listener(Arc::downgrade(hub)),
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("listeners", &self.0.listeners.load(Ordering::Relaxed))
            .finish()
    }
}

/// Counts one listener for as long as it lives.
struct Listener(Weak<Hub>);

impl Drop for Listener {
    fn drop(&mut self) {
        // Without a hub there is nobody left to tell it anything: that ends the listener's events.
        if let Some(hub) = self.0.upgrade() {
            hub.listeners.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Enough for a burst of evictions between two turns of a listener.
const WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{CacheEvent, Events, WAITING_MAX};

    fn evicted(key: usize) -> CacheEvent {
        CacheEvent::Evicted {
            cache: "users".into(),
            key: key.to_string().into(),
        }
    }

    #[tokio::test]
    async fn nothing_is_made_while_nobody_listens() {
        let events = Events::new();
        events.tell(|| unreachable!("nobody listens"));
        let mut listener = events.listen();
        events.tell(|| evicted(1));
        assert_eq!(listener.recv().await, Some(evicted(1)));
        drop(listener);
        events.tell(|| unreachable!("nobody listens any more"));
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_much_it_lost_and_goes_on() {
        let events = Events::new();
        let mut slow = events.listen();
        (0..WAITING_MAX + 5).for_each(|key| events.tell(|| evicted(key)));
        assert_eq!(slow.recv().await, Some(CacheEvent::Missed { count: 5 }));
        assert_eq!(slow.recv().await, Some(evicted(5)));
        let mut rest = 0;
        while slow.try_recv().is_some() {
            rest += 1;
        }
        assert_eq!(rest, WAITING_MAX - 1);
        drop(events);
        assert_eq!(slow.recv().await, None);
    }

    #[test]
    fn an_event_is_plain_data() {
        let event = CacheEvent::Invalidated {
            what: "tag \"team:3\"".into(),
            effect: crate::coherence::Effect::Remove,
        };
        let text = serde_json::to_string(&event).expect("plain data");
        expect![[r#"{"event":"invalidated","what":"tag \"team:3\"","effect":"remove"}"#]]
            .assert_eq(&text);
    }
}
