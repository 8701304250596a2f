//! A disk tier: after a restart the values are still there, and what was removed is not.
//!
//! Run it with `cargo run -p tiered-cache --features disk --example 04_disk`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{convert::Infallible, path::Path, time::Duration};

use tiered_cache::{BoxError, Caches, DiskConfig, Lookup, Policy, TierKind, TieredCache};
use tokio::time::{Instant, sleep};

/// Stands for something that is slow to make, such as a rendered report.
async fn report(id: u32) -> Result<Option<String>, Infallible> {
    sleep(Duration::from_millis(50)).await;
    Ok(Some(format!(
        "report {id}: {}",
        "all is well. ".repeat(200)
    )))
}

async fn open(folder: &Path) -> Result<(Caches, TieredCache<u32, String>), BoxError> {
    let disk = DiskConfig {
        path: folder.into(),
        capacity_bytes: 16 << 20,
        ..DiskConfig::default()
    };
    let caches = Caches::builder()
        .namespace("reports")
        .disk(disk)
        .build()
        .await?;
    let policy = Policy {
        ttl: Duration::from_secs(24 * 3600),
        ..Policy::default()
    };
    let reports = caches.cache("reports", policy)?;
    Ok((caches, reports))
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;

    println!("the first process:");
    let (caches, reports) = open(folder.path()).await?;
    for id in 1..=5 {
        let begun = Instant::now();
        let answer = reports.get_or_load(&id, move || report(id)).await?;
        assert!(matches!(answer, Lookup::Loaded { .. }));
        println!("  report {id} made in {:.1?}", begun.elapsed());
    }
    // On record in the folder before the call returns: not even a kill brings report 3 back.
    reports.remove(&3).await;
    println!("  report 3 removed");
    caches.close().await;
    // Whatever still held the folder is gone.
    drop((caches, reports));

    println!("the second process:");
    let (caches, reports) = open(folder.path()).await?;
    println!("  {}", caches.status());
    for id in 1..=5 {
        let begun = Instant::now();
        let answer = reports.get(&id).await;
        let took = begun.elapsed();
        match &answer {
            Lookup::Hit { value, tier } => {
                println!(
                    "  report {id}: {} bytes from {tier} in {took:.1?}",
                    value.len()
                );
            }
            other => println!("  report {id}: {other:?}"),
        }
        let expected = if id == 3 { None } else { Some(TierKind::Disk) };
        assert_eq!(answer.tier(), expected);
    }
    // What was found on disk is in memory now.
    assert_eq!(reports.get(&1).await.tier(), Some(TierKind::Memory));

    let used = caches.status().disk_use;
    println!(
        "\n{}\n  the disk dropped {}, found damaged {}",
        reports.stats(),
        used.dropped,
        used.damaged
    );
    assert_eq!((used.dropped, used.damaged), (0, 0));
    caches.close().await;
    Ok(())
}
