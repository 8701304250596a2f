//! Redis between two replicas: one loads for both, and what one removes the other serves no more.
//!
//! Run it with `REDIS_URL=redis://127.0.0.1:6379 cargo run -p tiered-cache --features redis --example 05_redis`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{convert::Infallible, env, process, time::Duration};

use tiered_cache::{BoxError, Caches, Effect, Lookup, Policy, RedisConfig, TierKind, TieredCache};
use tokio::time::{Instant, error::Elapsed, sleep, timeout};

type Users = TieredCache<u64, String>;

/// What a process does at its start; here two do so, in one process.
async fn replica(url: &str) -> Result<(Caches, Users), BoxError> {
    let redis = RedisConfig {
        url: url.to_owned(),
        ..RedisConfig::default()
    };
    // Services that share a Redis differ in it; replicas of one service do not.
    let namespace = format!("example-{}", process::id());
    let caches = Caches::builder()
        .namespace(namespace)
        .redis(redis)
        .build()
        .await?;
    let policy = Policy {
        ttl: Duration::from_secs(60),
        ..Policy::default()
    };
    let users = caches.cache("users", policy)?;
    Ok((caches, users))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let Ok(url) = env::var("REDIS_URL") else {
        println!(
            "This example needs a Redis. Start one, which keeps nothing on disk, and name it:"
        );
        println!("    redis-server --port 6390 --save '' --daemonize yes");
        println!("    export REDIS_URL=redis://127.0.0.1:6390");
        return Ok(());
    };
    let ((caches_a, a), (caches_b, b)) = (replica(&url).await?, replica(&url).await?);
    println!("a: {}\nb: {}", caches_a.status(), caches_b.status());
    if !caches_b.status().redis.is_connected() {
        return Err("no Redis answers at REDIS_URL; the caches would go on without it".into());
    }

    // A loads, and its caller does not wait for Redis. A moment later B finds it there, and from then on
    // in its own memory.
    let ada = || async { Ok::<_, Infallible>(Some("Ada".to_owned())) };
    let begun = Instant::now();
    a.entry(&7).tag("team:3").get_or_load(ada).await?;
    println!("A loads user 7 in {:.1?}", begun.elapsed());
    until(&b, |found| found.tier() == Some(TierKind::Redis)).await?;
    println!(
        "B finds it in Redis {:.1?} after that began",
        begun.elapsed()
    );
    let never = || async { Err::<Option<String>, _>("B has no need to load") };
    let begun = Instant::now();
    let found = b.get_or_load(&7, never).await?;
    println!("B reads it again: {found:?} in {:.1?}", begun.elapsed());
    assert_eq!(found.tier(), Some(TierKind::Memory));

    // A writes. B has its own copy, and hears by the log that it is old.
    let begun = Instant::now();
    a.entry(&7)
        .tag("team:3")
        .insert("Ada Lovelace".to_owned())
        .await;
    let wrote = begun.elapsed();
    until(&b, |found| {
        found.value().is_some_and(|user| **user == "Ada Lovelace")
    })
    .await?;
    println!(
        "A writes in {wrote:.1?}; B has the new value {:.1?} after that began",
        begun.elapsed()
    );

    // A removes by a tag; nobody asks Redis which keys that are.
    let begun = Instant::now();
    caches_a.invalidate_tag("team:3", Effect::Remove).await;
    until(&b, |found| *found == Lookup::Miss).await?;
    println!(
        "A removes the tag team:3; B serves nothing of it {:.1?} after that began",
        begun.elapsed()
    );

    println!("\nB's counts\n{}", b.stats());
    caches_a.close().await;
    caches_b.close().await;
    Ok(())
}

/// Reads user 7 until the answer is as wanted; 5 s at most.
async fn until(users: &Users, wanted: impl Fn(&Lookup<String>) -> bool) -> Result<(), Elapsed> {
    timeout(Duration::from_secs(5), async {
        while !wanted(&users.get(&7).await) {
            sleep(Duration::from_micros(100)).await;
        }
    })
    .await
}
