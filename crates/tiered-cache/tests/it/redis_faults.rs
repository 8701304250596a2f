//! A Redis that is not there, says nothing, or says nonsense: reads go on without it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tiered_cache::{
    BuildError, Caches, ConfigError, Lookup, Policy, RedisConfig, RedisStatus, TieredCache,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::{
    redis_group::until,
    redis_server::{Reply, Server},
};

const GRACE: Duration = Duration::from_millis(100);
/// A bound for one step on a busy machine; without the deadlines it would be seconds more.
const SOON: Duration = Duration::from_secs(2);

fn config(url: String) -> RedisConfig {
    RedisConfig {
        url,
        connect_grace: GRACE,
        command_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_secs(30),
        ..RedisConfig::default()
    }
}

/// A server on a free port, which does with each connection what `serve` says.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection));
        }
    });
    format!("redis://{address}")
}

async fn build(url: String) -> (Caches, TieredCache<u32, u32>) {
    let begun = Instant::now();
    let builder = Caches::builder()
        .namespace("fault-tests")
        .redis(config(url));
    let caches = builder.build().await.expect("an absent server is no error");
    assert!(
        begun.elapsed() < GRACE + SOON,
        "build took {:?}",
        begun.elapsed()
    );
    let cache = caches.cache("numbers", Policy::default()).expect("sound");
    (caches, cache)
}

/// Every operation comes to its end without the server.
async fn works_alone(cache: &TieredCache<u32, u32>) {
    let begun = Instant::now();
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
    let loaded = cache
        .get_or_load(&1, || async { Ok::<_, Infallible>(Some(1)) })
        .await;
    assert!(matches!(loaded, Ok(Lookup::Loaded { .. })));
    assert!(cache.get(&1).await.is_hit());
    cache.insert(&2, 2).await;
    assert!(cache.get(&2).await.is_hit());
    cache.remove(&1).await;
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
    cache.clear().await;
    assert!(matches!(cache.get(&2).await, Lookup::Miss));
    assert!(
        begun.elapsed() < SOON,
        "eight operations took {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_closed_port_is_a_degraded_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let (caches, cache) = build(format!("redis://{address}")).await;
    assert!(matches!(
        caches.status().redis,
        RedisStatus::Disconnected { .. }
    ));
    works_alone(&cache).await;
    assert_eq!(cache.stats().redis.hits + cache.stats().redis.errors, 0);
    assert!(cache.stats().redis.bypassed > 0);
    // It gives the server some time to come back for the removals that it was not told of.
    tokio::time::timeout(Duration::from_secs(30), caches.close())
        .await
        .expect("each of its steps is bounded");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_degraded_start() {
    let url = server(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await;
    let (caches, cache) = build(url).await;
    works_alone(&cache).await;
    assert!(!caches.status().redis.is_connected());
}

#[tokio::test]
async fn a_server_that_answers_garbage_is_a_degraded_start() {
    let url = server(|mut connection| async move {
        let mut buffer = [0; 1024];
        while connection
            .read(&mut buffer)
            .await
            .is_ok_and(|read| read > 0)
        {
            if connection
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .await;
    let (caches, cache) = build(url).await;
    works_alone(&cache).await;
    assert!(!caches.status().redis.is_connected());
}

#[tokio::test]
async fn a_server_that_falls_silent_costs_each_read_its_deadline() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (caches, cache) = connected(server.url()).await;
    until("Redis is asked", async || {
        let _ = cache.get(&1).await;
        cache.stats().redis.misses > 0
    })
    .await;

    server.freeze();
    let begun = Instant::now();
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
    assert!(
        begun.elapsed() < SOON,
        "one read took {:?}",
        begun.elapsed()
    );
    assert_eq!(cache.stats().redis.errors, 1);
    works_alone(&cache).await;
    server.thaw();
    until("the removals reach Redis", async || {
        let status = caches.status().redis;
        matches!(
            status,
            RedisStatus::Connected {
                pending_removals: 0,
                ..
            }
        )
    })
    .await;
}

/// A server that never takes the last removals: close does not wait for it without end.
#[tokio::test]
async fn close_ends_the_tier_however_long_its_last_removals_take() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (caches, cache) = connected(server.url()).await;
    server.freeze();
    cache.remove(&1).await;
    cache.clear().await;
    let limit = tokio::time::timeout(Duration::from_secs(30), caches.close());
    limit.await.expect("each of its steps is bounded");
    assert_eq!(caches.status().redis, RedisStatus::Off);
}

async fn connected(url: String) -> (Caches, TieredCache<u32, u32>) {
    let redis = RedisConfig {
        connect_grace: Duration::from_secs(10),
        ..config(url)
    };
    let builder = Caches::builder().namespace("fault-tests").redis(redis);
    let caches = builder.build().await.expect("the settings are sound");
    assert!(caches.status().redis.is_connected(), "{}", caches.status());
    let cache = caches.cache("numbers", Policy::default()).expect("sound");
    (caches, cache)
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_connection() {
    let ended = Arc::new(tokio::sync::Notify::new());
    let url = {
        let ended = Arc::clone(&ended);
        server(move |mut connection| {
            let ended = Arc::clone(&ended);
            async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = connection.read(&mut buffer).await {
                    let commands = buffer[..read].iter().filter(|byte| **byte == b'*').count();
                    let _ = connection.write_all(&b"$-1\r\n".repeat(commands)).await;
                }
                ended.notify_one();
            }
        })
        .await
    };
    let redis = RedisConfig {
        connect_grace: Duration::from_secs(10),
        ..config(url)
    };
    let builder = Caches::builder().namespace("fault-tests").redis(redis);
    let caches = builder.build().await.expect("the settings are sound");
    assert!(caches.status().redis.is_connected(), "{}", caches.status());
    drop(caches);
    let end = tokio::time::timeout(Duration::from_secs(10), ended.notified()).await;
    end.expect("the server sees the end of the connection");
}

#[tokio::test]
async fn a_url_that_can_never_work_is_refused_without_showing_it() {
    let urls = [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis-sentinel://:secret@127.0.0.1:6379",
        "redis://",
        "redis://:secret@127.0.0.1:99999",
        "redis://:secret@127.0.0.1:6379/not-a-number",
        #[cfg(not(feature = "redis-tls"))]
        "rediss://:secret@127.0.0.1:6379",
    ];
    for url in urls {
        let error = Caches::builder()
            .redis(config(url.to_owned()))
            .build()
            .await
            .expect_err(url);
        assert!(
            matches!(error, BuildError::Config(ConfigError::RedisUrl { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("redis.url"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(!format!("{:?}", config("redis://:secret@host".into())).contains("secret"));
}

#[tokio::test]
async fn a_deadline_of_zero_is_refused() {
    let redis = RedisConfig {
        command_timeout: Duration::ZERO,
        ..RedisConfig::default()
    };
    let error = Caches::builder()
        .redis(redis)
        .build()
        .await
        .expect_err("no command would end");
    assert!(
        error.to_string().contains("redis.command_timeout = 0ns"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_waits_for_no_record_of_the_log_and_leaves_no_connection() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let (caches, cache) = build(server.url()).await;
    // The log is followed by now: it is what an insertion goes through.
    cache.insert(&1, 1).await;
    let begun = Instant::now();
    caches.close().await;
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    until("its connections are gone", async || {
        // That of the question is one.
        let clients = server.command(&["CLIENT", "LIST"]).await;
        matches!(clients, Reply::Text(text) if text.lines().count() == 1)
    })
    .await;
}
