//! What stands before each tier below memory: a deadline for every call, and a breaker that leaves a
//! failing tier alone.

mod breaker;

pub use breaker::{BreakerConfig, BreakerState};

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};

use crate::{
    cached::TierKind,
    chance::Chance,
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};
use breaker::{Breaker, Leave, Verdict};

/// How long a tier may take, and when it is left alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GuardConfig {
    /// How long one call may take before it counts as failed; the read goes on to the next tier.
    /// Default: 1 s, a second limit behind the tier's own.
    pub(crate) deadline: Duration,
    /// When the tier is left alone, and when it is tried again.
    pub(crate) breaker: BreakerConfig,
}

/// What a read of a tier gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    Found(Bytes),
    Absent,
    /// The tier was not asked, or says that it is away.
    Bypassed,
    /// It failed or ran out of time.
    Failed,
}

/// A tier behind its guard. Dropping the future of a call counts as nothing.
#[derive(Debug)]
pub(crate) struct Guard {
    tier: Arc<dyn Tier>,
    deadline: Duration,
    breaker: Mutex<Breaker>,
    chance: Chance,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            breaker: BreakerConfig::default(),
        }
    }
}

impl Guard {
    pub(crate) fn new(tier: Arc<dyn Tier>, config: GuardConfig, chance: Chance) -> Self {
        Self {
            tier,
            deadline: config.deadline,
            breaker: Mutex::new(Breaker::new(config.breaker)),
            chance,
        }
    }

    pub(crate) fn kind(&self) -> TierKind {
        self.tier.kind()
    }

    pub(crate) fn scope(&self) -> TierScope {
        self.tier.scope()
    }

    /// What the next call would meet.
    pub(crate) fn state(&self) -> BreakerState {
        self.breaker().state(Instant::now())
    }

    pub(crate) async fn read(&self, key: &EntryKey) -> Read {
        let Some(call) = self.ask() else {
            return Read::Bypassed;
        };
        self.run(call, || self.tier.read(key))
            .instrument(self.span("read", 1))
            .await
            .map_or_else(Read::from, Read::from)
    }

    /// Reads several keys in one call of the tier, answered in their order.
    pub(crate) async fn read_many(&self, keys: &[EntryKey]) -> Vec<Read> {
        let Some(mut call) = self.ask() else {
            return vec![Read::Bypassed; keys.len()];
        };
        let read = self.within(|| self.tier.read_many(keys));
        let read = read.instrument(self.span("read", keys.len()));
        let answers = match read.await {
            // Any other number would give one key's value to another.
            Ok(answers) if answers.len() == keys.len() => answers,
            Ok(_) | Err(_) => {
                call.end(Verdict::Failure);
                return vec![Read::Failed; keys.len()];
            }
        };
        let verdicts = answers.iter().map(verdict);
        call.end(
            verdicts.fold(Verdict::Unknown, |all, one| match (all, one) {
                (Verdict::Success, _) | (_, Verdict::Success) => Verdict::Success,
                (Verdict::Failure, _) | (_, Verdict::Failure) => Verdict::Failure,
                (Verdict::Unknown, Verdict::Unknown) => Verdict::Unknown,
            }),
        );
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.map_or_else(Read::from, Read::from))
            .collect()
    }

    /// Whether the tier has it now.
    pub(crate) async fn write(&self, key: &EntryKey, entry: Sealed, keep_for: Duration) -> bool {
        let Some(call) = self.ask() else {
            return false;
        };
        self.run(call, || self.tier.write(key, entry, keep_for))
            .instrument(self.span("write", 1))
            .await
            .unwrap_or(false)
    }

    /// Past the breaker: the tier flushes and stops even if it failed before. The caller bounds it.
    pub(crate) async fn close(&self) {
        let _ = AssertUnwindSafe(self.tier.close()).catch_unwind().await;
    }

    /// `None` at once while the tier is left alone.
    fn ask(&self) -> Option<Call<'_>> {
        let leave = self.breaker().ask(Instant::now())?;
        Some(Call {
            guard: self,
            leave,
            verdict: Verdict::Unknown,
        })
    }

    async fn run<T, F>(&self, mut call: Call<'_>, ask: impl FnOnce() -> F) -> Result<T, TierError>
    where
        F: Future<Output = Result<T, TierError>>,
    {
        let answer = self.within(ask).await.flatten();
        call.end(verdict(&answer));
        answer
    }

    /// The answer within the deadline. A tier that others have written may panic: its part of a read
    /// fails, not the read.
    async fn within<T, F>(&self, ask: impl FnOnce() -> F) -> Result<T, TierError>
    where
        F: Future<Output = T>,
    {
        let answer = AssertUnwindSafe(async { ask().await }).catch_unwind();
        match timeout(self.deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_panic)) => Err(TierError::Failed("the tier panicked".into())),
            Err(_elapsed) => Err(TierError::TimedOut),
        }
    }

    /// The span of one call of the tier: a child of whatever the caller is in.
    fn span(&self, verb: &'static str, keys: usize) -> Span {
        tracing::debug_span!("cache tier", tier = self.tier.kind().as_str(), verb, keys)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call with leave, which is given back when this is dropped: also when the caller went away.
struct Call<'a> {
    guard: &'a Guard,
    leave: Leave,
    verdict: Verdict,
}

impl Call<'_> {
    fn end(&mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let draw = self.guard.chance.unit();
        let state = {
            let mut breaker = self.guard.breaker();
            if !breaker.returned(self.leave, self.verdict, now, draw) {
                return;
            }
            breaker.state(now)
        };
        let tier = self.guard.kind().as_str();
        match state {
            BreakerState::Closed => tracing::info!(tier, "tier answers again"),
            BreakerState::Open | BreakerState::HalfOpen => {
                tracing::warn!(tier, "tier fails and is left alone for a while");
            }
        }
    }
}

fn verdict<T>(answer: &Result<T, TierError>) -> Verdict {
    match answer {
        Ok(_) => Verdict::Success,
        Err(TierError::Unavailable) => Verdict::Unknown,
        Err(TierError::TimedOut | TierError::Failed(_)) => Verdict::Failure,
    }
}

impl From<Option<Bytes>> for Read {
    fn from(bytes: Option<Bytes>) -> Self {
        bytes.map_or(Self::Absent, Self::Found)
    }
}

impl From<TierError> for Read {
    fn from(error: TierError) -> Self {
        match error {
            TierError::Unavailable => Self::Bypassed,
            TierError::TimedOut | TierError::Failed(_) => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
