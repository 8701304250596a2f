//! Several keys in one call: one question to each tier, one run of the loader, and single flight for each key.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use tiered_cache::{BoxError, Caches, LoadError, Loaded, Lookup, Policy, TierKind, TieredCache};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::shelf::Shelf;

type Asked = Arc<Mutex<Vec<Vec<u32>>>>;
type Pairs = Vec<(u32, String)>;

fn cache(policy: Policy) -> TieredCache<u32, String> {
    TieredCache::memory("many", policy).expect("the policy is sound")
}

async fn over(shelf: &Arc<Shelf>, name: &str) -> TieredCache<u32, String> {
    let caches = Caches::builder()
        .tier(Arc::clone(shelf) as _)
        .build()
        .await
        .expect("it can be built");
    let policy = Policy::default();
    caches.cache(name, policy).expect("the policy is sound")
}

fn text(key: u32) -> String {
    format!("value {key}")
}

/// A loader that knows all keys below 100 and notes what it was asked for.
fn loader(
    asked: &Asked,
) -> impl FnOnce(Vec<u32>) -> Ready<Result<Pairs, BoxError>> + Send + 'static {
    let asked = Arc::clone(asked);
    move |keys| {
        let known = keys.iter().filter(|key| **key < 100);
        let values = known.map(|key| (*key, text(*key))).collect();
        asked.lock().expect("not poisoned").push(keys);
        ready(Ok(values))
    }
}

fn texts(answers: &[Lookup<String>]) -> Vec<&str> {
    let texts = answers.iter().map(|answer| match answer.value() {
        Some(value) => value.as_str(),
        None => "-",
    });
    texts.collect()
}

fn asked_for(asked: &Asked) -> Vec<Vec<u32>> {
    std::mem::take(&mut *asked.lock().expect("not poisoned"))
}

#[tokio::test(start_paused = true)]
async fn the_loader_gets_what_is_missing_once_and_each_key_once() {
    let cache = cache(Policy::default());
    let asked = Asked::default();
    cache.insert(&2, text(2)).await;
    let keys = [3, 1, 2, 1, 300];
    let answers = cache
        .get_or_load_many(&keys, loader(&asked))
        .await
        .expect("no error");
    assert_eq!(
        texts(&answers),
        ["value 3", "value 1", "value 2", "value 1", "-"]
    );
    assert_eq!(answers[4], Lookup::Absent, "the loader did not answer it");
    assert!(answers[2].is_hit());
    assert_eq!(asked_for(&asked), [vec![3, 1, 300]]);
    // All of it is kept, but for what there is not.
    let again = cache.get_many(&keys).await;
    assert_eq!(again.iter().filter(|answer| answer.is_hit()).count(), 4);
    assert_eq!(again[4], Lookup::Miss);
    assert_eq!(cache.stats().coalesced, 0);
}

