//! Client-side tracking: what somebody changes in Redis past the log is seen as well.

use std::{convert::Infallible, time::Duration};

use tiered_cache::{BuildError, Caches, Policy, RedisConfig, TierKind, TieredCache};

use crate::{redis_cable::Cable, redis_group::until, redis_server::Server};

fn config(url: String) -> RedisConfig {
    RedisConfig {
        url,
        command_timeout: Duration::from_secs(10),
        connect_grace: Duration::from_secs(10),
        reconnect_delay_max: Duration::from_millis(200),
        tracking: true,
        ..RedisConfig::default()
    }
}

async fn open(url: String) -> (Caches, TieredCache<String, u32>) {
    let builder = Caches::builder().namespace("tracked").redis(config(url));
    let caches = builder.build().await.expect("the settings are sound");
    let cache = caches.cache("numbers", Policy::default()).expect("sound");
    (caches, cache)
}

async fn read(cache: &TieredCache<String, u32>, truth: u32) -> u32 {
    let load = move || async move { Ok::<_, Infallible>(Some(truth)) };
    let lookup = cache.get_or_load(&"a:b".to_owned(), load).await;
    **lookup.expect("it loads").value().expect("a value")
}

const NAME: &str = "tracked:0:numbers:a:b";

/// Waits until the value is in Redis and the news of the start are over: what is read is kept.
async fn kept(cache: &TieredCache<String, u32>, server: &Server, number: u32) {
    until("the value is kept", async || {
        let there = server.command(&["EXISTS", NAME]).await.number() == 1;
        read(cache, number).await;
        there && read(cache, 0).await == number
    })
    .await;
}

#[tokio::test]
async fn a_key_that_somebody_deletes_in_redis_is_asked_for_again() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (_caches, cache) = open(server.url()).await;
    kept(&cache, &server, 1).await;
    for number in 2..6 {
        let deleted = server.command(&["DEL", NAME]).await;
        assert_eq!(deleted.number(), 1);
        until("the deletion is known", async || {
            read(&cache, number).await == number
        })
        .await;
        kept(&cache, &server, number).await;
    }
}

#[tokio::test]
async fn changes_of_other_keys_leave_what_is_held_in_peace() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (_caches, cache) = open(server.url()).await;
    let held = "held".to_owned();
    kept(&cache, &server, 1).await;
    for number in 2..12 {
        let _ = server.command(&["SET", "elsewhere:held", "x"]).await;
        assert_eq!(server.command(&["DEL", NAME]).await.number(), 1);
        // News come in order: when the deletion is known, so is all that was before it.
        until("the deletion is known", async || {
            read(&cache, number).await == number
        })
        .await;
        match number {
            // What begins with tracking is over, so the value is not caught in it.
            2 => cache.insert(&held, 7).await,
            // The news of the insertion itself are over: from here on it stays in memory.
            3 => assert!(cache.get(&held).await.is_hit()),
            _ => {
                let found = cache.get(&held).await;
                assert_eq!(found.tier(), Some(TierKind::Memory), "round {number}");
                assert_eq!(found.value().map(|value| **value), Some(7));
            }
        }
        kept(&cache, &server, number).await;
    }
}

#[tokio::test]
async fn what_changed_while_nobody_listened_counts_as_everything() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let cable = Cable::to(&server.url()).await;
    let (caches, cache) = open(cable.url()).await;
    kept(&cache, &server, 1).await;
    cable.cut();
    until("the loss is noticed", async || {
        !caches.status().redis.is_connected()
    })
    .await;
    assert_eq!(server.command(&["DEL", NAME]).await.number(), 1);
    cable.mend();
    until("it is asked for again", async || read(&cache, 2).await == 2).await;
    // And tracking is on again.
    kept(&cache, &server, 2).await;
    assert_eq!(server.command(&["DEL", NAME]).await.number(), 1);
    until("the deletion is known", async || read(&cache, 3).await == 3).await;
}

#[tokio::test]
async fn tracking_is_refused_for_a_cluster() {
    let redis = config("redis-cluster://127.0.0.1:7000".to_owned());
    let error = Caches::builder().redis(redis).build().await;
    let Err(BuildError::Config(error)) = error else {
        panic!("it cannot work");
    };
    expect_test::expect![[
        "redis.tracking = true cannot work: use false with a Cluster: each of its nodes tells of its own \
         keys alone"
    ]]
    .assert_eq(&error.to_string());
}
