//! What reading a hundred keys at once saves over a hundred reads at once.

use std::time::{Duration, Instant};

use fred::prelude::{Client, ClientLike as _, KeysInterface as _};
use futures_util::future::join_all;
use harness::{Effort, Figures, Suite};
use tiered_cache::TieredCache;

use crate::redis::{KEYS, options, ours, raw, runtime};
use crate::redis_server::RedisServer;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "get-many",
        "100 keys that only Redis has: get_many beside 100 concurrent gets, and fred's MGET",
        many,
    );
}

const MANY: u64 = 100;

fn many(figures: &mut Figures<'_>) {
    let Some(server) = RedisServer::start() else {
        figures.remark("left out: no redis-server is installed");
        return;
    };
    let rounds = match figures.effort() {
        Effort::Smoke => 2,
        Effort::Quick => 300,
        Effort::Normal | Effort::Full => 2_000,
    };
    let url = server.url();
    let mut samples: [Vec<f64>; 3] = Default::default();
    figures.on_all_cores(|| {
        runtime().block_on(async {
            let (caches, ours) = ours(&url).await;
            let fred = raw(&url).await;
            for round in 0..rounds {
                let keys: Vec<u64> = (0..MANY).map(|at| (round * 37 + at) % KEYS).collect();
                samples[0].push(microseconds(|| at_once(&ours, &keys)).await);
                samples[1].push(microseconds(|| one_by_one(&ours, &keys)).await);
                samples[2].push(microseconds(|| mget(&fred, &keys)).await);
            }
            caches.close().await;
        });
    });
    let [many, gets, mget] = samples;
    let ratio: Vec<f64> = many
        .iter()
        .zip(&gets)
        .map(|(many, gets)| many / gets)
        .collect();
    figures.ours("hundred", "us", &many);
    figures.peer("100 concurrent gets", "hundred", "us", &gets);
    figures.peer("fred MGET", "hundred", "us", &mget);
    figures.ours("beside_gets", "x", &ratio);
    figures.goal("beside_gets", "x", 0.5);
}

async fn microseconds<F: Future<Output = usize>>(job: impl FnOnce() -> F) -> f64 {
    let started = Instant::now();
    let found = job().await;
    let took: Duration = started.elapsed();
    assert_eq!(found as u64, MANY);
    took.as_secs_f64() * 1e6
}

async fn at_once(cache: &TieredCache<u64, String>, keys: &[u64]) -> usize {
    let found = cache.get_many(keys).await;
    found.iter().filter(|found| found.is_hit()).count()
}

async fn one_by_one(cache: &TieredCache<u64, String>, keys: &[u64]) -> usize {
    join_all(keys.iter().map(|key| cache.get(key)))
        .await
        .iter()
        .filter(|found| found.is_hit())
        .count()
}

async fn mget(client: &Client, keys: &[u64]) -> usize {
    let names: Vec<String> = keys.iter().map(|key| format!("raw:{key}")).collect();
    let found: Vec<Option<String>> = client
        .with_options(&options())
        .mget(names)
        .await
        .expect("here");
    found.iter().flatten().count()
}
