//! The Redis tier: commands with deadlines, and removals that are never forgotten while the
//! process lives.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fred::{
    clients::{Client, WithOptions},
    error::Error,
    interfaces::{ClientLike, KeysInterface},
    types::{ConnectHandle, Expiration},
};
use futures_util::{FutureExt, future::BoxFuture};
use metrics::Gauge;
use tokio::time::Instant;

use super::{
    RedisConfig, client,
    pending::{Pending, Unsettled},
};
use crate::{
    error::ConfigError,
    old_lookup::TierKind,
    old_tier::{EntryKey, Read, Target, Tier},
    status::{CachesStatus, RedisStatus},
};

/// Redis below memory; keys are `namespace:epoch:cache:key`.
#[derive(Debug)]
pub(crate) struct RedisTier {
    client: Client,
    commands: WithOptions<Client>,
    connection: ConnectHandle,
    prefix: String,
    pending: Pending,
    closed: AtomicBool,
    command_timeout: Duration,
    /// Since when it is away; `None` while connected.
    away: Mutex<Option<Instant>>,
    connected: Gauge,
    waiting: Gauge,
}

impl RedisTier {
    /// Begins to connect and waits for it at most `connect_grace`.
    ///
    /// Spawns fred's connection task and a task of our own that watches the connection and retries
    /// removals; both end with the tier.
    pub(crate) async fn open(
        config: &RedisConfig,
        namespace: &str,
        epoch: u64,
    ) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        let client = client::build(config, client::Purpose::Commands)?;
        let connection = client.connect();
        // CANCEL: a dropped build drops the handle's task with the guard below.
        let mut guard = AbortOnDrop(Some(connection));
        let grace = tokio::time::timeout(config.connect_grace, client.wait_for_connect()).await;
        let here = matches!(grace, Ok(Ok(()))) && client.is_connected();
        if !here {
            tracing::warn!("Redis not reached in time: starting without it");
        }
        let tier = Arc::new(Self {
            commands: client.with_options(&client::options(config.command_timeout, false)),
            connection: guard
                .0
                .take()
                .expect("the guard was filled two lines above"),
            client,
            prefix: format!("{namespace}:{epoch}:"),
            pending: Pending::new(config.pending_removals_max),
            closed: AtomicBool::new(false),
            command_timeout: config.command_timeout,
            away: Mutex::new((!here).then(Instant::now)),
            connected: metrics::gauge!(CONNECTED),
            waiting: metrics::gauge!(PENDING),
        });
        tier.connected.set(f64::from(u8::from(here)));
        tokio::spawn(watch(Arc::downgrade(&tier)));
        Ok(tier)
    }

    fn cache_prefix(&self, cache: &str) -> String {
        format!("{}{cache}:", self.prefix)
    }

    fn key(&self, key: &EntryKey) -> String {
        format!("{}{}:{}", self.prefix, key.cache, key.text)
    }

    fn available(&self) -> bool {
        !self.closed.load(Ordering::Acquire) && self.client.is_connected()
    }

    /// Deletes one key; `true` when Redis has confirmed it.
    async fn delete(&self, key: &str) -> bool {
        if !self.available() {
            return false;
        }
        confirmed("del", &self.commands.del::<(), _>(key).await)
    }

    /// Walks the database and deletes what begins with `prefix`; bounded by [`CLEAR_TIMEOUT`].
    async fn delete_all(&self, prefix: &str) -> bool {
        if !self.available() {
            return false;
        }
        // Names hold no glob characters, so the prefix needs no escape.
        let walk = async {
            let mut cursor = "0".to_owned();
            loop {
                let page = self
                    .commands
                    .scan_page(cursor, format!("{prefix}*"), Some(500), None);
                let (next, keys): (String, Vec<String>) = page.await?;
                if !keys.is_empty() {
                    self.commands.del::<(), _>(keys).await?;
                }
                if next == "0" {
                    return Ok(());
                }
                cursor = next;
            }
        };
        match tokio::time::timeout(CLEAR_TIMEOUT, walk).await {
            Ok(result) => confirmed("scan", &result),
            Err(_) => false,
        }
    }

    async fn settle_one(&self, unsettled: &Unsettled) {
        let done = match unsettled {
            Unsettled::Key { key, .. } => self.delete(key).await,
            Unsettled::Cache { prefix, .. } => self.delete_all(prefix).await,
        };
        if done {
            self.pending.settled(unsettled);
        }
    }

    /// One round of the watch: notes the state of the connection, retries what is unconfirmed.
    async fn tick(&self) {
        let here = self.client.is_connected();
        {
            let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
            match (here, away.is_some()) {
                (true, true) => {
                    tracing::info!("Redis connected");
                    *away = None;
                }
                (false, false) => {
                    tracing::warn!("Redis connection lost: reads skip it until it is back");
                    *away = Some(Instant::now());
                }
                _ => {}
            }
        }
        self.connected.set(f64::from(u8::from(here)));
        if here {
            for unsettled in self.pending.some(RETRIES_PER_TICK) {
                self.settle_one(&unsettled).await;
            }
        }
        self.waiting.set(self.pending.len() as f64);
    }
}

