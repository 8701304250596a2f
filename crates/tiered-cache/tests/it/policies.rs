//! The timelines of docs/guides/caching.md, played on a paused clock: one key, a TTL of 60 s, a source that
//! takes 20 ms.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tiered_cache::{Caches, ErrorAction, LoadError, Loaded, Lookup, Policy, TierKind, TieredCache};
use tokio::time::{Instant, advance, sleep};

use crate::shelf::Shelf;

/// A source that counts: its values are how often it was asked.
#[derive(Debug)]
struct Source {
    asked: AtomicU64,
    takes_ms: AtomicU64,
    down: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("the source is down")]
struct Down;

impl Source {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicU64::new(0),
            takes_ms: AtomicU64::new(20),
            down: AtomicBool::new(false),
        })
    }

    fn asked(&self) -> u64 {
        self.asked.load(SeqCst)
    }

    async fn find(&self) -> Result<Option<u64>, Down> {
        let asked = self.asked.fetch_add(1, SeqCst) + 1;
        sleep(Duration::from_millis(self.takes_ms.load(SeqCst))).await;
        if self.down.load(SeqCst) {
            Err(Down)
        } else {
            Ok(Some(asked))
        }
    }
}

/// A cache, its source, and the time since the source was first asked.
struct Story {
    cache: TieredCache<u32, u64>,
    source: Arc<Source>,
    began: Instant,
}

impl Story {
    fn new(policy: &Policy) -> Self {
        Self::of(TieredCache::memory("policies", minute(policy)).expect("the policy is sound"))
    }

    fn of(cache: TieredCache<u32, u64>) -> Self {
        Self {
            cache,
            source: Source::new(),
            began: Instant::now(),
        }
    }

    /// Moves to that moment of the story.
    async fn at(&self, seconds: f64) {
        let moment = self.began + Duration::from_secs_f64(seconds);
        sleep(moment - Instant::now()).await;
        // Whatever was due by now is done.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn load(&self) -> Result<Lookup<u64>, LoadError> {
        let source = Arc::clone(&self.source);
        self.cache
            .get_or_load(&7, || async move { source.find().await })
            .await
    }

    /// A read in one word: how it was answered, with which value, and how long it took.
    async fn read(&self) -> String {
        let asked = Instant::now();
        let answer = self.load().await;
        if let Ok(found) = &answer
            && let Some(value) = found.value()
        {
            assert_eq!(value.is_stale(), found.is_stale(), "the value says so too");
        }
        let answer = match answer {
            Ok(Lookup::Hit { value, .. }) => format!("hit {value}"),
            Ok(Lookup::Stale { value, .. }) => format!("stale {value}"),
            Ok(Lookup::Loaded { value }) => format!("loaded {value}"),
            Ok(Lookup::Absent) => "absent".to_owned(),
            Ok(_) => "miss".to_owned(),
            Err(error) => format!("error: {error}"),
        };
        match asked.elapsed().as_millis() {
            0 => answer,
            waited => format!("{answer} after {waited} ms"),
        }
    }
}

