//! The Redis tier against a real server, where `TEST_REDIS_URL` names one.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fred::{
    clients::Client,
    interfaces::{ClientLike, KeysInterface},
    types::{Builder, config::Config},
};
use tiered_cache::{Caches, Lookup, Policy, RedisConfig, RedisStatus, TierKind, TieredCache};

use crate::redis_cable::Cable;

/// One test's own corner of the server.
struct Corner {
    url: String,
    namespace: String,
}

impl Corner {
    #[expect(clippy::print_stderr, reason = "says what did not run")]
    fn take() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("TEST_REDIS_URL") else {
            eprintln!("skipped: TEST_REDIS_URL is not set");
            return None;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        Some(Self {
            url,
            namespace: format!("test-{}-{process}-{count}", now.as_nanos()),
        })
    }

    /// Caches as another process would have them.
    async fn caches(&self) -> Caches {
        self.caches_at(&self.url, 0).await
    }

    async fn caches_at(&self, url: &str, epoch: u64) -> Caches {
        let redis = RedisConfig {
            url: url.to_owned(),
            // Far above what a busy machine needs.
            command_timeout: Duration::from_secs(10),
            connect_grace: Duration::from_secs(10),
            ..RedisConfig::default()
        };
        let builder = Caches::builder()
            .namespace(&self.namespace)
            .epoch(epoch)
            .redis(redis);
        let caches = builder.build().await.expect("the settings are sound");
        assert!(caches.status().redis.is_connected(), "{}", caches.status());
        caches
    }

    async fn raw(&self) -> Client {
        let config = Config::from_url(&self.url).expect("the same URL works above");
        let client = Builder::from_config(config).build().expect("sound");
        client.init().await.expect("the server is there");
        client
    }

    fn key(&self, key: &str) -> String {
        format!("{}:0:texts:{key}", self.namespace)
    }
}

fn texts(caches: &Caches) -> TieredCache<String, String> {
    caches
        .cache("texts", Policy::default())
        .expect("the policy is sound")
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(30), wait).await;
    result.unwrap_or_else(|_| panic!("not within 30 s: {what}"));
}

#[tokio::test]
async fn a_value_kept_by_one_process_is_found_by_another_and_promoted() {
    let Some(corner) = Corner::take() else { return };
    let (one, two) = (corner.caches().await, corner.caches().await);
    let key = "key".to_owned();
    texts(&one).insert(&key, "value".to_owned()).await;
    let cache = texts(&two);
    let found = cache.get(&key).await;
    assert_eq!(found.tier(), Some(TierKind::Redis));
    assert_eq!(found.value().map(|value| value.as_str()), Some("value"));
    assert_eq!(cache.get(&key).await.tier(), Some(TierKind::Memory));
}

#[tokio::test]
async fn many_keys_are_found_together_and_only_the_rest_is_loaded() {
    let Some(corner) = Corner::take() else { return };
    let (one, two) = (corner.caches().await, corner.caches().await);
    let keys: Vec<String> = (0..100).map(|key| format!("key {key}")).collect();
    let load = |missing: Vec<String>| async move {
        let values = missing.into_iter().map(|key| (key.clone(), key));
        Ok::<_, Infallible>(values)
    };
    let mine = texts(&one);
    let loaded = mine.get_or_load_many(&keys[..90], load).await;
    assert_eq!(loaded.expect("it loads").len(), 90);
    let raw = corner.raw().await;
    let names: Vec<String> = keys.iter().map(|key| corner.key(key)).collect();
    eventually("the values are in Redis", async || {
        let there: i64 = raw
            .exists(names.clone())
            .await
            .expect("the server is there");
        there == 90
    })
    .await;
    mine.remove_many(&keys[..10]).await;
    let theirs = texts(&two);
    eventually("the removals are known", async || {
        theirs.get(&keys[9]).await == Lookup::Miss
    })
    .await;
    let found = theirs.get_many(&keys).await;
    let tiers: Vec<_> = found.iter().filter_map(Lookup::tier).collect();
    assert_eq!(tiers, [TierKind::Redis; 80]);
    let rest = move |missing: Vec<String>| async move {
        assert_eq!(missing.len(), 20);
        load(missing).await
    };
    let all = theirs
        .get_or_load_many(&keys, rest)
        .await
        .expect("it loads");
    let values = all
        .iter()
        .map(|found| found.value().map(|value| value.as_str()));
    assert!(values.eq(keys.iter().map(|key| Some(key.as_str()))));
}

