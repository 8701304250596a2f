//! Loaders: many keys per query, each load answered as if it were alone, nobody left waiting.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use db_pool::{Loader, LoaderError, LoaderOptions};
use futures_util::future::{join_all, try_join_all};
use proptest::prelude::*;

/// Remembers what it was asked for.
type Asked = Arc<Mutex<Vec<Vec<u32>>>>;

/// Every even key has its double.
fn doubles(options: LoaderOptions) -> (Loader<u32, u64>, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let loader = Loader::new(options, move |keys: Vec<u32>| {
        log.lock().unwrap().push(keys.clone());
        async move {
            tokio::task::yield_now().await;
            let even = keys.into_iter().filter(|key| key % 2 == 0);
            Ok::<_, std::io::Error>(even.map(|key| (key, u64::from(key) * 2)).rev())
        }
    });
    (loader, asked)
}

fn batches(asked: &Asked) -> Vec<Vec<u32>> {
    asked.lock().unwrap().clone()
}

#[tokio::test]
async fn loads_of_one_moment_are_one_query_without_duplicates() {
    let (loader, asked) = doubles(LoaderOptions::default());
    let loads = [4, 3, 4, 8].map(|key| loader.load_one(key));
    let values = try_join_all(loads).await.unwrap();
    assert_eq!(values, [Some(8), None, Some(8), Some(16)]);
    assert_eq!(batches(&asked), [[4, 3, 8]]);
}

#[tokio::test]
async fn tasks_share_a_query_too_and_many_keys_keep_their_order() {
    let (loader, asked) = doubles(LoaderOptions::default());
    let single = (0..100).map(|key| tokio::spawn(loader.load_one(key)));
    let single: Vec<_> = single.collect();
    let many = loader.load_many([6, 5, 2, 6]).await.unwrap();
    assert_eq!(many, [Some(12), None, Some(4), Some(12)]);
    for (key, task) in (0_u32..).zip(single) {
        let value = (key % 2 == 0).then_some(u64::from(key) * 2);
        assert_eq!(task.await.unwrap().unwrap(), value);
    }
    assert!(batches(&asked).len() <= 2, "{:?}", batches(&asked));
    assert_eq!(loader.load_many([]).await.unwrap(), []);
}

#[tokio::test]
async fn batches_are_bounded_in_size_and_in_number() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let options = LoaderOptions {
        batch_max: 10,
        batches_in_flight: 3,
        ..LoaderOptions::default()
    };
    let seen = Arc::clone(&most);
    let loader = Loader::new(options, move |keys: Vec<u32>| {
        assert!(keys.len() <= 10);
        let (running, most) = (Arc::clone(&running), Arc::clone(&seen));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, key)))
        }
    });
    let values = loader.load_many(0..95).await.unwrap();
    assert_eq!(values, (0..95).map(Some).collect::<Vec<_>>());
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn one_error_reaches_all_loads_of_its_batch_and_no_other() {
    let calls = AtomicUsize::new(0);
    let loader = Loader::new(LoaderOptions::default(), move |keys: Vec<u32>| {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                return Err(diesel::result::Error::NotFound);
            }
            Ok(keys.into_iter().map(|key| (key, key)))
        }
    });
    let failed = join_all([1, 2, 3].map(|key| loader.load_one(key))).await;
    for load in failed {
        let error = load.unwrap_err();
        let inner = error.diesel();
        assert_eq!(inner, Some(&diesel::result::Error::NotFound));
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(loader.load_one(1).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_the_loader_goes_on() {
    let loader = Loader::new(LoaderOptions::default(), |keys: Vec<u32>| {
        assert!(!keys.contains(&13), "on purpose, while making the future");
        async move {
            assert!(!keys.contains(&14), "on purpose, while running it");
            Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, key)))
        }
    });
    for unlucky in [13, 14] {
        let loads = join_all([1, unlucky].map(|key| loader.load_one(key))).await;
        assert!(
            loads
                .iter()
                .all(|load| matches!(load, Err(LoaderError::Panicked)))
        );
    }
    assert_eq!(loader.load_one(1).await.unwrap(), Some(1));
}

