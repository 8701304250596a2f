//! What a hit in the Redis tier costs with many tasks, beside the raw clients with the same options.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::prelude::{Builder, Client, ClientLike as _, Config, KeysInterface as _, Options};
use harness::{Effort, Figures, Suite};
use tiered_cache::{Caches, RedisConfig, TierKind, TierSet, TieredCache};

use crate::data::{policy, value};
use crate::redis_server::RedisServer;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "redis-hit",
        "get of keys that only Redis has, 64 tasks over one connection, 256 bytes: microseconds a get (time of all by \
         their number)",
        hit,
    );
}

pub(crate) const KEYS: u64 = 1_000;
const TASKS: u64 = 64;

fn hit(figures: &mut Figures<'_>) {
    let Some(server) = RedisServer::start() else {
        figures.remark("left out: no redis-server is installed");
        return;
    };
    let (rounds, gets) = match figures.effort() {
        Effort::Smoke => (1, 10),
        Effort::Quick => (5, 500),
        Effort::Normal | Effort::Full => (21, 1_000),
    };
    let url = server.url();
    let mut samples: [Vec<f64>; 3] = Default::default();
    figures.on_all_cores(|| {
        let runtime = runtime();
        runtime.block_on(async {
            let (caches, ours) = ours(&url).await;
            let fred = raw(&url).await;
            let redis_rs = redis_rs(&url).await;
            for _ in 0..rounds {
                let (ours, fred, redis_rs) = (ours.clone(), fred.clone(), redis_rs.clone());
                samples[0].push(tasks(gets, move |key| get(ours.clone(), key)).await);
                samples[1].push(tasks(gets, move |key| raw_get(fred.clone(), key)).await);
                samples[2].push(tasks(gets, move |key| redis_rs_get(redis_rs.clone(), key)).await);
            }
            caches.close().await;
        });
    });
    figures.ours("get", "us", &samples[0]);
    figures.peer("fred", "get", "us", &samples[1]);
    figures.peer("redis-rs", "get", "us", &samples[2]);
    let ratio: Vec<f64> = samples[0]
        .iter()
        .zip(&samples[1])
        .map(|(ours, raw)| ours / raw)
        .collect();
    figures.ours("beside_fred", "x", &ratio);
    // 0.9 of its rate.
    figures.goal("beside_fred", "x", 1.0 / 0.9);
}

/// Microseconds for each call, of `TASKS` tasks that make `calls` each.
async fn tasks<F: Future<Output = ()> + Send + 'static>(
    calls: u64,
    call: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let call = call.clone();
            tokio::spawn(async move {
                for at in 0..calls {
                    call((task * 97 + at * 31) % KEYS).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    started.elapsed().as_secs_f64() * 1e6 / (TASKS * calls) as f64
}

async fn get(cache: TieredCache<u64, String>, key: u64) {
    let found = cache.get(&key).await;
    assert_eq!(found.tier(), Some(TierKind::Redis));
}

async fn raw_get(client: Client, key: u64) {
    let found: Option<String> = client
        .with_options(&options())
        .get(format!("raw:{key}"))
        .await
        .expect("here");
    assert!(found.is_some());
}

async fn redis_rs_get(mut connection: redis::aio::MultiplexedConnection, key: u64) {
    let found: Option<String> = redis::AsyncCommands::get(&mut connection, format!("raw:{key}"))
        .await
        .expect("here");
    assert!(found.is_some());
}

pub(crate) async fn ours(url: &str) -> (Caches, TieredCache<u64, String>) {
    let config = RedisConfig {
        url: url.to_owned(),
        connect_grace: Duration::from_secs(5),
        command_timeout: Duration::from_secs(5),
        ..RedisConfig::default()
    };
    let caches = Caches::builder()
        .namespace("bench")
        .redis(config)
        .build()
        .await
        .expect("a server");
    // So that each read goes to Redis.
    let cache = TieredCache::builder("values")
        .policy(policy(10_000))
        .tiers(TierSet::ALL.without(TierKind::Memory))
        .build(&caches)
        .expect("a policy");
    for key in 0..KEYS {
        cache.insert(&key, value(key)).await;
    }
    (caches, cache)
}

/// As our client is set up: one connection, one attempt, a deadline.
pub(crate) async fn raw(url: &str) -> Client {
    let config = Config::from_url(url).expect("a URL");
    let client = Builder::from_config(config)
        .with_connection_config(|connection| connection.tcp.nodelay = Some(true))
        .build()
        .expect("a client");
    client.init().await.expect("a server");
    for key in 0..KEYS {
        let _: () = client
            .set(format!("raw:{key}"), value(key), None, None, false)
            .await
            .expect("here");
    }
    client
}

pub(crate) fn options() -> Options {
    Options {
        timeout: Some(Duration::from_secs(5)),
        fail_fast: true,
        max_attempts: Some(1),
        ..Options::default()
    }
}

async fn redis_rs(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("a server")
}

pub(crate) fn runtime() -> Arc<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    Arc::new(runtime)
}