#[tokio::test]
async fn a_loaded_value_is_kept_with_the_ttl_of_the_policy() {
    let Some(corner) = Corner::take() else { return };
    let (caches, raw) = (corner.caches().await, corner.raw().await);
    let load = || async { Ok::<_, Infallible>(Some("loaded ".repeat(1_000))) };
    texts(&caches)
        .get_or_load(&"key".to_owned(), load)
        .await
        .expect("it loads");
    // The answer does not wait for Redis, so the write may come a little later.
    eventually("the value is in Redis", async || {
        raw.exists::<i64, _>(corner.key("key"))
            .await
            .expect("the server is there")
            == 1
    })
    .await;
    let ttl: i64 = raw
        .pttl(corner.key("key"))
        .await
        .expect("the server is there");
    assert!(
        (3_000_000..=3_600_000).contains(&ttl),
        "PTTL {ttl} for a policy of 1 hour"
    );
    let size: usize = raw
        .strlen(corner.key("key"))
        .await
        .expect("the server is there");
    assert!(
        size < 1_000,
        "{size} bytes for 7,000 that repeat themselves"
    );
}

#[tokio::test]
async fn a_removal_and_an_insertion_reach_redis_before_they_return() {
    let Some(corner) = Corner::take() else { return };
    let (one, two) = (corner.caches().await, corner.caches().await);
    let (mine, theirs) = (texts(&one), texts(&two));
    for key in ["a", "b"].map(str::to_owned) {
        mine.insert(&key, "old".to_owned()).await;
    }
    mine.remove(&"a".to_owned()).await;
    mine.insert(&"b".to_owned(), "new".to_owned()).await;
    assert!(matches!(theirs.get(&"a".to_owned()).await, Lookup::Miss));
    let found = theirs.get(&"b".to_owned()).await;
    assert_eq!(found.value().map(|value| value.as_str()), Some("new"));
    assert_eq!(one.status().redis, connected(&one));
}

/// Connected with nothing pending; the variant cannot be built here.
fn connected(caches: &Caches) -> RedisStatus {
    let status = caches.status().redis;
    assert!(
        matches!(
            status,
            RedisStatus::Connected {
                pending_removals: 0,
                ..
            }
        ),
        "{status}"
    );
    status
}

#[tokio::test]
async fn clear_hides_one_caches_keys_and_leaves_the_others() {
    let Some(corner) = Corner::take() else { return };
    let (one, two) = (corner.caches().await, corner.caches().await);
    let (cache, theirs) = (texts(&one), texts(&two));
    let numbers = |caches: &Caches| -> TieredCache<u32, u32> {
        caches.cache("numbers", Policy::default()).expect("sound")
    };
    let (other, others) = (numbers(&one), numbers(&two));
    for key in 0..1_200 {
        cache.insert(&key.to_string(), "value".to_owned()).await;
    }
    other.insert(&1, 1).await;
    cache.clear().await;
    for key in 0..1_200 {
        assert!(matches!(cache.get(&key.to_string()).await, Lookup::Miss));
    }
    assert!(other.get(&1).await.is_hit());
    eventually("the other process knows", async || {
        matches!(theirs.get(&"0".to_owned()).await, Lookup::Miss)
    })
    .await;
    for key in 0..1_200 {
        assert!(matches!(theirs.get(&key.to_string()).await, Lookup::Miss));
    }
    assert!(others.get(&1).await.is_hit());
    connected(&one);
}

#[tokio::test]
async fn entries_of_another_epoch_are_misses() {
    let Some(corner) = Corner::take() else { return };
    let (old, new) = (
        corner.caches().await,
        corner.caches_at(&corner.url, 1).await,
    );
    texts(&old)
        .insert(&"key".to_owned(), "value".to_owned())
        .await;
    assert!(matches!(
        texts(&new).get(&"key".to_owned()).await,
        Lookup::Miss
    ));
}

#[tokio::test]
async fn foreign_truncated_and_differently_typed_bytes_are_misses() {
    let Some(corner) = Corner::take() else { return };
    let (one, two, raw) = (
        corner.caches().await,
        corner.caches().await,
        corner.raw().await,
    );
    let (writer, reader) = (texts(&one), texts(&two));
    let key = "key".to_owned();
    writer.insert(&key, "value".repeat(100)).await;
    let whole: bytes::Bytes = raw.get(corner.key("key")).await.expect("it was written");
    let mut damages: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    damages.push(b"somebody else's string".to_vec());
    damages.push(vec![0; 200]);
    damages.extend((0..whole.len()).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x21;
        bytes
    }));
    let count = damages.len() as u64;
    for bytes in damages {
        raw.set::<(), _, _>(corner.key("key"), bytes.as_slice(), None, None, false)
            .await
            .expect("the server is there");
        assert!(matches!(reader.get(&key).await, Lookup::Miss));
    }
    assert_eq!(reader.stats().redis.invalid, count);

    let three = corner.caches().await;
    let typed: TieredCache<String, Vec<u8>> =
        three.cache("texts", Policy::default()).expect("sound");
    writer.insert(&key, "value".to_owned()).await;
    assert!(matches!(typed.get(&key).await, Lookup::Miss));
    assert_eq!(typed.stats().redis.invalid, 1);
}

