//! The tier alone, on real foyer: what is kept, what is counted, the hazards, the faults.

mod faults;
mod hazards;
mod script;
mod writes;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;

use self::script::Script;
use super::{config::DiskConfig, folder::Folder, tier::DiskTier};
use crate::{
    coherence::{Effect, Version},
    tier::{EntryKey, Sealed, Tier},
};

pub(super) fn config(path: &Path) -> DiskConfig {
    DiskConfig {
        path: path.into(),
        capacity_bytes: 32 << 20,
        block_bytes: 4 << 20,
        // Far above what a busy machine needs: these tests are not about time.
        read_timeout: Duration::from_secs(30),
        open_wait: Duration::from_secs(60),
        ..DiskConfig::default()
    }
}

async fn open(path: &Path) -> Arc<DiskTier> {
    open_with(&config(path), &Script::default()).await
}

async fn open_with(config: &DiskConfig, script: &Script) -> Arc<DiskTier> {
    let folder = Folder::take(&config.path).await.expect("a usable folder");
    let tier = DiskTier::open_shaped(folder, config, true, script.shape()).await;
    tier.expect("a usable folder")
}

fn key(number: u64) -> EntryKey {
    EntryKey {
        cache: "tests".into(),
        hash: crate::hash::mix(number + 1),
        text: number.to_string().into(),
    }
}

/// Bytes that tell which key and version they are.
fn value(number: u64, version: u64, length: usize) -> Bytes {
    let mut bytes = format!("{number} at {version} ").into_bytes();
    bytes.resize(length.max(bytes.len()), b'.');
    bytes.into()
}

fn fill(bytes: Bytes, version: u64) -> Sealed {
    Sealed {
        bytes,
        version: Version(version),
        insertion: false,
    }
}

fn insertion(bytes: Bytes, version: u64) -> Sealed {
    Sealed {
        insertion: true,
        ..fill(bytes, version)
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

async fn put(tier: &DiskTier, number: u64, version: u64) -> bool {
    let entry = fill(value(number, version, 1_000), version);
    tier.write(&key(number), entry, HOUR)
        .await
        .expect("the tier is open")
}

async fn remove(tier: &DiskTier, number: u64, version: u64) {
    tier.invalidate(&key(number), Effect::Remove, Version(version))
        .await
        .expect("it never fails");
}

/// The version that is read, checked to be one of this key.
async fn version(tier: &DiskTier, number: u64) -> Option<u64> {
    let bytes = tier.read(&key(number)).await.expect("the tier is open")?;
    let text = std::str::from_utf8(&bytes).expect("text was written");
    let (named, rest) = text.split_once(" at ").expect("as it was written");
    assert_eq!(named, number.to_string(), "never the value of another key");
    rest.split(' ').next()?.parse().ok()
}

/// Waits until nothing is queued any more.
async fn settled(tier: &DiskTier) {
    while tier.status().1.queued_entries > 0 {
        tokio::task::yield_now().await;
    }
}
