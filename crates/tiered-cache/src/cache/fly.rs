//! The life of one flight: the tiers below, the loader, what becomes of its answer or its failure.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use quick_cache::sync::Cache;

use super::{
    Inner, Load,
    below::Below,
    hit::Seen,
    lease::{Leased, Turn},
    load::Wish,
    publish::{BelowWrite, Fill},
    run::Ran,
};
use crate::{
    cached::{Cached, Lookup, TierKind, TierSet},
    clock::millis,
    coherence::{Standing, Token},
    error::LoadError,
    flight::Seat,
    key::CacheKey,
    memory::Times,
    policy::{AfterError, Content, ErrorAction, Freshness},
    tier::TierScope,
};

/// What a flight is about.
#[derive(Debug)]
pub(crate) struct Ask<K> {
    pub(crate) key: K,
    pub(crate) hash: u64,
    /// Taken before anything was read.
    pub(crate) token: Token,
    pub(crate) wish: Wish,
    /// For a refresh: when the fill of what it is to replace began.
    pub(crate) replaces: Option<u64>,
    /// Nobody reads the key now: what is read after it is not loaded ahead.
    pub(crate) ahead: bool,
    /// The number of the task that asks, where somebody learns from it.
    pub(crate) session: u64,
}

/// How a flight ends.
enum Course<K, V> {
    Landed(Landing<V>),
    /// Answered with an old value found below; the load is still to be made.
    Refresh(Cached<V>, TierKind, Load<K, V>),
}

/// The answer of a flight, and what is left to do then.
pub(super) enum Landing<V> {
    Answer(Result<Lookup<V>, LoadError>),
    /// Loaded, and to be written to the tiers below once the callers have their answer.
    Keep(Lookup<V>, Option<BelowWrite>),
}

