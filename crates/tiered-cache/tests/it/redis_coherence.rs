//! Two replicas over servers that restart, hang, pause, lose everything, evict or fail over: what one
//! removes, the other stops serving, and nothing older comes back.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tiered_cache::{
    CacheEvent, Caches, CachesBuilder, Effect, Policy, RedisConfig, Tag, TieredCache,
};

use crate::{
    redis_cable::Cable,
    redis_group::{Cluster, Sentinel, until},
    redis_server::{Reply, Server},
};

/// One process as the others see it, with a source of truth that all share.
struct Replica {
    caches: Caches,
    cache: TieredCache<u64, u64>,
    truth: Arc<AtomicU64>,
}

impl Replica {
    async fn start(url: &str, truth: &Arc<AtomicU64>) -> Self {
        Self::start_with(url, truth, Caches::builder()).await
    }

    async fn start_with(url: &str, truth: &Arc<AtomicU64>, builder: CachesBuilder) -> Self {
        let redis = RedisConfig {
            url: url.to_owned(),
            command_timeout: Duration::from_millis(500),
            connect_grace: Duration::from_secs(10),
            reconnect_delay_max: Duration::from_millis(200),
            log_entries_max: 100,
            ..RedisConfig::default()
        };
        let builder = builder.namespace("coherence").redis(redis);
        let caches = builder.build().await.expect("the settings are sound");
        let cache = caches.cache("numbers", Policy::default()).expect("sound");
        Self {
            caches,
            cache,
            truth: Arc::clone(truth),
        }
    }

    async fn read(&self, key: u64) -> u64 {
        let truth = Arc::clone(&self.truth);
        let load = || async move { Ok::<_, Infallible>(Some(truth.load(Ordering::SeqCst))) };
        let lookup = self.cache.get_or_load(&key, load).await;
        let lookup = lookup.expect("the loader does not fail");
        **lookup.value().expect("the loader always has one")
    }

    /// Waits until a read gives at least `number`; from then on none may give less.
    async fn reaches(&self, key: u64, number: u64) {
        until(&format!("key {key} is at least {number}"), async || {
            self.read(key).await >= number
        })
        .await;
        for _ in 0..5 {
            let seen = self.read(key).await;
            assert!(seen >= number, "read {seen} after {number}");
        }
    }

    /// A change in the source of truth, and the removal that goes with it.
    async fn change(&self, key: u64, number: u64) {
        self.truth.store(number, Ordering::SeqCst);
        self.cache.remove(&key).await;
        let seen = self.read(key).await;
        assert!(seen >= number, "read {seen} after the removal of {number}");
    }

    async fn settled(&self) {
        use tiered_cache::RedisStatus::Connected;
        until("all removals have reached Redis", async || {
            let status = self.caches.status().redis;
            matches!(
                status,
                Connected {
                    pending_removals: 0,
                    ..
                }
            )
        })
        .await;
    }
}

async fn pair(url: &str) -> (Replica, Replica) {
    let truth = Arc::new(AtomicU64::new(1));
    let pair = (
        Replica::start(url, &truth).await,
        Replica::start(url, &truth).await,
    );
    // Both hold it, and both follow the log.
    pair.0.reaches(1, 1).await;
    pair.1.reaches(1, 1).await;
    pair.0.change(1, 2).await;
    pair.1.reaches(1, 2).await;
    pair.1.change(1, 3).await;
    pair.0.reaches(1, 3).await;
    pair
}

/// Each removes something, and the other sees it.
async fn coherent_again(one: &Replica, two: &Replica, from: u64) {
    one.reaches(1, from).await;
    two.reaches(1, from).await;
    one.settled().await;
    two.settled().await;
    one.change(1, from + 1).await;
    two.reaches(1, from + 1).await;
    two.change(1, from + 2).await;
    one.reaches(1, from + 2).await;
}

#[tokio::test]
async fn what_one_replica_removes_the_other_stops_serving() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    coherent_again(&one, &two, 3).await;
}

