//! Redis as a tier: values with versions, written and invalidated by scripts of one key each.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{
    types::{Resp3Frame as Frame, Value},
    util::redis_keyslot,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};

use super::{
    layout::{self, Stored},
    link::{Fault, Link},
    scripts::{self, Script},
};
use crate::{
    cached::TierKind,
    coherence::{Effect, Floors, Target, Version},
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};

/// Redis below memory; keys are `namespace:epoch:cache:key`.
pub(crate) struct RedisTier {
    link: Arc<Link>,
    prefix: Arc<str>,
    /// Learns of soft floors that were read here before the log told of them.
    floors: Arc<Floors>,
    tombstone_ttl: Duration,
}

impl RedisTier {
    pub(super) fn new(
        link: Arc<Link>,
        prefix: Arc<str>,
        floors: Arc<Floors>,
        tombstone_ttl: Duration,
    ) -> Self {
        Self {
            link,
            prefix,
            floors,
            tombstone_ttl,
        }
    }

    fn name(&self, key: &EntryKey) -> String {
        format!("{}{}:{}", self.prefix, key.cache, key.text)
    }

    async fn run(
        &self,
        script: &Script,
        key: &EntryKey,
        arguments: Vec<Value>,
    ) -> Result<bool, TierError> {
        let name = self.name(key);
        match self.link.run(script, None, &[&name], arguments).await {
            Ok(Frame::Number { data, .. }) => Ok(data == 1),
            Ok(_) => Err(Fault::shape().into()),
            Err(fault) => {
                if fault.is_demoted() {
                    self.link.heal();
                }
                Err(fault.into())
            }
        }
    }

    /// What may be served of what lies there.
    fn open(&self, key: &EntryKey, frame: Frame) -> Result<Option<Bytes>, TierError> {
        let bytes = match frame {
            Frame::BlobString { data, .. } => data,
            Frame::Null => return Ok(None),
            _ => return Err(Fault::shape().into()),
        };
        match layout::parse(&bytes) {
            Some(Stored::Value {
                version,
                soft,
                envelope,
            }) => {
                // The log may tell of it later, or never: to a process that came after it was trimmed.
                if soft > version {
                    let target = Target::Key(key.hash);
                    self.floors.confirm(target, Effect::Expire, soft);
                }
                Ok(Some(envelope))
            }
            Some(Stored::Tombstone) => Ok(None),
            None => Ok(Some(foreign(key))),
        }
    }

    /// Which of the keys can be asked for at once: at most [`BATCH`], of one slot in a cluster.
    fn batches(&self, names: &[String]) -> Vec<Vec<usize>> {
        let all = 0..names.len();
        if !self.link.is_clustered() {
            let all: Vec<usize> = all.collect();
            return all.chunks(BATCH).map(<[usize]>::to_vec).collect();
        }
        let mut slots: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for at in all {
            let slot = redis_keyslot(names[at].as_bytes());
            slots.entry(slot).or_default().push(at);
        }
        slots
            .values()
            .flat_map(|keys| keys.chunks(BATCH).map(<[usize]>::to_vec))
            .collect()
    }

    async fn read_batch(
        &self,
        keys: &[EntryKey],
        names: &[String],
        batch: &[usize],
    ) -> Vec<Result<Option<Bytes>, TierError>> {
        if let [at] = batch {
            return vec![self.read_one(&keys[*at], names[*at].clone()).await];
        }
        let mut arguments: Vec<Value> = batch
            .iter()
            .map(|at| Value::from(names[*at].as_str()))
            .collect();
        // fred takes an array of 3 to 5 whose first text is `message` or `subscribe` for a message of
        // a channel and drops it: foreign bytes must not make it lose count of the answers.
        while arguments.len() < MISTAKABLE {
            arguments.push(Value::from(names[batch[0]].as_str()));
        }
        match self.link.call("MGET", &names[batch[0]], arguments).await {
            Ok(Frame::Array { data, .. }) if data.len() >= batch.len() => batch
                .iter()
                .zip(data)
                .map(|(at, frame)| self.open(&keys[*at], frame))
                .collect(),
            Ok(_) => batch.iter().map(|_| Err(Fault::shape().into())).collect(),
            Err(fault) => {
                // Errors are not `Clone`; the first key gets the cause.
                let first: TierError = fault.into();
                let others = batch.iter().skip(1).map(|_| {
                    Err(match first {
                        TierError::TimedOut => TierError::TimedOut,
                        _ => TierError::Unavailable,
                    })
                });
                let others: Vec<_> = others.collect();
                std::iter::once(Err(first)).chain(others).collect()
            }
        }
    }

