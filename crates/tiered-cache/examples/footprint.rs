//! What an open disk tier costs a process: time to open, resident memory, space on disk.
//!
//! `cargo run --release -p tiered-cache --features disk --example footprint`

use std::{fs, time::Duration};

use tiered_cache::{BoxError, Caches, DiskConfig, Policy, TieredCache};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "this is a program")]
async fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    for round in ["empty", "filled"] {
        let before = resident_kib();
        let begun = Instant::now();
        let disk = DiskConfig {
            path: folder.path().into(),
            ..DiskConfig::default()
        };
        let caches = Caches::builder()
            .namespace("footprint")
            .disk(disk)
            .build()
            .await?;
        let took = begun.elapsed();
        println!(
            "{round}: opened in {took:?}, resident {before} -> {} KiB",
            resident_kib()
        );
        let policy = Policy {
            capacity: tiered_cache::Capacity::Entries(1),
            ..Policy::default()
        };
        let cache: TieredCache<u32, String> = caches.cache("texts", policy)?;
        for burst in 0..50 {
            for key in 0..100 {
                cache.insert(&(burst * 100 + key), "x".repeat(1_000)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut hits = 0;
        for key in 0..5_000 {
            hits += u32::from(cache.get(&key).await.is_hit());
        }
        let rss = resident_kib();
        println!("{round}: {hits} of 5,000 x 1,000 bytes found, resident {rss} KiB");
        caches.close().await;
    }
    println!(
        "blocks on disk: {} files",
        fs::read_dir(folder.path().join("blocks"))?.count()
    );
    Ok(())
}

/// Resident memory of this process; 0 where there is no /proc.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
