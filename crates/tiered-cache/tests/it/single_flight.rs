//! Loads: one per key, whoever goes away, and whatever the loader does.

use std::{
    convert::Infallible,
    error::Error,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tiered_cache::{LoadError, Lookup, Policy, TierKind, TieredCache};
use tokio::sync::Notify;

fn cache() -> TieredCache<String, u64> {
    TieredCache::memory("flight-tests", Policy::default()).expect("the policy is sound")
}

fn key() -> String {
    "key".to_owned()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_make_one_load() {
    let (cache, loads) = (cache(), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = move || async move {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    Ok::<_, Infallible>(Some(7))
                };
                cache.get_or_load(&key(), load).await
            })
        })
        .collect();
    for caller in callers {
        let lookup = caller
            .await
            .expect("no caller panics")
            .expect("the load succeeds");
        assert_eq!(lookup.value().map(|value| **value), Some(7));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(cache.stats().coalesced, 9_999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_load_on_many_threads_too() {
    for round in 0..50 {
        let (cache, loads) = (cache(), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..64)
            .map(|_| {
                let (cache, loads) = (cache.clone(), Arc::clone(&loads));
                tokio::spawn(async move {
                    let load = move || async move {
                        loads.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok::<_, Infallible>(Some(round))
                    };
                    cache
                        .get_or_load(&key(), load)
                        .await
                        .expect("the load succeeds");
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no caller panics");
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_load_survives_its_first_caller() {
    let (cache, go) = (cache(), Arc::new(Notify::new()));
    let started = Arc::new(Notify::new());
    let first = {
        let (cache, go, started) = (cache.clone(), Arc::clone(&go), Arc::clone(&started));
        tokio::spawn(async move {
            let load = move || async move {
                started.notify_one();
                go.notified().await;
                Ok::<_, Infallible>(Some(1))
            };
            cache.get_or_load(&key(), load).await
        })
    };
    started.notified().await;
    first.abort();
    assert!(first.await.expect_err("it was aborted").is_cancelled());
    go.notify_one();
    // The second joins the flight of the first: its own loader never runs.
    let lookup = cache
        .get_or_load(&key(), || async { Err::<Option<u64>, _>("not called") })
        .await;
    assert_eq!(
        lookup.expect("the first load goes on").value().map(|v| **v),
        Some(1)
    );
}

#[tokio::test]
async fn a_panic_is_an_error_to_all_waiters_and_the_next_caller_loads_again() {
    let cache = cache();
    async fn explode() -> Result<Option<u64>, Infallible> {
        panic!("a loader's own fault")
    }
    let key = key();
    let (one, two) = tokio::join!(
        cache.get_or_load(&key, explode),
        cache.get_or_load(&key, explode)
    );
    assert!(matches!(one, Err(LoadError::Panicked)));
    assert!(matches!(two, Err(LoadError::Panicked)));
    let again = cache
        .get_or_load(&key, || async { Ok::<_, Infallible>(Some(2)) })
        .await;
    assert!(matches!(again, Ok(Lookup::Loaded { .. })));
}

#[tokio::test]
async fn a_panic_in_the_call_of_the_loader_is_an_error_too() {
    type Never = std::future::Ready<Result<Option<u64>, Infallible>>;
    let call = || -> Never { panic!("before there is a future") };
    assert!(matches!(
        cache().get_or_load(&key(), call).await,
        Err(LoadError::Panicked)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_hangs_ends_at_the_load_timeout_and_frees_the_key() {
    let after = Duration::from_secs(3);
    let policy = Policy {
        load_timeout: after,
        ..Policy::default()
    };
    let cache: TieredCache<String, u64> =
        TieredCache::memory("timeout-tests", policy).expect("the policy is sound");
    let begun = tokio::time::Instant::now();
    let hang = || async { pending::<Result<Option<u64>, Infallible>>().await };
    let error = cache.get_or_load(&key(), hang).await.expect_err("it hangs");
    assert!(error.is_timeout() && matches!(error, LoadError::TimedOut { after: a } if a == after));
    assert_eq!(begun.elapsed(), after);
    let again = cache
        .get_or_load(&key(), || async { Ok::<_, Infallible>(Some(2)) })
        .await;
    assert!(matches!(again, Ok(Lookup::Loaded { .. })));
}

#[tokio::test]
async fn the_loaders_error_reaches_every_waiter_with_its_type() {
    let cache = cache();
    let fail = || async { Err::<Option<u64>, _>(io::Error::other("database away")) };
    let key = key();
    let (one, two) = tokio::join!(cache.get_or_load(&key, fail), cache.get_or_load(&key, fail));
    for error in [one.expect_err("it fails"), two.expect_err("it fails")] {
        let cause = error
            .downcast_ref::<io::Error>()
            .expect("the loader's own type");
        assert_eq!(cause.to_string(), "database away");
        assert_eq!(
            error.to_string(),
            "the loader failed",
            "the cause is the source's to say"
        );
        assert!(error.source().is_some());
    }
    assert_eq!(cache.stats().loads_failed, 1);
}

#[tokio::test]
async fn a_missing_value_is_absent_and_is_asked_for_again() {
    let (cache, loads) = (cache(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..2 {
        let loads = Arc::clone(&loads);
        let load = move || async move {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<Option<u64>, Infallible>(None)
        };
        assert!(matches!(
            cache.get_or_load(&key(), load).await,
            Ok(Lookup::Absent)
        ));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_loaded_value_is_a_hit_for_the_next() {
    let cache = cache();
    let load = || async { Ok::<_, Infallible>(Some(5)) };
    assert!(matches!(
        cache.get_or_load(&key(), load).await,
        Ok(Lookup::Loaded { .. })
    ));
    let next = cache
        .get_or_load(&key(), load)
        .await
        .expect("no load is needed");
    assert_eq!(next.tier(), Some(TierKind::Memory));
}

#[test]
fn a_load_that_dies_with_its_runtime_is_an_error_not_a_hang() {
    let cache = cache();
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let started = Arc::new(Notify::new());
    let first = {
        let (cache, started) = (cache.clone(), Arc::clone(&started));
        other.spawn(async move {
            let hang = move || async move {
                started.notify_one();
                pending::<Result<Option<u64>, Infallible>>().await
            };
            let _ = cache.get_or_load(&key(), hang).await;
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        started.notified().await;
        let waiter = {
            let cache = cache.clone();
            tokio::spawn(async move {
                cache
                    .get_or_load(&key(), || async { Err::<Option<u64>, _>("not called") })
                    .await
            })
        };
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::spawn_blocking(move || drop(other))
            .await
            .expect("it shuts down");
        let error = waiter
            .await
            .expect("no panic")
            .expect_err("its flight is gone");
        assert!(matches!(error, LoadError::Aborted), "{error:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_after_an_answer_is_never_given_that_answer_again() {
    let (cache, loads) = (cache(), Arc::new(AtomicUsize::new(0)));
    for asked in 1..=2_000 {
        let loads = Arc::clone(&loads);
        let nothing = move || async move {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<Option<u64>, Infallible>(None)
        };
        let found = cache.get_or_load(&key(), nothing).await;
        assert!(matches!(found, Ok(Lookup::Absent)), "{found:?}");
        assert_eq!(
            cache.stats().coalesced,
            0,
            "call {asked} was given an older answer"
        );
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2_000);
}