#[tokio::test]
async fn tags_and_whole_caches_reach_the_other_replica() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    let tagged = async |number: u64| {
        let load = move || async move { Ok::<_, Infallible>(Some(number)) };
        let lookup = two.cache.entry(&7).tag("team").get_or_load(load).await;
        **lookup.expect("it loads").value().expect("a value")
    };
    assert_eq!(tagged(10).await, 10);
    assert_eq!(tagged(11).await, 10, "it is kept");
    let mut events = two.caches.events();
    one.caches.invalidate_tag("team", Effect::Remove).await;
    until("the tag is known", async || tagged(12).await == 12).await;
    one.caches.invalidate_tag("team", Effect::Expire).await;
    until("the expiry is known", async || tagged(13).await == 13).await;
    one.cache.clear().await;
    until("the whole cache is known", async || tagged(14).await == 14).await;
    let mut heard = Vec::new();
    while let Some(event) = events.try_recv() {
        if let CacheEvent::Heard { what, effect } = event {
            heard.push((what.to_string(), effect));
        }
    }
    let tag = format!("{:?}", Tag::new("team"))
        .replace("Tag(", "tag ")
        .replace(')', "");
    let expected = [
        (tag.clone(), Effect::Remove),
        (tag, Effect::Expire),
        ("everything of cache numbers".to_owned(), Effect::Remove),
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_restart_without_data_serves_nothing_older() {
    let Some(mut server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    server.kill();
    one.change(1, 4).await;
    server.restart().await;
    coherent_again(&one, &two, 4).await;
}

#[tokio::test]
async fn a_restart_with_its_data_serves_nothing_older() {
    let persistent = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Server::start(&persistent).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    server.kill();
    one.change(1, 4).await;
    server.restart().await;
    coherent_again(&one, &two, 4).await;
}

/// A snapshot from before a removal comes back: the value is there again, its tombstone is not.
#[tokio::test]
async fn a_restored_snapshot_serves_nothing_older() {
    let Some(mut server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    let saved = server.command(&["SAVE"]).await;
    assert_eq!(saved, Reply::Text("OK".to_owned()));
    one.change(1, 4).await;
    two.reaches(1, 4).await;
    // Without a save of its own, the old snapshot is what it finds.
    server.kill();
    server.restart().await;
    coherent_again(&one, &two, 4).await;
    // And for a process that never saw anything of it.
    let three = Replica::start(&server.url(), &one.truth).await;
    three.reaches(1, 6).await;
    assert_eq!(three.read(1).await, 6);
}

#[tokio::test]
async fn a_server_that_hangs_delays_a_removal_and_does_not_lose_it() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    server.freeze();
    one.change(1, 4).await;
    server.thaw();
    coherent_again(&one, &two, 4).await;
}

#[tokio::test]
async fn a_paused_server_delays_a_removal_and_does_not_lose_it() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    for (number, mode) in [(4, "ALL"), (7, "WRITE")] {
        let paused = server.command(&["CLIENT", "PAUSE", "1500", mode]).await;
        assert_eq!(paused, Reply::Text("OK".to_owned()));
        one.change(1, number).await;
        coherent_again(&one, &two, number).await;
    }
}

#[tokio::test]
async fn after_a_flush_nothing_older_is_served() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    // The removal comes first and is flushed with the log before the other may have read it.
    one.truth.store(4, Ordering::SeqCst);
    one.cache.remove(&1).await;
    let flushed = server.command(&["FLUSHALL"]).await;
    assert_eq!(flushed, Reply::Text("OK".to_owned()));
    coherent_again(&one, &two, 4).await;
}

#[tokio::test]
async fn the_loss_of_any_part_of_the_log_serves_nothing_older() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    let mut number = 4;
    for part in ["log", "floors", "intents"] {
        one.truth.store(number, Ordering::SeqCst);
        one.cache.remove(&1).await;
        let name = format!("{{coherence}}:{part}");
        let lost = server.command(&["DEL", &name]).await;
        assert_eq!(lost, Reply::Number(1), "{part}");
        coherent_again(&one, &two, number).await;
        number += 3;
    }
}

/// Two replicas that have heard of a change, the second by a cable of its own.
async fn coherent_over_a_cable(server: &Server) -> (Cable, Replica, Replica) {
    let cable = Cable::to(&server.url()).await;
    let truth = Arc::new(AtomicU64::new(1));
    let one = Replica::start(&server.url(), &truth).await;
    let two = Replica::start(&cable.url(), &truth).await;
    two.reaches(1, 1).await;
    one.change(1, 2).await;
    two.reaches(1, 2).await;
    (cable, one, two)
}

