//! Leases: one replica loads a key, the others wait a bounded time for its value.

use std::{sync::Arc, time::Duration};

use fred::types::{Resp3Frame as Frame, Value};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use super::{
    link::{Fault, Link},
    scripts,
};
use crate::{
    cache::{Leased, Leases},
    chance::Chance,
    tier::{EntryKey, TierError},
};

/// Hands out leases; a lease that is lost (failover, eviction) costs a second load and nothing else.
#[derive(Debug)]
pub(crate) struct Lease {
    link: Arc<Link>,
    prefix: Arc<str>,
    chance: Arc<Chance>,
}

/// The right to load; given back when it is dropped, and over by its own time at the latest.
#[derive(Debug)]
pub(crate) struct LeaseGuard {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    link: Arc<Link>,
    name: String,
    token: String,
}

impl Lease {
    pub(super) fn new(link: Arc<Link>, prefix: Arc<str>) -> Self {
        Self {
            link,
            prefix,
            chance: Arc::new(Chance::from_system()),
        }
    }

    /// Takes the lease of the key for at most `ttl`; `None` when another holds it.
    ///
    /// # Errors
    /// [`TierError`]; the caller loads without a lease.
    pub(crate) async fn acquire(
        &self,
        key: &EntryKey,
        ttl: Duration,
    ) -> Result<Option<LeaseGuard>, TierError> {
        // Made first: if this is dropped midway, the lease is given back as well.
        let mut guard = LeaseGuard {
            held: Some(Held {
                link: Arc::clone(&self.link),
                name: self.name(key),
                token: format!("{:016x}", self.chance.draw()),
            }),
        };
        let Some(held) = &guard.held else {
            return Ok(None);
        };
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(TTL_MAX_MS);
        let arguments = vec![
            Value::from(held.name.as_str()),
            Value::from(held.token.as_str()),
            Value::from_static_str("NX"),
            Value::from_static_str("PX"),
            Value::Integer(millis.clamp(1, TTL_MAX_MS)),
        ];
        match self.link.call("SET", &held.name, arguments).await {
            Ok(Frame::Null) => {
                guard.held = None;
                Ok(None)
            }
            Ok(_) => Ok(Some(guard)),
            Err(fault) => {
                if matches!(fault, Fault::Unavailable) {
                    guard.held = None;
                }
                Err(fault.into())
            }
        }
    }

    /// Waits until the key's lease is given back or over, at most for `bound`; `true` when it is.
    /// The caller then looks for the value, and loads if there is none.
    ///
    /// # Errors
    /// [`TierError`]; the caller loads without a lease.
    pub(crate) async fn watch(&self, key: &EntryKey, bound: Duration) -> Result<bool, TierError> {
        let until = Instant::now() + bound.min(Duration::from_hours(1));
        let name = self.name(key);
        let mut pause = POLL_MIN;
        loop {
            // Half of each pause is drawn, so that the replicas that wait do not ask as one.
            let drawn = pause.mul_f64(0.5 + self.chance.unit() / 2.0);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            tokio::time::sleep(drawn.min(left)).await;
            let argument = vec![Value::from(name.as_str())];
            match self.link.call("EXISTS", &name, argument).await? {
                Frame::Number { data: 0, .. } => return Ok(true),
                Frame::Number { .. } => {}
                _ => return Err(Fault::shape().into()),
            }
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    /// No cache's name has a `~`, so this is nobody's entry.
    fn name(&self, key: &EntryKey) -> String {
        format!("{}~:{}:{}", self.prefix, key.cache, key.text)
    }
}

impl Leases for Lease {
    fn acquire<'a>(
        &'a self,
        key: &'a EntryKey,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Leased>, TierError>> {
        let held = async move {
            let guard = Self::acquire(self, key, ttl).await?;
            Ok(guard.map(|guard| Box::new(guard) as Leased))
        };
        held.boxed()
    }

    fn watch<'a>(
        &'a self,
        key: &'a EntryKey,
        bound: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        Self::watch(self, key, bound).boxed()
    }
}

#[cfg(test)]
impl LeaseGuard {
    /// Gives the lease back, unless its time was over and another holds it.
    pub(crate) async fn release(mut self) {
        if let Some(held) = self.held.take() {
            held.release().await;
        }
    }
}

impl Held {
    async fn release(&self) {
        let arguments = vec![Value::from(self.token.as_str())];
        let keys = [self.name.as_str()];
        // If this fails, the lease ends by its time.
        let _ = self
            .link
            .run(&scripts::RELEASE, None, &keys, arguments)
            .await;
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let (Some(held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { held.release().await });
        }
    }
}

const POLL_MIN: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(100);
const TTL_MAX_MS: i64 = 3_600_000;
