//! Warming: a new process loads what the old one used most before traffic comes, and what is read next
//! before it is asked for.
//!
//! Run it with `cargo run -p tiered-cache --example 08_warming`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{convert::Infallible, path::Path};

use tiered_cache::{BoxError, Caches, Policy, TieredCache, WarmOptions, WarmProgress, WarmWatch};

const USERS: u64 = 20_000;

/// One process: its caches, and users that a registered loader brings.
async fn process(manifest: &Path) -> Result<(Caches, TieredCache<u64, String>), BoxError> {
    // With a disk tier the manifest is in its folder; here it has a place of its own.
    let caches = Caches::builder().manifest(manifest).build().await?;
    let users = TieredCache::builder("users")
        .policy(Policy::default())
        .loader(|id: u64, _| async move { Ok::<_, Infallible>(Some(format!("user {id}"))) })
        .hot_keys(1_000)
        .build(&caches)?;
    Ok((caches, users))
}

/// Reads as people do: a few users all the time, most of them hardly ever.
async fn traffic(
    users: &TieredCache<u64, String>,
    reads: u64,
    mut seed: u64,
) -> Result<f64, BoxError> {
    let before = users.stats();
    for _ in 0..reads {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let share = (seed >> 11) as f64 / (1_u64 << 53) as f64;
        // Of 20,000 users, half the reads go to the first 141.
        let id = (USERS as f64).powf(share) as u64;
        users.fetch(&id).await?;
    }
    let after = users.stats();
    Ok((after.memory.hits - before.memory.hits) as f64 / reads as f64 * 100.0)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("hot-keys");

    let (caches, users) = process(&manifest).await?;
    let cold = traffic(&users, 1_000, 1).await?;
    println!("a cold process:  {cold:.0} % of its first 1,000 reads are hits");
    let used = traffic(&users, 50_000, 2).await?;
    println!("                 {used:.0} % of the 50,000 after them");
    // Written each minute as well, for a process that is killed.
    caches.close().await;
    drop((caches, users));

    let (caches, users) = process(&manifest).await?;
    let options = WarmOptions {
        per_second: 50_000,
        watch: WarmWatch::new(|WarmProgress { done, total, .. }| {
            if done * 2 == total {
                println!("                 half of {total} keys are warm");
            }
        }),
        ..WarmOptions::default()
    };
    let report = caches.warm(options).await;
    println!("the next one:    {report}");
    assert!(report.is_complete() && report.warmed > 200);
    let warm = traffic(&users, 1_000, 3).await?;
    println!("                 {warm:.0} % of its first 1,000 reads are hits");
    assert!(warm > cold + 10.0);
    caches.close().await;

    related().await
}

/// A declared relation: who reads a page soon reads the next one.
async fn related() -> Result<(), BoxError> {
    let pages: TieredCache<u32, String> = TieredCache::builder("pages")
        .loader(|page: u32, _| async move { Ok::<_, Infallible>(Some(format!("page {page}"))) })
        .related(|page, _| vec![page + 1])
        .build_in_memory()?;
    for page in 1..=50 {
        pages.fetch(&page).await?;
        // Somebody reads the page; meanwhile the next one is loaded.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let stats = pages.stats();
    println!("\n{stats}");
    println!(
        "  {:.0} % of the pages loaded ahead were read",
        stats.prefetch_ratio() * 100.0
    );
    assert!(stats.prefetch_hits > 25);
    Ok(())
}