#[tokio::test]
async fn a_removal_without_redis_hides_the_old_value_and_is_made_good_on_reconnect() {
    let Some(corner) = Corner::take() else { return };
    let cable = Cable::to(&corner.url).await;
    let (near, far) = (
        corner.caches_at(&cable.url(), 0).await,
        corner.caches().await,
    );
    let (mine, theirs) = (texts(&near), texts(&far));
    for key in ["a", "b", "c"].map(str::to_owned) {
        // Written by the other process: versions of this one say nothing about it.
        theirs.insert(&key, "old".to_owned()).await;
    }
    drop((far, theirs));
    cable.cut();
    eventually("the loss is noticed", async || {
        !near.status().redis.is_connected()
    })
    .await;

    mine.remove(&"a".to_owned()).await;
    mine.insert(&"b".to_owned(), "new".to_owned()).await;
    let away = near.status().redis;
    assert!(
        matches!(
            away,
            RedisStatus::Disconnected {
                pending_removals: 2,
                ..
            }
        ),
        "{away}"
    );
    assert!(matches!(mine.get(&"a".to_owned()).await, Lookup::Miss));
    let b = mine.get(&"b".to_owned()).await;
    assert_eq!(b.value().map(|value| value.as_str()), Some("new"));

    cable.mend();
    eventually("the removals are made good", async || {
        let settled = matches!(
            near.status().redis,
            RedisStatus::Connected {
                pending_removals: 0,
                ..
            }
        );
        // All the while, and first of all in the moment between reconnect and deletion:
        assert!(matches!(mine.get(&"a".to_owned()).await, Lookup::Miss));
        settled
    })
    .await;
    let third = corner.caches().await;
    let third = texts(&third);
    assert!(matches!(third.get(&"a".to_owned()).await, Lookup::Miss));
    assert!(
        matches!(third.get(&"b".to_owned()).await, Lookup::Miss),
        "the old one is gone"
    );
    assert!(third.get(&"c".to_owned()).await.is_hit());
}

#[tokio::test]
async fn more_removals_than_can_be_remembered_clear_the_cache_in_redis() {
    let Some(corner) = Corner::take() else { return };
    let cable = Cable::to(&corner.url).await;
    let redis = RedisConfig {
        url: cable.url(),
        connect_grace: Duration::from_secs(10),
        pending_removals_max: 4,
        ..RedisConfig::default()
    };
    let builder = Caches::builder().namespace(&corner.namespace).redis(redis);
    let near = builder.build().await.expect("the settings are sound");
    let far = corner.caches().await;
    let (mine, theirs) = (texts(&near), texts(&far));
    for key in 0..10 {
        mine.insert(&key.to_string(), "old".to_owned()).await;
    }
    cable.cut();
    eventually("the loss is noticed", async || {
        !near.status().redis.is_connected()
    })
    .await;
    for key in 0..9 {
        mine.remove(&key.to_string()).await;
    }
    cable.mend();
    eventually("the removals are made good", async || {
        matches!(
            near.status().redis,
            RedisStatus::Connected {
                pending_removals: 0,
                ..
            }
        )
    })
    .await;
    for key in 0..9 {
        eventually("the other process knows", async || {
            matches!(theirs.get(&key.to_string()).await, Lookup::Miss)
        })
        .await;
    }
}

/// Goal: with Redis below, no interleaving brings an older value back. Method: as for memory alone,
/// with a memory tier of one entry, so that Redis answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_after_a_removal_sees_an_older_value() {
    use std::sync::atomic::AtomicU64;
    let Some(corner) = Corner::take() else { return };
    let caches = corner.caches().await;
    let policy = Policy {
        capacity: tiered_cache::Capacity::Entries(1),
        ..Policy::default()
    };
    let cache: TieredCache<u32, u64> = caches.cache("race", policy).expect("sound");
    let truth = Arc::new(AtomicU64::new(0));
    let load = |truth: &Arc<AtomicU64>| {
        let truth = Arc::clone(truth);
        move || async move {
            let value = truth.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Some(value))
        }
    };
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (cache, truth) = (cache.clone(), Arc::clone(&truth));
            tokio::spawn(async move {
                for round in 0..400 {
                    // Other keys push the contested one out of memory.
                    cache
                        .get_or_load(&(reader * 1_000 + round), load(&truth))
                        .await
                        .expect("loads");
                    cache
                        .get_or_load(&1_000_000, load(&truth))
                        .await
                        .expect("loads");
                }
            })
        })
        .collect();
    for version in 1..=400 {
        truth.store(version, Ordering::SeqCst);
        cache.remove(&1_000_000).await;
        let lookup = cache
            .get_or_load(&1_000_000, load(&truth))
            .await
            .expect("it loads");
        let seen = lookup
            .value()
            .map(|value| **value)
            .expect("the loader always has one");
        assert!(
            seen >= version,
            "read {seen} after the removal of {version}"
        );
    }
    for reader in readers {
        reader.await.expect("no panic");
    }
    // Whether it had anything is a matter of timing.
    let redis = cache.stats().redis;
    assert!(redis.hits + redis.misses > 0, "asked: {:?}", cache.stats());
}
