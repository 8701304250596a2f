//! What the disk tier costs: time to open, memory, time per read and write.
//!
//! `cargo run --release -p tiered-cache --features disk --example footprint`

use std::{convert::Infallible, fs, path::Path, time::Duration};

use tiered_cache::{BoxError, Caches, Capacity, DiskConfig, Policy, TieredCache};
use tokio::time::Instant;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is a program")]
async fn main() -> Result<(), BoxError> {
    // Capacity in MiB, entries, bytes of each.
    let sizes = [
        (256, 5_000, 1_000),
        (256, 50_000, 1_000),
        (8_192, 20_000, 64_000),
        (8_192, 1_000_000, 1_000),
    ];
    for (capacity, entries, bytes) in sizes {
        println!("{capacity} MiB, {entries} entries of {bytes} bytes:");
        let folder = tempfile::tempdir()?;
        for round in ["empty", "filled"] {
            let (begun, before) = (Instant::now(), resident_kib());
            let caches = open(folder.path(), capacity << 20).await?;
            let (opened, memory) = (begun.elapsed(), resident_kib() - before);
            println!("  {round}: opened in {opened:.1?}, resident {memory:+} KiB");
            // Each read is one of the disk.
            let policy = Policy {
                capacity: Capacity::Entries(1),
                ..Policy::default()
            };
            let cache: TieredCache<u64, String> = caches.cache("texts", policy)?;
            if round == "empty" {
                write(&caches, &cache, entries, bytes).await?;
                println!("  resident {:+} KiB", resident_kib() - before);
            }
            read(&cache, entries).await;
            caches.close().await;
        }
    }
    Ok(())
}

async fn open(folder: &Path, capacity_bytes: u64) -> Result<Caches, BoxError> {
    let disk = DiskConfig {
        path: folder.into(),
        capacity_bytes,
        open_wait: Duration::from_secs(600),
        ..DiskConfig::default()
    };
    let builder = Caches::builder().namespace("footprint").disk(disk);
    Ok(builder.build().await?)
}

/// By loads, as most of what is on a disk gets there. They do not wait for the disk, so this does.
#[expect(clippy::print_stdout, reason = "this is a program")]
async fn write(
    caches: &Caches,
    cache: &TieredCache<u64, String>,
    entries: u64,
    bytes: usize,
) -> Result<(), BoxError> {
    let begun = Instant::now();
    for key in 0..entries {
        if key % 100 == 0 {
            queued_below(caches, 1_000).await;
        }
        let load = move || async move { Ok::<_, Infallible>(Some(noise(key, bytes))) };
        cache.get_or_load(&key, load).await?;
    }
    queued_below(caches, 1).await;
    let took = begun.elapsed();
    let counts = caches.status().disk_use;
    println!(
        "  wrote {} (dropped {}) in {took:.2?}: {:.1} us each, {:.0} MB/s",
        counts.written,
        counts.dropped,
        took.as_secs_f64() * 1e6 / entries as f64,
        counts.written_bytes as f64 / 1e6 / took.as_secs_f64()
    );
    Ok(())
}

async fn queued_below(caches: &Caches, entries: usize) {
    while caches.status().disk_use.queued_entries >= entries {
        tokio::task::yield_now().await;
    }
}

#[expect(clippy::print_stdout, reason = "this is a program")]
async fn read(cache: &TieredCache<u64, String>, entries: u64) {
    let reads = entries.min(20_000);
    let begun = Instant::now();
    let mut hits = 0;
    for read in 0..reads {
        let key = read * (entries / reads);
        hits += u64::from(cache.get(&key).await.is_hit());
    }
    let found = begun.elapsed() / u32::try_from(reads).unwrap_or(1);
    let begun = Instant::now();
    for key in entries..entries + reads {
        cache.get(&key).await;
    }
    let missed = begun.elapsed() / u32::try_from(reads).unwrap_or(1);
    println!("  {hits} of {reads} found, {found:.1?} each; {missed:.1?} for a miss");
}

/// Text that does not compress.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + (state >> 33) as u8 % 90)
    };
    (0..bytes).map(next).collect()
}

/// Resident memory of this process; 0 where there is no /proc.
fn resident_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
