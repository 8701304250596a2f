//! What is opened besides memory: the disk folder with its log, Redis, and tiers of others.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::Common;
use crate::{
    cache::Leases,
    cached::TierKind,
    chance::Chance,
    coherence::{Floors, Ledger, LedgerConfig, LocalLog, Log},
    error::BuildError,
    guard::GuardConfig,
    status::CachesStatus,
    tier::Tier,
};

/// The configurations of the tiers.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) others: Vec<Arc<dyn Tier>>,
    #[cfg(feature = "redis")]
    pub(super) redis: Option<crate::RedisConfig>,
    #[cfg(feature = "disk")]
    pub(super) disk: Option<crate::DiskConfig>,
}

/// The open tiers in the order in which they are asked, and what belongs to them.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) tiers: Vec<Arc<dyn Tier>>,
    pub(super) log: Option<Arc<dyn Log>>,
    pub(super) local: Option<Arc<LocalLog>>,
    #[cfg(feature = "redis")]
    redis: Option<crate::redis::RedisParts>,
    #[cfg(feature = "redis")]
    redis_config: crate::RedisConfig,
    #[cfg(feature = "disk")]
    disk: Option<Arc<crate::disk::DiskTier>>,
    #[cfg(feature = "disk")]
    disk_config: crate::DiskConfig,
}

/// Under which name this process is known to its tiers.
pub(super) struct Names<'a> {
    pub(super) namespace: &'a str,
    pub(super) epoch: u64,
    pub(super) instance: u64,
}

impl Wanted {
    /// What the settings of Redis say to the ledger.
    pub(super) fn ledger(&self) -> LedgerConfig {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return LedgerConfig {
                pending_max: redis.pending_removals_max,
                ..LedgerConfig::default()
            };
        }
        LedgerConfig::default()
    }

    /// Opens all of it; the disk first, because it can fail. Dropping the future gives everything back.
    pub(super) async fn open(
        self,
        names: &Names<'_>,
        floors: &Arc<Floors>,
        chance: &Arc<Chance>,
    ) -> Result<Parts, BuildError> {
        let mut parts = Parts::default();
        #[cfg(feature = "disk")]
        if let Some(config) = &self.disk {
            parts.open_disk(config, names, floors, chance).await?;
        }
        #[cfg(feature = "redis")]
        if let Some(config) = &self.redis {
            let (namespace, epoch) = (names.namespace, names.epoch);
            let redis =
                crate::redis::RedisParts::open(config, namespace, epoch, names.instance, floors)
                    .await?;
            parts.log = Some(Arc::clone(&redis.log) as _);
            parts.tiers.insert(0, Arc::clone(&redis.tier) as _);
            parts.redis = Some(redis);
            parts.redis_config = config.clone();
        }
        let before_disk = parts.tiers.len() - parts.disk_tiers();
        parts.tiers.splice(before_disk..before_disk, self.others);
        let _ = (names.namespace, names.epoch, names.instance, floors, chance);
        Ok(parts)
    }
}

impl Wanted {
    /// Where the hottest keys are written down if nothing else was said.
    pub(super) fn manifest(&self) -> Option<PathBuf> {
        #[cfg(feature = "disk")]
        return Some(self.disk.as_ref()?.path.join("hot-keys"));
        #[cfg(not(feature = "disk"))]
        return None;
    }
}