impl<K> Ask<K> {
    pub(crate) fn new(key: K, hash: u64, token: Token, wish: Wish) -> Self {
        Self {
            key,
            hash,
            token,
            wish,
            replaces: None,
            ahead: false,
            session: 0,
        }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Memory first, then the answer, then the tiers below: who asks next finds the value, and nobody
    /// waits for Redis or a disk.
    pub(crate) async fn fly(self: Arc<Self>, seat: Seat<K, V>, ask: Ask<K>, load: Load<K, V>) {
        let mut lease = None;
        match self.course(&ask, load, &mut lease).await {
            Course::Landed(landing) => {
                if let Some(write) = self.land(seat, &ask, landing) {
                    self.write_below(&ask, write).await;
                }
                // Those who waited for it find the value below now.
                drop(lease);
            }
            Course::Refresh(value, tier, load) => {
                seat.land(Ok(Lookup::stale(value.clone(), tier)));
                self.refresh(&ask.key, &value, ask.wish, load);
            }
        }
    }

    /// Answers the callers, and returns what is to be written below.
    pub(super) fn land(
        self: &Arc<Self>,
        seat: Seat<K, V>,
        ask: &Ask<K>,
        landing: Landing<V>,
    ) -> Option<BelowWrite> {
        match landing {
            Landing::Answer(outcome) => {
                let found = match &outcome {
                    Ok(Lookup::Hit { value, tier }) if *tier != TierKind::Memory => {
                        if ask.replaces.is_some() {
                            self.meter.refreshes_succeeded.add();
                        }
                        Some(value.clone())
                    }
                    _ => None,
                };
                seat.land(outcome);
                self.after(ask, found.as_ref());
                None
            }
            Landing::Keep(lookup, write) => {
                if ask.replaces.is_some() {
                    self.meter.refreshes_succeeded.add();
                }
                let value = lookup.value().cloned();
                seat.land(Ok(lookup));
                self.after(ask, value.as_ref());
                write
            }
        }
    }

    /// Loads ahead what is read after the key, when a reader was given a value that memory had not.
    fn after(self: &Arc<Self>, ask: &Ask<K>, value: Option<&Cached<V>>) {
        if let Some(value) = value.filter(|_| !ask.ahead && ask.replaces.is_none()) {
            self.follow(&ask.key, ask.hash, ask.session, value);
        }
    }

    async fn course(
        &self,
        ask: &Ask<K>,
        load: Load<K, V>,
        lease: &mut Option<Leased>,
    ) -> Course<K, V> {
        let answer = |outcome| Course::Landed(Landing::Answer(outcome));
        let mut old = match self.held(ask) {
            Ok(old) => old,
            Err(found) => return answer(Ok(found)),
        };
        match self.seek_below(ask).await {
            Below::Fresh(entry, tier) if ask.is_news(entry.meta.times.filled) => {
                return answer(Ok(Lookup::hit(Cached::new(entry, false), tier)));
            }
            Below::Absent(_) => return answer(Ok(Lookup::Absent)),
            Below::Stale(entry, tier) if ask.replaces.is_none() => {
                return Course::Refresh(Cached::new(entry, true), tier, load);
            }
            Below::Fallback(entry) => old = newer(old, Cached::new(entry, true)),
            Below::Fresh(..) | Below::Stale(..) | Below::Nothing => {}
        }
        if let Some(error) = self.failed_before(ask) {
            return answer(Err(error));
        }
        match self.turn(ask).await {
            Turn::Load(leased) => *lease = leased,
            Turn::Found(Below::Absent(_)) => return answer(Ok(Lookup::Absent)),
            Turn::Found(Below::Fresh(entry, tier)) if ask.is_news(entry.meta.times.filled) => {
                return answer(Ok(Lookup::hit(Cached::new(entry, false), tier)));
            }
            Turn::Found(_) => {}
        }
        let filled = self.clock.exact_ms();
        let ran = self.run(ask, old.clone(), load).await;
        Course::Landed(self.landing(ask, old, filled, ran))
    }

    /// What becomes of a run that began at `filled`.
    pub(super) fn landing(
        &self,
        ask: &Ask<K>,
        old: Option<Cached<V>>,
        filled: u64,
        ran: Ran<V>,
    ) -> Landing<V> {
        self.tell_load(ask, &ran);
        let fill = Fill {
            ask,
            filled,
            cost: ran.took,
        };
        match ran.result {
            Ok(loaded) => {
                let options = ask.wish.options.clone().with(loaded.options);
                match (loaded.content, old) {
                    (Content::Value(value), _) => {
                        let (value, write) = self.keep_value(&fill, value, &options);
                        Landing::Keep(Lookup::Loaded { value }, write)
                    }
                    (Content::Absent, old) => {
                        let write = self.keep_absent(&fill, &options, old.is_some());
                        Landing::Keep(Lookup::Absent, write)
                    }
                    (Content::NotModified, Some(old)) => {
                        let (value, write) = self.keep_again(&fill, &old, &options);
                        Landing::Keep(Lookup::Loaded { value }, write)
                    }
                    (Content::NotModified, None) => {
                        Landing::Answer(self.after_error(ask, None, LoadError::NothingToRenew))
                    }
                }
            }
            Err(error) => Landing::Answer(self.after_error(ask, old, error)),
        }
    }

    /// The old value that memory holds; or the answer, when another flight has landed between the
    /// caller's look and this one's seat.
    pub(super) fn held(&self, ask: &Ask<K>) -> Result<Option<Cached<V>>, Lookup<V>> {
        if !ask.wish.tiers.contains(TierKind::Memory) {
            return Ok(None);
        }
        let filled = |value: &Cached<V>| value.entry().meta.times.filled;
        match self.look(&ask.key) {
            Seen::Fresh(value) | Seen::Due(value) if ask.is_news(filled(&value)) => {
                Err(Lookup::hit(value, TierKind::Memory))
            }
            Seen::Quiet(value) if ask.replaces.is_none() => {
                Err(Lookup::stale(value, TierKind::Memory))
            }
            Seen::Absent => Err(Lookup::Absent),
            seen => Ok(seen.fallback()),
        }
    }

    /// A refresh looks only where another replica may have put something newer.
    async fn seek_below(&self, ask: &Ask<K>) -> Below<V> {
        let only = ask.replaces.map(|_| TierScope::Shared);
        self.find_below(&ask.key, ask.hash, ask.token, ask.wish.tiers, only)
            .await
    }

    /// What the callers of a failed load get.
    fn after_error(
        &self,
        ask: &Ask<K>,
        old: Option<Cached<V>>,
        error: LoadError,
    ) -> Result<Lookup<V>, LoadError> {
        let now = self.clock.exact_ms();
        let old = old.and_then(|old| {
            let meta = &old.entry().meta;
            let phase = self.phase(meta, now, self.standing_of(meta));
            (phase != Freshness::Gone).then_some((old, phase))
        });
        if let Some((old, Freshness::Fresh | Freshness::Due)) = old {
            let times = old.entry().meta.times;
            self.rearm(
                ask,
                &old,
                times.rearmed_fresh(now, self.policy.error_throttle),
            );
            return Ok(Lookup::hit(old, TierKind::Memory));
        }
        let action = self
            .on_error
            .as_ref()
            .map_or_else(ErrorAction::default, |on_error| on_error(&error));
        match (action.decide(&self.policy, old.is_some()), old) {
            (AfterError::Stale { throttle }, Some((old, _))) => {
                tracing::debug!(cache = &*self.name, %error, "a stale value stands in");
                self.rearm(ask, &old, old.entry().meta.times.rearmed(now, throttle));
                Ok(Lookup::stale(old, TierKind::Memory))
            }
            (AfterError::Stale { .. }, None) => Err(error),
            (AfterError::Error { remember }, old) => {
                if let Some((old, Freshness::Revalidate)) = old {
                    let times = old.entry().meta.times.not_revalidated(now);
                    self.rearm(ask, &old, times);
                }
                self.failed.note(ask, now, remember, &error);
                Err(error)
            }
        }
    }

    /// Keeps the old value on in memory, so that the next reads do not ask the loader.
    fn rearm(&self, ask: &Ask<K>, old: &Cached<V>, times: Times) {
        let current = self.memory.get(&ask.key);
        let newer = current.is_some_and(|slot| {
            slot.meta().times.filled > times.filled
                && self.standing_of(slot.meta()) == Standing::Valid
        });
        if ask.wish.tiers.contains(TierKind::Memory) && !newer {
            let meta = old.entry().meta.with_times(times);
            let entry = Arc::new(old.entry().renewed(meta));
            self.put_decoded(&ask.key, &entry);
        }
    }

    pub(super) fn failed_before(&self, ask: &Ask<K>) -> Option<LoadError> {
        if ask.wish.tiers == TierSet::NONE {
            return None;
        }
        let failure = self.failed.0.get()?.get(&ask.key)?;
        let now = self.clock.now_ms();
        let tags = self.known_tags(&ask.key, &ask.wish.options);
        let standing = self.standing(ask.hash, &tags, failure.local);
        (now < failure.until && standing == Standing::Valid).then_some(failure.error)
    }
}

impl<K> Ask<K> {
    /// Whether a value of that age is an answer: for a refresh, only what is newer than what it is to
    /// replace.
    pub(super) fn is_news(&self, filled: u64) -> bool {
        self.replaces.is_none_or(|replaced| filled > replaced)
    }
}

/// The one that was filled later.
pub(super) fn newer<V>(old: Option<Cached<V>>, found: Cached<V>) -> Option<Cached<V>> {
    let filled = |value: &Cached<V>| value.entry().meta.times.filled;
    old.filter(|old| filled(old) >= filled(&found))
        .or(Some(found))
}

/// The errors that are answered again without asking the loader: at most a thousand, made when there is
/// the first.
pub(crate) struct Failed<K>(OnceLock<Cache<K, Failure>>);

#[derive(Clone)]
struct Failure {
    error: LoadError,
    until: u64,
    local: u64,
}

impl<K: CacheKey> Failed<K> {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    fn note(&self, ask: &Ask<K>, now: u64, remember: Duration, error: &LoadError) {
        let ms = millis(remember);
        if ms > 0 {
            let failure = Failure {
                error: error.clone(),
                until: now.saturating_add(ms),
                local: ask.token.local,
            };
            self.0
                .get_or_init(|| Cache::new(FAILURES))
                .insert(ask.key.clone(), failure);
        }
    }
}

impl<K> fmt::Debug for Failed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failed")
    }
}

const FAILURES: usize = 1024;