fn minute(policy: &Policy) -> Policy {
    Policy {
        ttl: seconds(60),
        ttl_jitter: 0.0,
        ..policy.clone()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn time_to_live() {
    let story = Story::new(&Policy::default());
    assert_eq!(story.read().await, "loaded 1 after 20 ms");
    story.at(60.0).await;
    assert_eq!(story.read().await, "hit 1");
    story.at(60.03).await;
    assert_eq!(story.read().await, "loaded 2 after 20 ms");
}

#[tokio::test(start_paused = true)]
async fn sliding_expiry_ends_when_nobody_asks_and_at_its_hard_cap() {
    let story = Story::new(&Policy {
        idle_ttl: Some(seconds(10)),
        ..Policy::default()
    });
    story.read().await;
    for at in [8.0, 16.0] {
        story.at(at).await;
        assert_eq!(story.read().await, "hit 1", "at {at} s");
    }
    story.at(26.1).await;
    assert_eq!(story.read().await, "loaded 2 after 20 ms");
    for at in (0..7).map(|step| 34.0 + 8.0 * f64::from(step)) {
        story.at(at).await;
        assert_eq!(story.read().await, "hit 2", "at {at} s");
    }
    story.at(86.2).await;
    assert_eq!(
        story.read().await,
        "loaded 3 after 20 ms",
        "the TTL is over"
    );
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_answers_at_once_and_loads_once() {
    let story = Story::new(&Policy {
        stale_while_revalidate: seconds(30),
        ..Policy::default()
    });
    story.read().await;
    story.at(59.0).await;
    assert_eq!(story.read().await, "hit 1");
    story.at(70.0).await;
    assert_eq!(story.read().await, "stale 1");
    assert_eq!(story.read().await, "stale 1");
    story.at(70.03).await;
    assert_eq!(story.read().await, "hit 2");
    assert_eq!(story.source.asked(), 2);
    // Nobody asks within the window: it is as if there were none.
    story.at(165.0).await;
    assert_eq!(story.read().await, "loaded 3 after 20 ms");
}

#[tokio::test(start_paused = true)]
async fn a_dead_source_is_asked_once_per_throttle_and_prolongs_nothing() {
    let story = Story::new(&Policy {
        stale_if_error: seconds(600),
        ..Policy::default()
    });
    story.read().await;
    story.source.down.store(true, SeqCst);
    story.at(70.0).await;
    assert_eq!(story.read().await, "stale 1 after 20 ms");
    story.at(75.0).await;
    assert_eq!(story.read().await, "stale 1");
    assert_eq!(story.source.asked(), 2);
    story.at(100.1).await;
    assert_eq!(story.read().await, "stale 1 after 20 ms");
    story.source.down.store(false, SeqCst);
    story.at(131.0).await;
    assert_eq!(story.read().await, "loaded 4 after 20 ms");

    story.source.down.store(true, SeqCst);
    story.at(200.0).await;
    while !story.read().await.starts_with("error") {
        let now = story.began.elapsed();
        assert!(now < seconds(131 + 661), "still served at {now:?}");
        advance(seconds(5)).await;
    }
    let ended = story.began.elapsed();
    assert!(ended > seconds(131 + 655), "it ended at {ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_is_waited_for_no_longer_than_the_soft_timeout() {
    let story = Story::new(&Policy {
        stale_if_error: seconds(600),
        soft_timeout: Some(Duration::from_millis(200)),
        load_timeout: seconds(2),
        ..Policy::default()
    });
    story.read().await;
    story.source.takes_ms.store(500, SeqCst);
    story.at(70.0).await;
    assert_eq!(story.read().await, "stale 1 after 200 ms");
    story.at(70.6).await;
    assert_eq!(story.read().await, "hit 2", "the load went on");

    story.source.takes_ms.store(3_600_000, SeqCst);
    story.at(140.0).await;
    assert_eq!(story.read().await, "stale 2 after 200 ms");
    story.at(141.0).await;
    assert_eq!(
        story.read().await,
        "stale 2 after 200 ms",
        "it joins the load"
    );
    assert_eq!(story.source.asked(), 3);
    story.at(142.1).await;
    assert_eq!(
        story.read().await,
        "stale 2",
        "the load was dropped; the source rests"
    );
    story.source.takes_ms.store(20, SeqCst);
    story.at(173.0).await;
    assert_eq!(story.read().await, "loaded 4 after 20 ms");
}

#[tokio::test(start_paused = true)]
async fn without_an_old_value_only_the_hard_timeout_counts() {
    let story = Story::new(&Policy {
        stale_if_error: seconds(600),
        soft_timeout: Some(Duration::from_millis(200)),
        load_timeout: seconds(2),
        ..Policy::default()
    });
    story.source.takes_ms.store(3_600_000, SeqCst);
    let error = "error: the loader took longer than 2s after 2000 ms";
    assert_eq!(story.read().await, error);
    story.source.takes_ms.store(20, SeqCst);
    assert_eq!(
        story.read().await,
        "loaded 2 after 20 ms",
        "the key is free"
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_ahead_keeps_what_is_read_from_ever_expiring() {
    let story = Story::new(&Policy {
        refresh_ahead: Some(0.8),
        ..Policy::default()
    });
    story.read().await;
    story.at(47.0).await;
    assert_eq!(story.read().await, "hit 1");
    assert_eq!(story.source.asked(), 1);
    story.at(49.0).await;
    assert_eq!(story.read().await, "hit 1");
    story.at(49.1).await;
    assert_eq!(story.read().await, "hit 2");
    story.at(109.0).await;
    assert_eq!(story.read().await, "hit 2");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_the_value_fresh_and_the_source_in_peace() {
    let story = Story::new(&Policy {
        refresh_ahead: Some(0.5),
        error_throttle: seconds(10),
        ..Policy::default()
    });
    story.read().await;
    story.source.down.store(true, SeqCst);
    for at in [31.0, 32.0, 36.0, 40.0] {
        story.at(at).await;
        assert_eq!(story.read().await, "hit 1", "at {at} s");
    }
    assert_eq!(story.source.asked(), 2);
    story.at(42.0).await;
    assert_eq!(story.read().await, "hit 1");
    story.at(43.0).await;
    assert_eq!(story.source.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn early_refresh_is_certain_at_the_very_end_and_never_far_from_it() {
    let story = Story::new(&Policy {
        early_refresh: Some(1.0),
        ..Policy::default()
    });
    story.source.takes_ms.store(1_000, SeqCst);
    story.read().await;
    // Forty times the load's cost before its end, no draw starts one.
    for _ in 0..200 {
        assert_eq!(story.read().await, "hit 1");
    }
    story.at(20.0).await;
    assert_eq!(story.source.asked(), 1);
    // A hundred reads a second for the last ten: all of them missing their chance is less likely than
    // exp(-100).
    story.at(51.0).await;
    for _ in 0..990 {
        assert!(story.read().await.starts_with("hit"));
        advance(Duration::from_millis(10)).await;
    }
    assert!(story.source.asked() >= 2);
}

#[tokio::test(start_paused = true)]
async fn absence_is_remembered_for_its_own_time() {
    let policy = Policy {
        negative_ttl: seconds(30),
        stale_if_error: seconds(600),
        ..Policy::default()
    };
    let story = Story::new(&policy);
    let asked = AtomicU64::new(0);
    let none = async || {
        asked.fetch_add(1, SeqCst);
        let none = || async { Ok::<Option<u64>, Down>(None) };
        story.cache.get_or_load(&7, none).await.expect("no error")
    };
    assert_eq!(none().await, Lookup::Absent);
    story.at(10.0).await;
    assert_eq!(story.read().await, "absent");
    assert_eq!(story.cache.get(&7).await, Lookup::Absent);
    assert_eq!(story.source.asked(), 0);
    story.at(30.1).await;
    assert_eq!(story.read().await, "loaded 1 after 20 ms");
    // An insertion ends it early.
    story.cache.remove(&7).await;
    assert_eq!(none().await, Lookup::Absent);
    story.cache.insert(&7, 70).await;
    assert_eq!(story.read().await, "hit 70");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_modified_begins_anew_with_its_validator() {
    let story = Story::new(&Policy {
        stale_if_error: seconds(600),
        ..Policy::default()
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let load = async || {
        let seen = Arc::clone(&seen);
        story
            .cache
            .entry(&7)
            .get_or_load_with(|cx| async move {
                let answer = match &cx.stale {
                    Some(_) => Loaded::not_modified(),
                    None => Loaded::value(1).validator("v1"),
                };
                seen.lock().expect("not poisoned").push(cx.validator);
                Ok::<_, Down>(answer)
            })
            .await
            .expect("no error")
    };
    let first = load().await;
    assert!(matches!(first, Lookup::Loaded { .. }));
    for (at, rounds) in [(70.0, 2), (140.0, 3)] {
        story.at(at).await;
        let again = load().await;
        assert_eq!(again.value().map(|value| **value), Some(1));
        assert_eq!(seen.lock().expect("not poisoned").len(), rounds);
        story.at(at + 59.0).await;
        assert_eq!(story.read().await, "hit 1", "fresh again after {at} s");
    }
    let validators = seen.lock().expect("not poisoned").clone();
    let v1 = || Some("v1".to_owned());
    assert_eq!(validators, [None, v1(), v1()]);
}

#[derive(Debug, thiserror::Error)]
#[error("not for you")]
struct Forbidden;

#[tokio::test(start_paused = true)]
async fn an_error_that_no_old_value_may_hide_ends_the_revalidation() {
    let policy = Policy {
        stale_while_revalidate: seconds(600),
        ..Policy::default()
    };
    let cache = TieredCache::builder("policies")
        .policy(minute(&policy))
        .on_error(|error| match error.downcast_ref::<Forbidden>() {
            Some(_) => ErrorAction::fail(),
            None => ErrorAction::serve_stale(),
        })
        .build_in_memory()
        .expect("the policy is sound");
    let story = Story::of(cache);
    story.read().await;
    story.at(70.0).await;
    let forbidden = || async { Err::<Option<u64>, _>(Forbidden) };
    let answer = story.cache.get_or_load(&7, forbidden).await;
    assert!(answer.expect("nobody knows yet").is_stale());
    story.at(70.1).await;
    assert!(story.cache.get_or_load(&7, forbidden).await.is_err());
    // An outage is another thing.
    story.source.down.store(true, SeqCst);
    assert_eq!(story.read().await, "stale 1 after 20 ms");
}

#[tokio::test(start_paused = true)]
async fn errors_are_treated_by_their_class() {
    let policy = Policy {
        stale_if_error: seconds(600),
        error_ttl: seconds(5),
        ..Policy::default()
    };
    let cache = TieredCache::builder("policies")
        .policy(minute(&policy))
        .on_error(|error| {
            if error.downcast_ref::<Forbidden>().is_some() {
                ErrorAction::fail().ask_again_after(seconds(10))
            } else {
                ErrorAction::serve_stale()
            }
        })
        .build_in_memory()
        .expect("the policy is sound");
    let story = Story::of(cache);
    story.read().await;
    story.at(70.0).await;
    let forbidden = || async { Err::<Option<u64>, _>(Forbidden) };
    let refused = story.cache.get_or_load(&7, forbidden).await;
    assert!(refused.is_err(), "no old value hides it");
    story.at(75.0).await;
    assert_eq!(story.read().await, "error: the loader failed", "remembered");
    assert_eq!(story.source.asked(), 1);
    story.source.down.store(true, SeqCst);
    story.at(81.0).await;
    assert_eq!(story.read().await, "stale 1 after 20 ms", "another class");
    // Without an old value the error is remembered for the policy's time.
    story.cache.remove(&7).await;
    assert_eq!(story.read().await, "error: the loader failed after 20 ms");
    story.source.down.store(false, SeqCst);
    assert_eq!(story.read().await, "error: the loader failed");
    story.at(87.0).await;
    assert_eq!(story.read().await, "loaded 4 after 20 ms");
}

#[tokio::test(start_paused = true)]
async fn the_copy_in_memory_has_a_time_of_its_own() {
    let shelf = Shelf::new(TierKind::Other);
    let caches = Caches::builder()
        .tier(Arc::clone(&shelf) as _)
        .build()
        .await
        .expect("it can be built");
    let policy = minute(&Policy {
        memory_ttl: Some(seconds(10)),
        stale_if_error: seconds(600),
        ..Policy::default()
    });
    let story = Story::of(
        caches
            .cache("policies", policy)
            .expect("the policy is sound"),
    );
    story.read().await;
    story.at(9.0).await;
    assert_eq!(story.read().await, "hit 1");
    let reads = shelf.reads();
    story.at(12.0).await;
    let again = story.load().await.expect("no error");
    assert_eq!(again.tier(), Some(TierKind::Other), "memory's copy is over");
    assert_eq!(shelf.reads(), reads + 1);
    story.at(20.0).await;
    assert_eq!(story.read().await, "hit 1");
    assert_eq!((shelf.reads(), story.source.asked()), (reads + 1, 1));
    // Neither the tier nor the source answers: the copy stands in.
    shelf.fail(true);
    story.source.down.store(true, SeqCst);
    story.at(25.0).await;
    assert_eq!(story.read().await, "stale 1 after 20 ms");
}
