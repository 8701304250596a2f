//! The built-in defaults: what runs on a laptop with nothing installed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;

use super::{
    AdminConfig, BackupConfig, CacheConfig, CompressionChoice, ConnectionUrl, DatabaseConfig,
    DiskConfig, HttpConfig, LogConfig, LogFormat, MemoryConfig, MonitorConfig, PoolConfig,
    QueryCacheConfig, RedisConfig, ShutdownConfig,
};

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            address: loopback(8080),
            header_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            body_limit: ByteSize::mib(1),
            server_timing: false,
            max_connections: 10_000,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            address: loopback(8081),
            key: None,
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: ConnectionUrl::from("sqlite:data/service.db"),
            replicas: Vec::new(),
            pool: PoolConfig::default(),
            query_cache: QueryCacheConfig::default(),
            backup: BackupConfig::default(),
        }
    }
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            folder: None,
            every: Duration::from_secs(24 * 3600),
            keep: 7,
        }
    }
}

impl Default for QueryCacheConfig {
    fn default() -> Self {
        Self {
            ttl: None,
            max_entries: 1_000,
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            stale_while_revalidate: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(3600),
            negative_ttl: Duration::from_secs(10),
            compression: CompressionChoice::Lz4,
            memory: MemoryConfig::default(),
            redis: RedisConfig::default(),
            disk: DiskConfig::default(),
        }
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            hot_keys: 1_000,
        }
    }
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            path: PathBuf::from("data/cache"),
            capacity: ByteSize::mib(256),
        }
    }
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(60),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info,foyer=warn,foyer_storage=warn".to_owned(),
        }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            drain_delay: Duration::ZERO,
            timeout: Duration::from_secs(30),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
