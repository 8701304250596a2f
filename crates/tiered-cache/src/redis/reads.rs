//! Reads of Redis: alone, of many keys at once, and of many callers as few questions.
//!
//! A few reads at a time are sent as they come; those that come meanwhile gather, and go together in one
//! MGET as soon as one of the few is answered. With 64 tasks that costs Redis and the client a third of as
//! many single GETs; a reader who is alone waits for nobody. No read is answered by a question that was
//! sent before it came.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use fred::{
    types::{Resp3Frame as Frame, Value},
    util::redis_keyslot,
};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    layout::{self, Stored},
    link::{Fault, Link},
};
use crate::{
    coherence::{Effect, Floors, Target},
    tier::{EntryKey, TierError},
};

type Answer = Result<Option<Bytes>, TierError>;

/// The reading side of the tier; keys are `namespace:epoch:cache:key`.
pub(super) struct Reads {
    link: Arc<Link>,
    prefix: Arc<str>,
    /// Learns of soft floors that were read here before the log told of them.
    floors: Arc<Floors>,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    /// Questions that are sent and not answered.
    under_way: usize,
    waiting: Vec<Waiting>,
}

struct Waiting {
    key: EntryKey,
    answer: oneshot::Sender<Answer>,
}

/// The right to have one question under way; given up, it goes to those who wait.
struct Turn(Arc<Reads>);

impl Reads {
    pub(super) fn new(link: Arc<Link>, prefix: Arc<str>, floors: Arc<Floors>) -> Self {
        Self {
            link,
            prefix,
            floors,
            gathered: Mutex::default(),
        }
    }

    pub(super) fn name(&self, key: &EntryKey) -> String {
        format!("{}{}:{}", self.prefix, key.cache, key.text)
    }

    /// The bytes under one key. The caller bounds the wait.
    pub(super) async fn one(self: Arc<Self>, key: &EntryKey) -> Answer {
        match self.turn_or_wait(key) {
            Ok(turn) => {
                // CANCEL: dropped here, the turn goes to those who wait.
                let answer = self.read_one(key, self.name(key)).await;
                drop(turn);
                answer
            }
            // The task that asks for it went away with its runtime.
            Err(answer) => answer.await.unwrap_or(Err(TierError::Unavailable)),
        }
    }

    fn turn_or_wait(self: &Arc<Self>, key: &EntryKey) -> Result<Turn, oneshot::Receiver<Answer>> {
        let mut gathered = self.gathered();
        if gathered.under_way < UNDER_WAY {
            gathered.under_way += 1;
            return Ok(Turn(Arc::clone(self)));
        }
        let (answer, wait) = oneshot::channel();
        gathered.waiting.push(Waiting {
            key: key.clone(),
            answer,
        });
        Err(wait)
    }

    /// Asks for those who wait, until nobody does; a task of its own, which holds its turn from the start.
    async fn ask_for_all(turn: Turn, mut waiting: Vec<Waiting>) {
        let this = Arc::clone(&turn.0);
        loop {
            // Nobody waits for some of them any more.
            waiting.retain(|one| !one.answer.is_closed());
            let keys: Vec<EntryKey> = waiting.iter().map(|one| one.key.clone()).collect();
            let answers = this.many(&keys).await;
            for (one, answer) in waiting.into_iter().zip(answers) {
                // Whoever left meanwhile does not want it.
                let _ = one.answer.send(answer);
            }
            waiting = std::mem::take(&mut this.gathered().waiting);
            if waiting.is_empty() {
                return;
            }
        }
    }

    /// The bytes under several keys, in their order; all questions are sent before the first is answered.
    pub(super) async fn many(&self, keys: &[EntryKey]) -> Vec<Answer> {
        let names: Vec<String> = keys.iter().map(|key| self.name(key)).collect();
        let batches = self.batches(&names);
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

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gathered = self.0.gathered();
        let waiting = std::mem::take(&mut gathered.waiting);
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if !waiting.is_empty() => {
                drop(gathered);
                let turn = Self(Arc::clone(&self.0));
                runtime.spawn(Reads::ask_for_all(turn, waiting));
            }
            // Without a runtime nobody waits any more.
            _ => gathered.under_way -= 1,
        }
    }
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What stands for bytes that are not ours: no envelope is empty, so it counts as an invalid entry.
fn foreign(key: &EntryKey) -> Bytes {
    tracing::debug!(cache = %key.cache, "foreign bytes under a key of the cache");
    Bytes::new()
}

/// Keys in one MGET: Redis does nothing else while it answers.
const BATCH: usize = 512;
const MISTAKABLE: usize = 6;
/// Single questions that are sent as they come: enough that a few readers do not wait for each other, few
/// enough that many gather.
const UNDER_WAY: usize = 4;