async fn loses_its_connection(two: &Replica, cable: &Cable) {
    cable.cut();
    until("the loss is noticed", async || {
        !two.caches.status().redis.is_connected()
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_was_away_replays_what_it_missed_and_keeps_the_rest() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (cable, one, two) = coherent_over_a_cable(&server).await;
    assert_eq!(two.read(9).await, 2);
    loses_its_connection(&two, &cable).await;
    one.change(1, 3).await;
    cable.mend();
    two.reaches(1, 3).await;
    let kept = two.cache.peek(&9).map(|value| *value);
    assert_eq!(kept, Some(2), "nobody removed it");
}

#[tokio::test]
async fn a_replica_that_was_away_for_too_long_gives_up_what_it_holds() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (cable, one, two) = coherent_over_a_cable(&server).await;
    loses_its_connection(&two, &cable).await;
    one.change(1, 3).await;
    for key in 1000..1500 {
        one.cache.remove(&key).await;
    }
    cable.mend();
    coherent_again(&one, &two, 3).await;
}

/// 4 KiB that no codec makes smaller.
fn incompressible(seed: u64) -> Vec<u64> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state ^ (state >> 29)
    };
    std::iter::repeat_with(next).take(512).collect()
}

#[tokio::test]
async fn under_eviction_nothing_older_is_served() {
    let evicting = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"];
    let Some(server) = Server::start(&evicting).await else {
        return;
    };
    let (one, two) = pair(&server.url()).await;
    let filler: TieredCache<u64, Vec<u64>> = one
        .caches
        .cache("filler", Policy::default())
        .expect("sound");
    let mut noise = 0_u64;
    for round in 4..24 {
        one.change(1, round).await;
        for _ in 0..60 {
            noise += 1;
            filler.insert(&noise, incompressible(noise)).await;
        }
        two.reaches(1, round).await;
    }
    let stats = server.command(&["INFO", "stats"]).await;
    assert!(
        !stats.text().contains("evicted_keys:0\r"),
        "none was evicted"
    );
}

#[tokio::test]
async fn a_cluster_serves_nothing_older_while_a_node_restarts() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let (one, two) = pair(&cluster.url()).await;
    let of_log = cluster.node_of("{coherence}:log").await;
    let of_key = cluster.node_of("coherence:0:numbers:1").await;
    let mut number = 4;
    for node in [of_log, of_key] {
        cluster.nodes[node].kill();
        one.change(1, number).await;
        cluster.nodes[node].restart().await;
        cluster.settled().await;
        coherent_again(&one, &two, number).await;
        number += 3;
    }
}

#[tokio::test]
async fn a_failover_serves_nothing_older() {
    let Some(mut group) = Sentinel::start().await else {
        return;
    };
    let (one, two) = pair(&group.url()).await;
    group.primary.kill();
    one.change(1, 4).await;
    group.promoted().await;
    coherent_again(&one, &two, 4).await;
}

#[tokio::test]
async fn a_failover_between_living_servers_serves_nothing_older() {
    let Some(group) = Sentinel::start().await else {
        return;
    };
    let (one, two) = pair(&group.url()).await;
    let failover = ["SENTINEL", "FAILOVER", "cache"];
    let begun = group.sentinel.command(&failover).await;
    assert_eq!(begun, Reply::Text("OK".to_owned()));
    one.change(1, 4).await;
    group.promoted().await;
    coherent_again(&one, &two, 4).await;
}

/// Goal: an old value that lies in Redis without its tombstone (a shard that failed over has lost it) is
/// not served by a process that had heard of the removal before it was restarted.
#[cfg(feature = "disk")]
#[tokio::test]
async fn a_tombstone_that_is_lost_brings_nothing_back_after_a_restart() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let on_disk = || {
        Caches::builder().disk(tiered_cache::DiskConfig {
            path: folder.path().into(),
            ..tiered_cache::DiskConfig::default()
        })
    };
    let truth = Arc::new(AtomicU64::new(1));
    let one = Replica::start(&server.url(), &truth).await;
    let two = Replica::start_with(&server.url(), &truth, on_disk()).await;
    one.reaches(1, 1).await;
    two.reaches(1, 1).await;
    let (name, saved) = ("coherence:0:numbers:1", "saved");
    until("the value is in Redis", async || {
        server.command(&["COPY", name, saved]).await == Reply::Number(1)
    })
    .await;
    truth.store(2, Ordering::SeqCst);
    one.cache.remove(&1).await;
    two.reaches(1, 2).await;
    two.caches.close().await;
    drop(two);
    let back = server.command(&["RENAME", saved, name]).await;
    assert_eq!(back, Reply::Text("OK".to_owned()));

    let two = Replica::start_with(&server.url(), &truth, on_disk()).await;
    assert!(two.read(1).await >= 2);
    assert_eq!(two.caches.status().log_gaps, 0, "it is not for a gap");
}