impl Tier for RedisTier {
    fn kind(&self) -> TierKind {
        TierKind::Redis
    }

    fn shared(&self) -> bool {
        true
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Read> {
        async move {
            if !self.available() {
                return Read::Bypassed;
            }
            let name = self.key(key);
            if self.pending.blocks(&name, || self.cache_prefix(&key.cache)) {
                return Read::Bypassed;
            }
            match self.commands.get::<Option<Bytes>, _>(name).await {
                Ok(Some(bytes)) => Read::Found(bytes),
                Ok(None) => Read::Absent,
                Err(error) => {
                    tracing::debug!(%error, "Redis read failed");
                    Read::Failed
                }
            }
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        bytes: Bytes,
        ttl: Duration,
        ticket: Option<u64>,
    ) -> BoxFuture<'a, bool> {
        async move {
            let name = self.key(key);
            let fill = ticket.is_none();
            if !self.available()
                || fill && self.pending.blocks(&name, || self.cache_prefix(&key.cache))
            {
                return false;
            }
            // PX 0 is an error to Redis.
            let px = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1);
            let set = self.commands.set::<(), _, _>(
                name.as_str(),
                bytes,
                Some(Expiration::PX(px)),
                None,
                false,
            );
            let written = confirmed("set", &set.await);
            if let (true, Some(ticket)) = (written, ticket) {
                self.pending.settled(&Unsettled::Key { key: name, ticket });
            }
            written
        }
        .boxed()
    }

    fn announce(&self, target: Target<'_>) -> u64 {
        match target {
            _ if self.closed.load(Ordering::Acquire) => 0,
            Target::Key {
                entry: Some(entry), ..
            } => self
                .pending
                .add_key(self.key(entry), || self.cache_prefix(&entry.cache)),
            // Too long a key was never written.
            Target::Key { entry: None, .. } => 0,
            Target::Cache { name, .. } => self.pending.add_cache(self.cache_prefix(name)),
        }
    }

    fn record(&self, _target: Target<'_>, _version: u64) {}

    fn settle<'a>(&'a self, target: Target<'a>, ticket: u64) -> BoxFuture<'a, ()> {
        async move {
            let unsettled = match target {
                Target::Key {
                    entry: Some(entry), ..
                } => Unsettled::Key {
                    key: self.key(entry),
                    ticket,
                },
                Target::Key { entry: None, .. } => return,
                Target::Cache { name, .. } => Unsettled::Cache {
                    prefix: self.cache_prefix(name),
                    ticket,
                },
            };
            // CANCEL: unconfirmed, it stays pending: reads skip the key and the watch retries.
            self.settle_one(&unsettled).await;
        }
        .boxed()
    }

    fn status(&self, status: &mut CachesStatus) {
        let pending_removals = self.pending.len();
        status.redis = if self.closed.load(Ordering::Acquire) {
            RedisStatus::Off
        } else if self.client.is_connected() {
            RedisStatus::Connected { pending_removals }
        } else {
            let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
            let since = away.map_or(Duration::ZERO, |since| since.elapsed());
            RedisStatus::Disconnected {
                since,
                pending_removals,
            }
        };
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            // Bounded below the caller's own limit: past that, the tier would stay open.
            if tokio::time::timeout(CLOSE_STEP, self.tick()).await.is_err() {
                tracing::warn!("Redis too slow for the last removals");
            }
            self.closed.store(true, Ordering::Release);
            let lost = self.pending.len();
            if lost > 0 {
                tracing::warn!(
                    lost,
                    "removals that Redis never confirmed end with this process"
                );
            }
            // Without a connection, QUIT would wait for one.
            if self.client.is_connected() {
                let limit = self.command_timeout.min(CLOSE_STEP);
                let _ = tokio::time::timeout(limit, self.client.quit()).await;
            }
            self.connection.abort();
        }
        .boxed()
    }
}

impl Drop for RedisTier {
    fn drop(&mut self) {
        // fred's task would go on reconnecting for ever.
        self.connection.abort();
    }
}

/// Ends the connection task of a build that was given up.
struct AbortOnDrop(Option<ConnectHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.abort();
        }
    }
}

/// Holds the tier only while it works, so that it ends with it.
async fn watch(tier: Weak<RedisTier>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        match tier.upgrade() {
            Some(tier) if !tier.closed.load(Ordering::Acquire) => tier.tick().await,
            _ => return,
        }
    }
}

fn confirmed(command: &'static str, result: &Result<(), Error>) -> bool {
    if let Err(error) = result {
        tracing::debug!(command, %error, "Redis command failed");
    }
    result.is_ok()
}

const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// With 100 ms per command at worst, a round against a hung server still ends in seconds.
const RETRIES_PER_TICK: usize = 32;
const CLEAR_TIMEOUT: Duration = Duration::from_secs(5);
/// `Caches::close` gives 5 s to two such steps.
const CLOSE_STEP: Duration = Duration::from_secs(2);

const CONNECTED: &str = "tiered_cache_redis_connected";
const PENDING: &str = "tiered_cache_redis_pending_removals";