#[tokio::test(start_paused = true)]
async fn no_keys_and_no_missing_keys_ask_nobody() {
    let cache = cache(Policy::default());
    let asked = Asked::default();
    let none = cache.get_or_load_many(&[], loader(&asked)).await;
    assert_eq!(none.expect("no error").len(), 0);
    assert_eq!(cache.get_many(&[]).await, []);
    cache.insert(&1, text(1)).await;
    let all = cache.get_or_load_many(&[1, 1], loader(&asked)).await;
    assert_eq!(texts(&all.expect("no error")), ["value 1", "value 1"]);
    assert_eq!(asked_for(&asked).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_load_of_many_and_loads_of_one_join_each_other() {
    let cache = cache(Policy::default());
    let gate = Arc::new(Semaphore::new(0));
    let asked = Asked::default();
    let single = tokio::spawn({
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        async move {
            let load = || async move {
                let _ = gate.acquire().await;
                Ok::<_, BoxError>(Some("by one".to_owned()))
            };
            cache.get_or_load(&1, load).await
        }
    });
    sleep(Duration::from_millis(1)).await;
    let many = tokio::spawn({
        let (cache, gate, asked) = (cache.clone(), Arc::clone(&gate), Arc::clone(&asked));
        async move {
            let load = |keys: Vec<u32>| async move {
                asked.lock().expect("not poisoned").push(keys.clone());
                let _ = gate.acquire().await;
                Ok::<_, BoxError>(keys.into_iter().map(|key| (key, "by many".to_owned())))
            };
            cache.get_or_load_many(&[1, 2, 3], load).await
        }
    });
    sleep(Duration::from_millis(1)).await;
    // And one more, who joins the load of many.
    let late = tokio::spawn({
        let cache = cache.clone();
        async move {
            let load = || async { Ok::<_, BoxError>(Some("by a third".to_owned())) };
            cache.get_or_load(&3, load).await
        }
    });
    sleep(Duration::from_millis(1)).await;
    gate.add_permits(10);
    let single = single.await.expect("no panic").expect("no error");
    let many = many.await.expect("no panic").expect("no error");
    let late = late.await.expect("no panic").expect("no error");
    assert_eq!(texts(&[single]), ["by one"]);
    assert_eq!(texts(&many), ["by one", "by many", "by many"]);
    assert_eq!(texts(&[late]), ["by many"]);
    assert_eq!(asked_for(&asked), [vec![2, 3]]);
    assert_eq!(cache.stats().coalesced, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_loads_of_many_load_each_key_once() {
    let cache = cache(Policy::default());
    let asked = Asked::default();
    let callers = (0..200_u32).map(|caller| {
        let (cache, asked) = (cache.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            // A stride that is prime to 50: each caller meets the others in an order of its own.
            let stride = [1, 3, 7, 9, 11][caller as usize % 5];
            let keys: Vec<u32> = (0..20).map(|at| (caller + at * stride) % 50).collect();
            let load = move |keys: Vec<u32>| async move {
                asked.lock().expect("not poisoned").push(keys.clone());
                tokio::task::yield_now().await;
                Ok::<_, BoxError>(keys.into_iter().map(|key| (key, text(key))))
            };
            let answers = cache.get_or_load_many(&keys, load).await.expect("no error");
            let expected: Vec<String> = keys.into_iter().map(text).collect();
            assert_eq!(texts(&answers), expected);
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no panic");
    }
    let mut loaded = asked_for(&asked).concat();
    loaded.sort_unstable();
    assert_eq!(loaded, (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn after_an_invalidation_no_load_begun_before_is_joined() {
    let cache = cache(Policy::default());
    let gate = Arc::new(Semaphore::new(0));
    let early = tokio::spawn({
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        async move {
            let load = |keys: Vec<u32>| async move {
                let _ = gate.acquire().await;
                Ok::<_, BoxError>(keys.into_iter().map(|key| (key, "old".to_owned())))
            };
            cache.get_or_load_many(&[1, 2], load).await
        }
    });
    sleep(Duration::from_millis(1)).await;
    cache.remove(&1).await;
    let load = |keys: Vec<u32>| async move {
        Ok::<_, BoxError>(keys.into_iter().map(|key| (key, "new".to_owned())))
    };
    let late = cache
        .get_or_load_many(&[1, 2], load)
        .await
        .expect("no error");
    assert_eq!(texts(&late), ["new", "new"]);
    gate.add_permits(1);
    let early = early.await.expect("no panic").expect("no error");
    assert_eq!(texts(&early), ["old", "old"], "they asked before");
    assert_eq!(
        texts(&cache.get_many(&[1]).await),
        ["new"],
        "and leave nothing behind"
    );
}

#[tokio::test(start_paused = true)]
async fn the_load_goes_on_when_its_caller_leaves() {
    let cache = cache(Policy::default());
    let load = |keys: Vec<u32>| async move {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, BoxError>(keys.into_iter().map(|key| (key, text(key))))
    };
    let left = tokio::time::timeout(
        Duration::from_millis(10),
        cache.get_or_load_many(&[1, 2], load),
    );
    assert!(left.await.is_err());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        texts(&cache.get_many(&[1, 2]).await),
        ["value 1", "value 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_goes_to_all_that_are_missing_and_frees_them() {
    let cache = cache(Policy::default());
    cache.insert(&1, text(1)).await;
    let fails = |_: Vec<u32>| async { Err::<Pairs, BoxError>("no".into()) };
    let failed = cache.get_or_load_many(&[1, 2, 3], fails).await;
    assert!(matches!(failed, Err(LoadError::Failed(_))));
    let panics = |keys: Vec<u32>| async move {
        assert_eq!(keys.len(), 0, "the loader's own panic");
        Ok::<Pairs, BoxError>(Vec::new())
    };
    let panicked = cache.get_or_load_many(&[2, 3], panics).await;
    assert!(matches!(panicked, Err(LoadError::Panicked)));
    let asked = Asked::default();
    let loaded = cache.get_or_load_many(&[1, 2, 3], loader(&asked)).await;
    assert_eq!(
        texts(&loaded.expect("no error")),
        ["value 1", "value 2", "value 3"]
    );
    assert_eq!(asked_for(&asked), [vec![2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_hangs_ends_with_its_time() {
    let cache = cache(Policy {
        load_timeout: Duration::from_secs(2),
        ..Policy::default()
    });
    let began = Instant::now();
    let hangs = |_: Vec<u32>| std::future::pending::<Result<Pairs, BoxError>>();
    let error = cache.get_or_load_many(&[1, 2], hangs).await;
    assert!(error.expect_err("it hangs").is_timeout());
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn old_values_stand_in_for_a_loader_that_fails() {
    let cache = cache(Policy {
        ttl: Duration::from_secs(60),
        stale_if_error: Duration::from_secs(600),
        ..Policy::default()
    });
    let asked = Asked::default();
    let loaded = cache.get_or_load_many(&[1, 2], loader(&asked)).await;
    assert!(loaded.is_ok());
    sleep(Duration::from_secs(61)).await;
    let fails = |_: Vec<u32>| async { Err::<Pairs, BoxError>("no".into()) };
    let answers = cache
        .get_or_load_many(&[2, 1], fails)
        .await
        .expect("both stand in");
    assert_eq!(texts(&answers), ["value 2", "value 1"]);
    assert!(answers.iter().all(Lookup::is_stale));
    assert!(
        cache.get_or_load_many(&[1, 3], fails).await.is_err(),
        "3 has none"
    );
    // The source rests: it is asked only for what nothing stands in for.
    asked_for(&asked);
    let rests = cache.get_or_load_many(&[1, 2, 3], loader(&asked)).await;
    assert_eq!(
        texts(&rests.expect("no error")),
        ["value 1", "value 2", "value 3"]
    );
    assert_eq!(asked_for(&asked), [vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_answered_at_once_and_goes_along() {
    let cache = cache(Policy {
        ttl: Duration::from_secs(60),
        ttl_jitter: 0.0,
        refresh_ahead: Some(0.5),
        stale_while_revalidate: Duration::from_secs(30),
        ..Policy::default()
    });
    let asked = Asked::default();
    cache.insert(&1, "stale".to_owned()).await;
    sleep(Duration::from_secs(30)).await;
    cache.insert(&2, "due".to_owned()).await;
    sleep(Duration::from_secs(31)).await;
    let answers = cache.get_or_load_many(&[1, 2, 3], loader(&asked)).await;
    let answers = answers.expect("no error");
    assert_eq!(texts(&answers), ["stale", "due", "value 3"]);
    assert!(answers[0].is_stale() && answers[1].is_hit());
    assert_eq!(asked_for(&asked), [vec![1, 2, 3]]);
    sleep(Duration::from_millis(1)).await;
    let fresh = cache.get_many(&[1, 2, 3]).await;
    assert_eq!(texts(&fresh), ["value 1", "value 2", "value 3"]);
    assert!(fresh.iter().all(Lookup::is_hit));
}

#[tokio::test(start_paused = true)]
async fn a_loader_of_many_may_say_more_of_each_entry() {
    let cache = cache(Policy {
        ttl: Duration::from_secs(60),
        stale_if_error: Duration::from_secs(600),
        ..Policy::default()
    });
    let load = |missing: Vec<tiered_cache::LoadContext<u32, String>>| async move {
        let answers = missing.into_iter().map(|context| {
            let loaded = match (context.key, context.validator.as_deref()) {
                (1, Some("v1")) => Loaded::not_modified(),
                (1, _) => Loaded::value("one".to_owned()).validator("v1"),
                (2, _) => Loaded::value("two".to_owned()).ttl(Duration::from_secs(5)),
                _ => Loaded::absent().ttl(Duration::from_secs(5)),
            };
            (context.key, loaded)
        });
        Ok::<_, BoxError>(answers.collect::<Vec<_>>())
    };
    for _ in 0..2 {
        let answers = cache.get_or_load_many_with(&[1, 2, 3], load).await;
        assert_eq!(texts(&answers.expect("no error")), ["one", "two", "-"]);
        assert_eq!(cache.get(&3).await, Lookup::Absent);
        sleep(Duration::from_secs(61)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_tier_is_asked_once_and_in_slices() {
    let shelf = Shelf::new(TierKind::Other);
    let asked = Asked::default();
    let keys: Vec<u32> = (0..90).collect();
    let first = over(&shelf, "many").await;
    let loaded = first.get_or_load_many(&keys, loader(&asked)).await;
    assert!(loaded.is_ok());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shelf.calls(), [90]);

    let keys: Vec<u32> = (0..1_200).collect();
    let found = first.get_many(&keys).await;
    assert_eq!(found.iter().filter(|answer| answer.is_hit()).count(), 90);
    assert_eq!(shelf.calls(), [512, 512, 1_200 - 90 - 1_024]);

    first.remove_many(&keys[..10]).await;
    first.expire_many(&keys[10..20]).await;
    let left = first.get_many(&keys[..30]).await;
    assert_eq!(left.iter().filter(|answer| answer.is_hit()).count(), 10);
    shelf.fail(true);
    let without = first.get_or_load_many(&keys[..30], loader(&asked)).await;
    assert_eq!(without.expect("a tier never fails a read").len(), 30);
    assert_eq!(
        asked_for(&asked),
        [(0..90).collect::<Vec<_>>(), (0..20).collect()]
    );
}
