//! What each crate is given: its own configuration, made of its part of ours.

use std::path::PathBuf;

use db_pool::{BackendKind, ReplicasConfig};
use tiered_cache::{Capacity, Compression, Policy};

use super::{
    BackupConfig, CacheConfig, CompressionChoice, ConnectionUrl, DatabaseConfig, OrOff, PoolConfig,
};

impl DatabaseConfig {
    /// The pool's preset for the backend with what is overridden.
    pub fn pool(&self) -> db_pool::PoolConfig {
        let url = self.url.expose();
        let preset = match BackendKind::from_url(url) {
            Ok(BackendKind::Sqlite) => {
                let mut preset = db_pool::PoolConfig::embedded(url);
                if let Some(readers) = self.pool.max_size {
                    preset.readers = Some(readers);
                    // And the writer.
                    preset.max_size = preset.max_size.max(readers.saturating_add(1));
                }
                preset
            }
            // An unknown scheme is refused by the pool's own check.
            _ => {
                let mut preset = db_pool::PoolConfig::web(url);
                preset.max_size = self.pool.max_size.unwrap_or(preset.max_size);
                preset.min_idle = preset.min_idle.min(preset.max_size);
                preset
            }
        };
        self.pool.over(preset)
    }
}

impl BackupConfig {
    /// What the pool is told about copies in `folder`.
    pub fn copies(&self, folder: impl Into<PathBuf>) -> db_pool::BackupConfig {
        db_pool::BackupConfig {
            keep: self.keep,
            ..db_pool::BackupConfig::new(folder)
        }
    }
}

impl PoolConfig {
    /// The preset with what is overridden, but for the size: what it counts depends on the backend.
    fn over(&self, preset: db_pool::PoolConfig) -> db_pool::PoolConfig {
        let limit = |own: Option<OrOff>, preset| own.map_or(preset, OrOff::limit);
        db_pool::PoolConfig {
            min_idle: self.min_idle.unwrap_or(preset.min_idle),
            overflow: self.overflow.unwrap_or(preset.overflow),
            max_waiting: self.max_waiting.unwrap_or(preset.max_waiting),
            lanes: self.lanes.unwrap_or(preset.lanes),
            acquire_timeout: self.acquire_timeout.unwrap_or(preset.acquire_timeout),
            connect_timeout: self.connect_timeout.unwrap_or(preset.connect_timeout),
            statement_timeout: limit(self.statement_timeout, preset.statement_timeout),
            lock_timeout: limit(self.lock_timeout, preset.lock_timeout),
            idle_timeout: limit(self.idle_timeout, preset.idle_timeout),
            max_lifetime: limit(self.max_lifetime, preset.max_lifetime),
            slow_query: limit(self.slow_query, preset.slow_query),
            leak_after: limit(self.leak_after, preset.leak_after),
            pgbouncer: self.pgbouncer,
            root_certificates: self.root_certificates.clone(),
            ..preset
        }
    }
}

impl DatabaseConfig {
    /// All servers of the database, if there are several.
    pub fn servers(&self) -> Option<ReplicasConfig> {
        if self.replicas.is_empty() {
            return None;
        }
        let urls = std::iter::once(&self.url).chain(&self.replicas);
        Some(ReplicasConfig {
            pool: db_pool::PoolConfig {
                url: String::new(),
                ..self.pool()
            },
            ..ReplicasConfig::new(urls.map(ConnectionUrl::expose))
        })
    }
}

impl CacheConfig {
    /// The policy of a cache.
    pub fn policy(&self) -> Policy {
        Policy {
            ttl: self.ttl,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            negative_ttl: self.negative_ttl,
            capacity: Capacity::Entries(self.memory.capacity),
            compression: match self.compression {
                CompressionChoice::None => Compression::None,
                CompressionChoice::Lz4 => Compression::Lz4,
            },
            ..Policy::default()
        }
    }

    /// The Redis tier, if there is one.
    pub fn redis_tier(&self) -> Option<tiered_cache::RedisConfig> {
        let url = self.redis.url.as_ref()?.expose().to_owned();
        Some(tiered_cache::RedisConfig {
            url,
            ..tiered_cache::RedisConfig::default()
        })
    }

    /// The disk tier, if there is one.
    pub fn disk_tier(&self) -> Option<tiered_cache::DiskConfig> {
        self.disk.enabled.then(|| tiered_cache::DiskConfig {
            path: self.disk.path.clone(),
            capacity_bytes: self.disk.capacity.as_u64(),
            ..tiered_cache::DiskConfig::default()
        })
    }
}
