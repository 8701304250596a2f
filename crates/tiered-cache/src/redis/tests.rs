//! Tier, log and leases on a real server.

#[path = "../../tests/it/redis_group.rs"]
mod redis_group;
#[path = "../../tests/it/redis_server.rs"]
pub(crate) mod redis_server;

mod faults;
mod groups;
mod lease;
mod log;
mod losses;
mod reads;
mod values;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use self::redis_server::{Reply, Server};
use super::{ConnectionState, RedisConfig, RedisParts, layout};
use crate::{
    coherence::{Effect, Epoch, Floors, Log, LogError, Page, Record, Standing, Target, Version},
    tier::{EntryKey, Sealed, Tier, TierError},
};

struct Rig {
    server: Server,
    parts: RedisParts,
    floors: Arc<Floors>,
}

impl Rig {
    async fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_with(arguments, 100).await
    }

    async fn start_with(arguments: &[&str], log_entries_max: usize) -> Option<Self> {
        let server = Server::start(arguments).await?;
        let (parts, floors) = open_with(&server.url(), 1, log_entries_max).await;
        Some(Self {
            server,
            parts,
            floors,
        })
    }

    async fn write(&self, key: &EntryKey, version: u64, bytes: &'static str) -> bool {
        let entry = Sealed {
            bytes: Bytes::from_static(bytes.as_bytes()),
            version: Version(version),
            insertion: false,
        };
        let written = self.parts.tier.write(key, entry, MINUTE).await;
        written.expect("the server is there")
    }

    async fn read(&self, key: &EntryKey) -> Option<Bytes> {
        let read = self.parts.tier.read(key).await;
        read.expect("the server is there")
    }

    async fn invalidate(&self, key: &EntryKey, effect: Effect, version: u64) {
        let done = self.parts.tier.invalidate(key, effect, Version(version));
        done.await.expect("the server is there");
    }

    async fn append(&self, target: Target) -> Version {
        let changes = [(target, Effect::Remove)];
        let appended = self.parts.log.append(&changes).await;
        appended.expect("the server is there")
    }

    async fn page(&self, after: Version) -> Page {
        let page = self.parts.log.read(after, 1000, Duration::ZERO).await;
        page.expect("the server is there")
    }

    /// Again and again until there is an answer: the connection may have to come back first.
    async fn page_at_last(&self, after: Version) -> Page {
        let page = async {
            loop {
                match self.parts.log.read(after, 1000, Duration::ZERO).await {
                    Ok(page) => return page,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let page = tokio::time::timeout(MINUTE, page).await;
        page.expect("the log answers again")
    }
}

async fn open(server: &Server, instance: u64) -> (RedisParts, Arc<Floors>) {
    open_with(&server.url(), instance, 100).await
}

async fn open_with(url: &str, instance: u64, log_entries_max: usize) -> (RedisParts, Arc<Floors>) {
    let config = RedisConfig {
        url: url.to_owned(),
        // Far above what a busy machine needs.
        command_timeout: Duration::from_secs(10),
        connect_grace: Duration::from_secs(10),
        log_entries_max,
        ..RedisConfig::default()
    };
    let floors = Arc::new(Floors::new(16));
    let parts = RedisParts::open(&config, "shop", 0, instance, &floors).await;
    (parts.expect("the settings are sound"), floors)
}

fn key(text: &str) -> EntryKey {
    EntryKey {
        cache: Arc::from("users"),
        hash: crate::hash::text_hash(text),
        text: Arc::from(text),
    }
}

const MINUTE: Duration = Duration::from_secs(60);