#[tokio::test]
async fn whoever_goes_away_harms_nobody() {
    let (loader, _) = doubles(LoaderOptions::default());
    for polls in 0..5 {
        let mut gone = Box::pin(loader.load_one(1));
        let mut stays = Box::pin(loader.load_one(2));
        for _ in 0..polls {
            if poll_once(gone.as_mut()).await && poll_once(stays.as_mut()).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop((gone, stays));
        assert_eq!(
            loader.load_one(2).await.unwrap(),
            Some(4),
            "after {polls} polls"
        );
    }
}

/// Polls with the waker of the task; says whether the future is done.
async fn poll_once(mut future: Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

#[test]
fn a_stopped_runtime_fails_those_who_wait_elsewhere() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let begun = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&begun);
    let loader = Loader::<u32, u32>::new(LoaderOptions::default(), move |_| {
        told.notify_one();
        std::future::pending::<Result<Vec<(u32, u32)>, std::io::Error>>()
    });
    let mut load = Box::pin(loader.load_one(1));
    {
        let _entered = runtime.enter();
        assert!(futures_util::FutureExt::now_or_never(load.as_mut()).is_none());
    }
    runtime.block_on(begun.notified());
    runtime.shutdown_timeout(Duration::from_secs(5));
    let stopped = futures_util::FutureExt::now_or_never(load.as_mut());
    assert!(
        matches!(stopped, Some(Err(LoaderError::Stopped))),
        "{stopped:?}"
    );
    let outside = futures_util::FutureExt::now_or_never(loader.load_one(2));
    assert!(
        matches!(outside, Some(Err(LoaderError::Stopped))),
        "{outside:?}"
    );
}

