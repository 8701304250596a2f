//! One loader per key among replicas: the others wait for its value, and for nobody who does not come.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tiered_cache::{Caches, Policy, RedisConfig, TieredCache};
use tokio::sync::Notify;

use crate::redis_server::Server;

async fn replica(server: &Server) -> (Caches, TieredCache<u64, u64>) {
    let redis = RedisConfig {
        url: server.url(),
        command_timeout: Duration::from_secs(5),
        connect_grace: Duration::from_secs(10),
        ..RedisConfig::default()
    };
    let caches = Caches::builder().namespace("lease").redis(redis);
    let caches = caches.build().await.expect("the settings are sound");
    let policy = Policy {
        lease: Some(Duration::from_secs(20)),
        ..Policy::default()
    };
    let cache = caches.cache("leased", policy).expect("sound");
    (caches, cache)
}

#[tokio::test]
async fn replicas_that_miss_together_load_once() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (_one, one) = replica(&server).await;
    let (_two, two) = replica(&server).await;
    let loads = Arc::new(AtomicUsize::new(0));
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = {
        let (loads, began, go) = (Arc::clone(&loads), Arc::clone(&began), Arc::clone(&go));
        let load = move || async move {
            loads.fetch_add(1, SeqCst);
            began.notify_one();
            go.notified().await;
            Ok::<_, Infallible>(Some(7))
        };
        tokio::spawn(async move { one.get_or_load(&1, load).await })
    };
    began.notified().await;
    let second = {
        let loads = Arc::clone(&loads);
        let load = move || async move {
            loads.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(Some(8))
        };
        tokio::spawn(async move { two.get_or_load(&1, load).await })
    };
    tokio::task::yield_now().await;
    go.notify_one();
    for call in [first, second] {
        let lookup = call.await.expect("no panic").expect("it loads");
        assert_eq!(lookup.value().map(|value| **value), Some(7));
    }
    assert_eq!(loads.load(SeqCst), 1);
}

#[tokio::test]
async fn replicas_that_miss_many_together_load_each_key_once() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (_one, one) = replica(&server).await;
    let (_two, two) = replica(&server).await;
    let loaded = Arc::new(Mutex::new(Vec::new()));
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let load = |held: Option<(Arc<Notify>, Arc<Notify>)>| {
        let loaded = Arc::clone(&loaded);
        move |missing: Vec<u64>| async move {
            loaded.lock().expect("no panic").extend(missing.clone());
            if let Some((began, go)) = held {
                began.notify_one();
                go.notified().await;
            }
            Ok::<_, Infallible>(
                missing
                    .into_iter()
                    .map(|key| (key, key))
                    .collect::<Vec<_>>(),
            )
        }
    };
    let first = {
        let load = load(Some((Arc::clone(&began), Arc::clone(&go))));
        tokio::spawn(async move { one.get_or_load_many(&[1, 2, 3], load).await })
    };
    began.notified().await;
    // It waits for keys that the other loads, and for one of them only while it holds none itself.
    let second = {
        let (two, load) = (two.clone(), load(None));
        tokio::spawn(async move { two.get_or_load_many(&[3, 1], load).await })
    };
    let third = two.get_or_load_many(&[2, 4], load(None)).await;
    assert_eq!(third.expect("it loads").len(), 2);
    go.notify_one();
    for call in [first, second] {
        call.await.expect("no panic").expect("it loads");
    }
    let mut loaded = loaded.lock().expect("no panic").clone();
    loaded.sort_unstable();
    assert_eq!(loaded, [1, 2, 2, 3, 4]);
}
