//! A cache in memory: a time to live, one load for a thousand callers, and what the counts say.
//!
//! Run it with `cargo run -p tiered-cache --example 01_memory`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tiered_cache::{BoxError, Lookup, Policy, TierKind, TieredCache};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How often the database was asked.
static QUERIES: AtomicU32 = AtomicU32::new(0);

/// Stands for a database: it takes 20 ms and knows the users up to 99.
async fn find_user(id: u64) -> Result<Option<String>, io::Error> {
    QUERIES.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(20)).await;
    Ok((id < 100).then(|| format!("user {id}")))
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let policy = Policy {
        ttl: Duration::from_secs(600),
        negative_ttl: Duration::from_secs(30),
        ..Policy::default()
    };
    let users: TieredCache<u64, String> = TieredCache::memory("users", policy)?;

    // The first caller loads, the second finds.
    let begun = Instant::now();
    let first = users.get_or_load(&7, || find_user(7)).await?;
    println!("first read:   {first:?} in {:.1?}", begun.elapsed());
    assert!(matches!(first, Lookup::Loaded { .. }));
    let begun = Instant::now();
    let second = users.get_or_load(&7, || find_user(7)).await?;
    println!("second read:  {second:?} in {:.1?}", begun.elapsed());
    assert_eq!(second.tier(), Some(TierKind::Memory));

    // A hit costs no allocation and no wait. (Add `--release` for a figure that counts.)
    let begun = Instant::now();
    for _ in 0..10_000 {
        users.get(&7).await;
    }
    println!("10,000 more:  {:.1?} each", begun.elapsed() / 10_000);

    // That there is none is an answer too, remembered for `negative_ttl`.
    for _ in 0..2 {
        let nobody = users.get_or_load(&404, || find_user(404)).await?;
        assert_eq!(nobody, Lookup::Absent);
    }
    assert_eq!(QUERIES.load(Ordering::Relaxed), 2);

    // A thousand callers at once: one of them asks the database, the others share its answer.
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let users = users.clone();
        callers.spawn(async move { users.get_or_load(&8, || find_user(8)).await });
    }
    while let Some(answer) = callers.join_next().await {
        assert!(answer??.value().is_some_and(|user| **user == "user 8"));
    }
    println!(
        "1,000 callers at once: answered in {:.1?}, the database was asked once more",
        begun.elapsed()
    );
    assert_eq!(QUERIES.load(Ordering::Relaxed), 3);

    // An entry may have a time to live of its own.
    let brief = Duration::from_millis(50);
    users.entry(&9).ttl(brief).insert("user 9".to_owned()).await;
    assert!(users.get(&9).await.is_hit());
    sleep(brief * 2).await;
    println!(
        "a value of {brief:?}, after twice that: {:?}",
        users.get(&9).await
    );
    assert_eq!(users.get(&9).await, Lookup::Miss);

    // A value that was removed is gone, whatever its time to live.
    users.remove(&7).await;
    assert_eq!(users.get(&7).await, Lookup::Miss);

    let stats = users.stats();
    println!("\n{stats}");
    assert_eq!((stats.loads, stats.loads_empty, stats.removals), (2, 1, 1));
    Ok(())
}
