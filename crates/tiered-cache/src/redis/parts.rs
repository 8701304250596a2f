//! All that Redis is used for, opened and closed as one.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join;
use metrics::Gauge;

use super::{
    RedisConfig,
    client::Purpose,
    lease::Lease,
    link::{ConnectionState, Link},
    log::RedisLog,
    tier::RedisTier,
    tracking::track,
};
use crate::{
    coherence::{Effect, Floors, Target},
    error::ConfigError,
};

/// Called with what is known to have changed outside of the log.
pub(crate) type Heard = Arc<dyn Fn(&[(Target, Effect)]) + Send + Sync>;

/// The tier, the log and the leases of one namespace.
#[derive(Debug)]
pub(crate) struct RedisParts {
    pub(crate) tier: Arc<RedisTier>,
    pub(crate) log: Arc<RedisLog>,
    pub(crate) lease: Arc<Lease>,
    links: Arc<Links>,
    /// The beginning of the names that are tracked.
    tracked: Option<Arc<str>>,
}

/// The connections: the reads of the log wait on their own.
#[derive(Debug)]
struct Links {
    commands: Arc<Link>,
    reader: Arc<Link>,
    connected: Gauge,
    log_connected: Gauge,
}

impl RedisParts {
    /// Begins to connect and waits for it at most `connect_grace`.
    ///
    /// `epoch` is the generation of the entries' names, `instance` the signature of this process in
    /// the log. Spawns fred's connection tasks and one that notes how they stand; all end with the
    /// parts.
    ///
    /// # Errors
    /// [`ConfigError`]; an absent server is none.
    pub(crate) async fn open(
        config: &RedisConfig,
        namespace: &str,
        epoch: u64,
        instance: u64,
        floors: &Arc<Floors>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let purpose = match config.tracking {
            true => Purpose::Tracking,
            false => Purpose::Commands,
        };
        let commands = Link::open(config, purpose)?;
        let reader = Link::open(config, Purpose::Blocked)?;
        let (here, _) = join(
            commands.wait(config.connect_grace),
            reader.wait(config.connect_grace),
        )
        .await;
        if !here {
            tracing::warn!("Redis not reached in time: starting without it");
        }
        let prefix: Arc<str> = format!("{namespace}:{epoch}:").into();
        let links = Arc::new(Links {
            commands: Arc::clone(&commands),
            reader: Arc::clone(&reader),
            connected: metrics::gauge!(CONNECTED),
            log_connected: metrics::gauge!(LOG_CONNECTED),
        });
        links.observe();
        tokio::spawn(watch(Arc::downgrade(&links)));
        Ok(Self {
            tier: Arc::new(RedisTier::new(
                Arc::clone(&commands),
                Arc::clone(&prefix),
                Arc::clone(floors),
                config.tombstone_ttl,
            )),
            log: Arc::new(RedisLog::new(
                Arc::clone(&commands),
                reader,
                namespace,
                instance,
                config.log_entries_max,
                config.command_timeout,
            )),
            tracked: config.tracking.then(|| Arc::clone(&prefix)),
            lease: Arc::new(Lease::new(commands, prefix)),
            links,
        })
    }

    /// Begins to tell of keys that somebody changed in Redis, where `RedisConfig::tracking` asks for it.
    /// Spawns a task that ends with the parts.
    pub(crate) fn track(&self, heard: Heard) {
        if let Some(prefix) = &self.tracked {
            let link = Arc::downgrade(&self.links.commands);
            tokio::spawn(track(link, Arc::clone(prefix), heard));
        }
    }

    /// How the connection for commands stands now.
    pub(crate) fn state(&self) -> ConnectionState {
        self.links.commands.observe().0
    }

    /// Ends the connections; what is asked afterwards is unavailable.
    pub(crate) async fn close(&self) {
        join(
            self.links.commands.close(CLOSE),
            // It waits for the next record of the log, and QUIT would wait behind that.
            self.links.reader.close(Duration::ZERO),
        )
        .await;
        self.links.observe();
    }
}

impl Links {
    fn observe(&self) -> bool {
        let (state, changed) = self.commands.observe();
        match state {
            ConnectionState::Connected if changed => tracing::info!("Redis connected"),
            ConnectionState::Disconnected(_) if changed => {
                tracing::warn!("Redis connection lost: reads skip it until it is back");
            }
            _ => {}
        }
        let up = |state| f64::from(u8::from(state == ConnectionState::Connected));
        self.connected.set(up(state));
        self.log_connected.set(up(self.reader.observe().0));
        state != ConnectionState::Closed
    }
}

/// Holds the links only while it looks, so that it ends with them.
async fn watch(links: Weak<Links>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        match links.upgrade() {
            Some(links) if links.observe() => {}
            _ => return,
        }
    }
}

const WATCH_INTERVAL: Duration = Duration::from_millis(250);
const CLOSE: Duration = Duration::from_secs(2);

const CONNECTED: &str = "tiered_cache_redis_connected";
const LOG_CONNECTED: &str = "tiered_cache_redis_log_connected";
