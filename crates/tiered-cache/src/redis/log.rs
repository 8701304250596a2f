//! The invalidation log on a capped Redis stream, with its floors, its epoch and the intents.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fred::types::{Resp3Frame as Frame, Value};
use futures_util::{FutureExt, future::BoxFuture};

use super::{
    client::BLOCK_MAX,
    link::{Fault, Link},
    scripts::{self, Script},
    wire,
};
use crate::{
    chance::Chance,
    coherence::{Effect, Epoch, Log, LogError, Page, Record, Target, Version},
};

/// The log of one namespace; all its keys are in one hash slot.
#[derive(Debug)]
pub(crate) struct RedisLog {
    /// For appends and all that is answered at once.
    commands: Arc<Link>,
    /// For reads that wait inside Redis: commands behind one would wait as long.
    reader: Arc<Link>,
    keys: [String; 3],
    /// How this process signs its records.
    instance: u64,
    entries_max: usize,
    timeout: Duration,
    /// The highest version seen: a log that was lost goes on above it, though the clock went back.
    seen: AtomicU64,
    chance: Chance,
}

impl RedisLog {
    pub(super) fn new(
        commands: Arc<Link>,
        reader: Arc<Link>,
        namespace: &str,
        instance: u64,
        entries_max: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            commands,
            reader,
            keys: ["log", "floors", "intents"].map(|part| format!("{{{namespace}}}:{part}")),
            instance,
            entries_max,
            timeout,
            seen: AtomicU64::new(0),
            chance: Chance::from_system(),
        }
    }

    /// Runs one of the log's scripts, which all begin with a candidate and what was seen.
    async fn run(
        &self,
        link: &Arc<Link>,
        timeout: Option<Duration>,
        script: &Script,
        rest: Vec<Value>,
    ) -> Result<Frame, LogError> {
        let keys = [&*self.keys[0], &*self.keys[1], &*self.keys[2]];
        let mut arguments = Vec::with_capacity(2 + rest.len());
        arguments.push(Value::from(format!("{:016x}", self.chance.draw().max(1))));
        arguments.push(number(self.seen.load(Ordering::SeqCst)));
        arguments.extend(rest);
        let answer = link.run(script, timeout, &keys, arguments).await;
        if let Err(fault) = &answer
            && (fault.is_demoted() || matches!(fault, Fault::TimedOut) && self.is_reader(link))
        {
            link.heal();
        }
        Ok(answer?)
    }

    fn is_reader(&self, link: &Arc<Link>) -> bool {
        Arc::ptr_eq(link, &self.reader)
    }

    /// Waits inside Redis until there is a record after `after`, or for `wait`.
    async fn doze(&self, after: Version, wait: Duration) -> Result<(), LogError> {
        let wait = wait.min(BLOCK_MAX);
        let block = i64::try_from(wait.as_millis()).unwrap_or(1).max(1);
        let arguments = vec![
            Value::from_static_str("BLOCK"),
            Value::Integer(block),
            Value::from_static_str("COUNT"),
            Value::Integer(1),
            Value::from_static_str("STREAMS"),
            Value::from(self.keys[0].as_str()),
            // Past whatever else somebody wrote with the number of this version.
            Value::from(format!("{after}-{}", u64::MAX)),
        ];
        let limit = wait + self.timeout;
        // CANCEL: the command stays out there, and what comes next would wait behind it: the connection
        // is made anew, as it is when the answer is late.
        let mut unanswered = HealOnDrop(Some(&self.reader));
        let answer = self
            .reader
            .wait_for(limit, "XREAD", &self.keys[0], arguments);
        let answer = answer.await;
        if !matches!(&answer, Err(fault) if matches!(fault, Fault::TimedOut) || fault.is_demoted())
        {
            unanswered.0 = None;
        }
        match answer {
            // Only a call to wake up: the page is read in one step with the log's state.
            Ok(_) => Ok(()),
            // A foreign value in the place of the stream; the script heals that.
            Err(Fault::Answer(error)) if error.details().starts_with("WRONGTYPE") => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    fn note(&self, version: Version) {
        self.seen.fetch_max(version.0, Ordering::SeqCst);
    }

    fn bulk_timeout(&self) -> Option<Duration> {
        Some(self.timeout.max(BULK))
    }
}

impl Log for RedisLog {
    fn append<'a>(
        &'a self,
        changes: &'a [(Target, Effect)],
    ) -> BoxFuture<'a, Result<Version, LogError>> {
        async move {
            let rest = vec![
                Value::from(format!("{:016x}", self.instance)),
                Value::from(wire::encode(changes)),
                number(self.entries_max),
                number(FLOORS_MAX),
            ];
            // CANCEL: the record may be there or not; its writer sees it come back, or appends again.
            let answer = self
                .run(&self.commands, None, &scripts::APPEND, rest)
                .await?;
            let version = wire::text(&answer).and_then(wire::version);
            let version = version.ok_or_else(Fault::shape)?;
            self.note(version);
            Ok(version)
        }
        .boxed()
    }

    fn read(
        &self,
        after: Version,
        limit: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Page, LogError>> {
        async move {
            if !wait.is_zero() {
                self.doze(after, wait).await?;
            }
            let limit = limit.max(1);
            let asked = limit.min(PAGE_MAX);
            let rest = vec![number(after.0), number(asked)];
            let timeout = self.bulk_timeout();
            let answer = self
                .run(&self.reader, timeout, &scripts::PAGE, rest)
                .await?;
            let mut page = page(&answer).ok_or_else(Fault::shape)?;
            self.note(page.last);
            if asked < limit
                && page.records.len() == asked
                && let Some(record) = page.records.last()
            {
                // Fewer than the caller asked for: it must not take the end of the log for its place.
                page.last = record.version;
            }
            Ok(page)
        }
        .boxed()
    }

    fn floors(&self) -> BoxFuture<'_, Result<Vec<(Target, Effect, Version)>, LogError>> {
        async move {
            let timeout = self.bulk_timeout();
            let answer = self
                .run(&self.commands, timeout, &scripts::FLOORS, Vec::new())
                .await?;
            let rows = second(&answer).ok_or_else(Fault::shape)?;
            let (pairs, _) = rows.as_chunks::<2>();
            Ok(pairs
                .iter()
                .filter_map(|[member, score]| wire::floor(member, score))
                .collect())
        }
        .boxed()
    }

    fn renew(&self, old: Epoch, above: Version) -> BoxFuture<'_, Result<Epoch, LogError>> {
        async move {
            self.note(above);
            let rest = vec![Value::from(format!("{:016x}", old.id))];
            let answer = self
                .run(&self.commands, None, &scripts::RENEW, rest)
                .await?;
            let parts = wire::array(&answer).unwrap_or_default();
            Ok(epoch(parts).ok_or_else(Fault::shape)?)
        }
        .boxed()
    }

    fn prepare<'a>(
        &'a self,
        intent: u64,
        changes: &'a [u8],
        due: Duration,
    ) -> BoxFuture<'a, Result<(), LogError>> {
        async move {
            let rest = vec![
                Value::from(format!("{intent:016x}")),
                number(due.as_millis().min(DUE_MAX)),
                Value::Bytes(Bytes::copy_from_slice(changes)),
                number(INTENTS_MAX),
            ];
            self.run(&self.commands, None, &scripts::PREPARE, rest)
                .await
                .map(drop)
        }
        .boxed()
    }

    fn complete(&self, intent: u64) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            let arguments = vec![
                Value::from(self.keys[2].as_str()),
                Value::from(format!("{intent:016x}")),
            ];
            self.commands.call("HDEL", &self.keys[2], arguments).await?;
            Ok(())
        }
        .boxed()
    }

    fn overdue(&self) -> BoxFuture<'_, Result<Vec<(u64, Vec<u8>)>, LogError>> {
        async move {
            let timeout = self.bulk_timeout();
            let rest = vec![number(OVERDUE_MAX)];
            let answer = self
                .run(&self.commands, timeout, &scripts::OVERDUE, rest)
                .await?;
            let rows = second(&answer).ok_or_else(Fault::shape)?;
            let (pairs, _) = rows.as_chunks::<2>();
            Ok(pairs.iter().filter_map(intent).collect())
        }
        .boxed()
    }
}