    async fn read_one(&self, key: &EntryKey, name: String) -> Result<Option<Bytes>, TierError> {
        let argument = vec![Value::from(name.as_str())];
        match self.link.call("GET", &name, argument).await {
            Ok(frame) => self.open(key, frame),
            // A foreign value of another type.
            Err(Fault::Answer(error)) if error.details().starts_with("WRONGTYPE") => {
                Ok(Some(foreign(key)))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

// By hand: the floors are a table of thousands.
impl fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTier")
            .field("link", &self.link)
            .field("prefix", &self.prefix)
            .field("tombstone_ttl", &self.tombstone_ttl)
            .finish_non_exhaustive()
    }
}

impl Tier for RedisTier {
    fn kind(&self) -> TierKind {
        TierKind::Redis
    }

    fn scope(&self) -> TierScope {
        TierScope::Shared
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        self.read_one(key, self.name(key)).boxed()
    }

    fn read_many<'a>(
        &'a self,
        keys: &'a [EntryKey],
    ) -> BoxFuture<'a, Vec<Result<Option<Bytes>, TierError>>> {
        async move {
            let names: Vec<String> = keys.iter().map(|key| self.name(key)).collect();
            let batches = self.batches(&names);
            // All are sent before the first is answered.
            let reads = batches
                .iter()
                .map(|batch| self.read_batch(keys, &names, batch));
            let answers = join_all(reads).await;
            let mut results: Vec<_> = keys.iter().map(|_| Err(TierError::Unavailable)).collect();
            for (batch, answers) in batches.iter().zip(answers) {
                for (at, answer) in batch.iter().zip(answers) {
                    results[*at] = answer;
                }
            }
            results
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        async move {
            let value = layout::value(entry.version, &entry.bytes);
            let arguments = vec![
                Value::from(layout::padded(entry.version)),
                Value::Bytes(value),
                Value::Integer(px(keep_for)),
            ];
            // CANCEL: the script runs whole or not at all, whether or not anybody waits for its answer.
            self.run(&scripts::FILL, key, arguments).await
        }
        .boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        async move {
            let script = match effect {
                Effect::Remove => &scripts::REMOVE,
                Effect::Expire => &scripts::EXPIRE,
            };
            let arguments = vec![
                Value::from(layout::padded(version)),
                Value::Integer(px(self.tombstone_ttl)),
            ];
            self.run(script, key, arguments).await.map(drop)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.link.close(CLOSE).boxed()
    }
}

/// What stands for bytes that are not ours: no envelope is empty, so it counts as an invalid entry.
fn foreign(key: &EntryKey) -> Bytes {
    tracing::debug!(cache = %key.cache, "foreign bytes under a key of the cache");
    Bytes::new()
}

/// PX 0 is an error to Redis, and so is a time past the end of its calendar.
fn px(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(PX_MAX)
        .clamp(1, PX_MAX)
}

/// Keys in one MGET: Redis does nothing else while it answers.
const BATCH: usize = 512;
const MISTAKABLE: usize = 6;
/// A hundred years.
const PX_MAX: i64 = 100 * 366 * 24 * 3600 * 1000;
const CLOSE: Duration = Duration::from_secs(2);