impl Parts {
    #[cfg(test)]
    #[cfg_attr(
        not(any(feature = "redis", feature = "disk")),
        expect(clippy::needless_update, reason = "there is no other field")
    )]
    pub(super) fn of_stand_ins(
        tiers: Vec<Arc<dyn Tier>>,
        log: Option<Arc<dyn Log>>,
        local: Option<Arc<LocalLog>>,
    ) -> Self {
        Self {
            tiers,
            log,
            local,
            ..Self::default()
        }
    }

    #[cfg(feature = "disk")]
    async fn open_disk(
        &mut self,
        config: &crate::DiskConfig,
        names: &Names<'_>,
        floors: &Arc<Floors>,
        chance: &Arc<Chance>,
    ) -> Result<(), BuildError> {
        use crate::disk::{DiskTier, Folder};
        config.validate()?;
        let folder = Folder::take(&config.path).await?;
        let (floors, chance) = (Arc::clone(floors), Arc::clone(chance));
        let (path, namespace) = (config.path.clone(), names.namespace.to_owned());
        // CANCEL: dropped here, the folder is given back when the blocking task ends.
        let local = tokio::task::spawn_blocking(move || {
            LocalLog::open(&path, &namespace, &floors, &chance)
        })
        .await
        .map_err(|error| BuildError::Folder {
            path: config.path.clone(),
            source: error.into(),
        })??;
        let disk = DiskTier::open(folder, config, !local.fresh()).await?;
        self.tiers.push(Arc::clone(&disk) as _);
        self.disk = Some(disk);
        self.disk_config = config.clone();
        self.local = Some(Arc::new(local));
        Ok(())
    }

    /// Waits until what the shared log holds is applied, so that a new process begins with Redis in use;
    /// no longer than it would wait for the connection, and not at all for one that is not there.
    pub(super) async fn log_is_read(&self, ledger: &Ledger) {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis
            && redis.state() == crate::redis::ConnectionState::Connected
        {
            let ready = async {
                while !ledger.shared_ready() {
                    tokio::time::sleep(LOOK_EACH).await;
                }
            };
            if tokio::time::timeout(self.redis_config.connect_grace, ready)
                .await
                .is_err()
            {
                tracing::warn!("the log in Redis not read in time: starting without Redis");
            }
        }
        let _ = ledger;
    }

    /// Who arranges that one replica loads a key.
    pub(super) fn leases(&self) -> Option<Arc<dyn Leases>> {
        #[cfg(feature = "redis")]
        return self
            .redis
            .as_ref()
            .map(|redis| Arc::clone(&redis.lease) as _);
        #[cfg(not(feature = "redis"))]
        return None;
    }

    /// How long the guard of a tier waits: behind the tier's own limits, which are the ones to set.
    pub(super) fn deadline(&self, tier: TierKind) -> Duration {
        let own = match tier {
            #[cfg(feature = "redis")]
            TierKind::Redis => self.redis_config.command_timeout,
            #[cfg(feature = "disk")]
            TierKind::Disk => self
                .disk_config
                .read_timeout
                .max(self.disk_config.insert_wait),
            _ => Duration::ZERO,
        };
        GuardConfig::default().deadline.max(own.saturating_mul(2))
    }

    /// Lets the ledger hear of what others change in Redis.
    pub(super) fn track(&self, ledger: &Arc<Ledger>) {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            let ledger = Arc::downgrade(ledger);
            redis.track(Arc::new(move |changes| {
                if let Some(ledger) = ledger.upgrade() {
                    ledger.hear(changes);
                }
            }));
        }
        let _ = ledger;
    }

    pub(super) fn disk_tiers(&self) -> usize {
        #[cfg(feature = "disk")]
        return usize::from(self.disk.is_some());
        #[cfg(not(feature = "disk"))]
        return 0;
    }

    pub(super) fn status(&self, common: &Common) -> CachesStatus {
        #[cfg_attr(
            not(any(feature = "redis", feature = "disk")),
            expect(unused_mut, reason = "there is no tier to tell of")
        )]
        let mut status = CachesStatus::default();
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            status.redis = redis_status(redis, common);
        }
        #[cfg(feature = "disk")]
        if let Some(disk) = &self.disk {
            (status.disk, status.disk_use) = disk.status();
            if let Some(reason) = common.ledger.local_failure() {
                status.disk = crate::status::DiskStatus::Failed { reason };
            }
        }
        let _ = common;
        status
    }

    /// Leaves Redis, once everything that still had to be told has been.
    pub(super) async fn close(&self, within: Duration) {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis
            && tokio::time::timeout(within, redis.close()).await.is_err()
        {
            tracing::warn!("connections to Redis not closed in time");
        }
        let _ = within;
    }
}

#[cfg(feature = "redis")]
fn redis_status(redis: &crate::redis::RedisParts, common: &Common) -> crate::status::RedisStatus {
    use crate::{redis::ConnectionState, status::RedisStatus};
    let log = common.ledger.log_status();
    let pending_removals = log.map_or(0, |log| log.pending);
    match redis.state() {
        ConnectionState::Connected => RedisStatus::Connected { pending_removals },
        ConnectionState::Disconnected(since) => RedisStatus::Disconnected {
            since,
            pending_removals,
        },
        ConnectionState::Closed => RedisStatus::Off,
    }
}

#[cfg(feature = "redis")]
const LOOK_EACH: Duration = Duration::from_millis(1);