/// Makes a connection anew unless it is told that there is no need.
struct HealOnDrop<'a>(Option<&'a Arc<Link>>);

impl Drop for HealOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.0 {
            link.heal();
        }
    }
}

fn page(answer: &Frame) -> Option<Page> {
    let parts = wire::array(answer)?;
    let [_, _, last, trimmed, rows] = parts else {
        return None;
    };
    let records: Option<Vec<Record>> = wire::array(rows)?.iter().map(wire::record).collect();
    Some(Page {
        epoch: epoch(parts)?,
        trimmed: wire::version(wire::text(trimmed)?)?,
        last: wire::version(wire::text(last)?)?,
        records: records?,
    })
}

/// The first two parts of an answer.
fn epoch(parts: &[Frame]) -> Option<Epoch> {
    let [id, run, ..] = parts else { return None };
    Some(Epoch {
        id: wire::hex(wire::text(id)?)?,
        // 64 of its 160 random bits tell runs apart as well.
        run: wire::hex(wire::text(run)?.get(..16)?)?,
    })
}

/// The second part of an answer whose first is a word, so that fred does not take it for a message.
fn second(answer: &Frame) -> Option<&[Frame]> {
    match wire::array(answer)? {
        [_, rows] => wire::array(rows),
        _ => None,
    }
}

/// A field that is not of ours is left where it is.
fn intent([name, changes]: &[Frame; 2]) -> Option<(u64, Vec<u8>)> {
    let name = wire::hex(wire::text(name)?)?;
    match changes {
        Frame::BlobString { data, .. } => Some((name, data.to_vec())),
        _ => None,
    }
}

fn number(number: impl std::fmt::Display) -> Value {
    Value::from(format!("{number}"))
}

/// Tags and caches whose last invalidation is kept exactly for processes to come.
const FLOORS_MAX: usize = 16_384;
/// Records in one page: Redis does nothing else while it answers.
const PAGE_MAX: usize = 1024;
const INTENTS_MAX: usize = 4096;
const OVERDUE_MAX: usize = 256;
/// A day.
const DUE_MAX: u128 = 24 * 3600 * 1000;
/// For answers of megabytes, which are read at the start and after a gap.
const BULK: Duration = Duration::from_secs(2);