#[tokio::test]
async fn more_keys_than_may_wait_are_turned_away() {
    let options = LoaderOptions {
        waiting_max: 2,
        ..LoaderOptions::default()
    };
    let (loader, _) = doubles(options);
    let mut loads = join_all([2, 4, 6].map(|key| loader.load_one(key))).await;
    let third = loads.remove(2).unwrap_err();
    assert!(matches!(third, LoaderError::Overloaded { waiting: 2 }));
    assert!(third.to_string().contains("waiting_max"), "{third}");
    assert!(loads.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_memo_answers_again_until_it_is_told_to_forget() {
    let (loader, asked) = doubles(LoaderOptions {
        memo: 2,
        ..LoaderOptions::per_request()
    });
    for _ in 0..2 {
        assert_eq!(loader.load_many([2, 3]).await.unwrap(), [Some(4), None]);
    }
    assert_eq!(batches(&asked), [[2, 3]]);
    assert_eq!(loader.load_one(4).await.unwrap(), Some(8));
    assert_eq!(loader.load_one(4).await.unwrap(), Some(8));
    assert_eq!(batches(&asked).len(), 3, "beyond its bound nothing is kept");
    loader.forget();
    assert_eq!(loader.load_one(2).await.unwrap(), Some(4));
    assert_eq!(batches(&asked).len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Tasks load keys with pauses in between, batches take their time, some loads are given up: every load that is
    /// waited for gets what a map would give, and no batch breaks its bound.
    #[test]
    fn every_load_gets_what_a_map_would_give(
        present in proptest::collection::btree_set(0_u32..50, 0..50),
        tasks in proptest::collection::vec(
            proptest::collection::vec((0_u32..50, 0_usize..4, proptest::bool::weighted(0.2)), 0..12),
            1..12,
        ),
        batch_max in 1_usize..8,
        batches_in_flight in 1_usize..4,
        memo in 0_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let options = LoaderOptions { batch_max, batches_in_flight, memo, ..LoaderOptions::default() };
            let rows = Arc::new(present);
            let source = Arc::clone(&rows);
            let loader = Loader::new(options, move |keys: Vec<u32>| {
                let unique: BTreeSet<_> = keys.iter().copied().collect();
                assert!(unique.len() == keys.len() && keys.len() <= batch_max);
                let rows = Arc::clone(&source);
                async move {
                    for _ in 0..keys[0] % 5 {
                        tokio::task::yield_now().await;
                    }
                    let found = keys.into_iter().filter(|key| rows.contains(key));
                    Ok::<_, std::io::Error>(found.map(|key| (key, key + 1)).collect::<Vec<_>>())
                }
            });
            let tasks = tasks.into_iter().map(|steps| {
                let (loader, rows) = (loader.clone(), Arc::clone(&rows));
                tokio::spawn(async move {
                    for (key, pause, gives_up) in steps {
                        for _ in 0..pause {
                            tokio::task::yield_now().await;
                        }
                        let load = loader.load_one(key);
                        if gives_up {
                            let mut load = Box::pin(load);
                            poll_once(load.as_mut()).await;
                            continue;
                        }
                        let expected = rows.contains(&key).then_some(key + 1);
                        assert_eq!(load.await.unwrap(), expected);
                    }
                })
            });
            for task in join_all(tasks.collect::<Vec<_>>()).await {
                task.unwrap();
            }
        });
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_pool_of_sqlite_loads_by_key_through_its_readers() {
    use diesel::prelude::*;
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

    diesel::table! {
        notes (id) {
            id -> Integer,
            text -> Text,
        }
    }

    let (_folder, pool) = crate::sqlite_support::sqlite().await;
    let rows = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT 40000) INSERT INTO notes SELECT id, 'note ' || id FROM n";
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(rows).await.unwrap();
    drop(connection);
    let options = LoaderOptions {
        batch_max: 1_000_000,
        ..LoaderOptions::default()
    };
    let texts = pool.loader_with(
        options,
        async |lane: &mut db_pool::Lane<_>, ids: Vec<i32>| {
            let query = notes::table.filter(notes::id.eq_any(ids));
            query.load::<(i32, String)>(lane).await
        },
    );
    assert_eq!(texts.load_one(7).await.unwrap().as_deref(), Some("note 7"));
    assert_eq!(texts.load_one(40_001).await.unwrap(), None);
    // More than SQLite takes in one statement.
    let all = texts.load_many(1..=40_000).await.unwrap();
    assert!(
        all.iter()
            .zip(1..)
            .all(|(text, id)| *text == Some(format!("note {id}")))
    );
    pool.close().await;
    let closed = texts.load_one(1).await.unwrap_err();
    assert!(crate::support::chain(&closed).contains("the pool is closed"));
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_pool_of_postgres_loads_by_key_with_one_cached_statement() {
    use diesel::prelude::*;
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

    diesel::table! {
        words (id) {
            id -> Integer,
            word -> Text,
        }
    }

    let Some(database) = crate::postgres_support::Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.lanes = 1).await;
    let mut connection = pool.acquire().await.unwrap();
    let rows = "CREATE TABLE words (id int PRIMARY KEY, word text NOT NULL); INSERT INTO words SELECT n, 'word ' || n FROM generate_series(1, 100) n";
    connection.batch_execute(rows).await.unwrap();
    drop(connection);
    let found = pool.loader(async |lane: &mut db_pool::Lane<_>, ids: Vec<i32>| {
        let query = words::table.filter(words::id.eq_any(ids));
        query.load::<(i32, String)>(lane).await
    });
    for many in [1, 3, 50] {
        let loads = (0..many).map(|id| tokio::spawn(found.load_one(id)));
        for (id, load) in (0..).zip(join_all(loads.collect::<Vec<_>>()).await) {
            let word = load.unwrap().unwrap();
            assert_eq!(word, (id > 0).then(|| format!("word {id}")));
        }
    }
    let mut lane = pool.read().await.unwrap();
    let cached = "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '%ANY%words%' OR statement LIKE '%words%ANY%'";
    let cached = diesel::sql_query(cached)
        .get_result::<crate::support::Count>(&mut lane)
        .await;
    // The one that asks has both words as well.
    assert_eq!(cached.map(|row| row.n), Ok(2));
    drop(lane);
    pool.close().await;
}
