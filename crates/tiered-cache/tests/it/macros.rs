//! `#[cached]`: what it makes of a function, and what it says of one that it cannot take.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tiered_cache::{Lookup, Policy, TieredCache, cached};

#[cached(cache = squares, key = number)]
async fn square(
    squares: &TieredCache<u32, u64>,
    loads: Arc<AtomicU32>,
    number: u32,
) -> Result<Option<u64>, Infallible> {
    loads.fetch_add(1, Ordering::SeqCst);
    Ok(Some(u64::from(number).pow(2)))
}

/// A name is kept for an hour, that there is none for a minute, "guest" not at all, and nothing of 0.
#[cached(
    cache = names,
    key = "user:{id}",
    ttl = "1h",
    negative = "1m",
    tags = ["team:{team}"],
    when = id != 0,
    skip = |name| name == "guest"
)]
async fn name(
    names: &TieredCache<String, String>,
    loads: Arc<AtomicU32>,
    id: u32,
    team: u32,
) -> Option<String> {
    loads.fetch_add(1, Ordering::SeqCst);
    match id {
        0..50 => Some(format!("user {id} of {team}")),
        50..60 => Some("guest".to_owned()),
        _ => None,
    }
}

/// A cache of names, and how often the body ran.
struct Names {
    cache: TieredCache<String, String>,
    loads: Arc<AtomicU32>,
}

impl Names {
    fn new() -> Self {
        let policy = Policy {
            ttl: Duration::from_secs(24 * 3600),
            ..Policy::default()
        };
        Self {
            cache: TieredCache::memory("names", policy).expect("sound"),
            loads: Arc::default(),
        }
    }

    async fn of(&self, id: u32) -> Lookup<String> {
        let loads = Arc::clone(&self.loads);
        name(&self.cache, loads, id, 3).await.expect("it loads")
    }

    fn loads(&self) -> u32 {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_cached_function_runs_its_body_once_per_key() {
    let squares = TieredCache::memory("squares", Policy::default()).expect("sound");
    let loads = Arc::new(AtomicU32::new(0));
    let first = square(&squares, Arc::clone(&loads), 7)
        .await
        .expect("it loads");
    assert!(matches!(first, Lookup::Loaded { value } if *value == 49));
    let second = square(&squares, Arc::clone(&loads), 7)
        .await
        .expect("it is there");
    assert!(matches!(second, Lookup::Hit { value, .. } if *value == 49));
    square(&squares, Arc::clone(&loads), 8)
        .await
        .expect("it loads");
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_invalidating_function_removes_the_same_key() {
    let names = Names::new();
    names.of(7).await;
    assert!(names.of(7).await.is_hit());
    invalidate_name(&names.cache, 7).await;
    assert!(matches!(names.of(7).await, Lookup::Loaded { .. }));
}

#[tokio::test]
async fn the_template_is_the_key_and_the_tags_are_invalidated_with_it() {
    let names = Names::new();
    names.of(7).await;
    let found = names.cache.get(&"user:7".to_owned()).await;
    assert_eq!(found.value().map(|name| name.as_str()), Some("user 7 of 3"));
    let tag = tiered_cache::Tag::new("team:3");
    names
        .cache
        .invalidate_tag(tag, tiered_cache::Effect::Remove)
        .await;
    assert!(matches!(names.of(7).await, Lookup::Loaded { .. }));
}

#[tokio::test]
async fn where_the_condition_does_not_hold_the_body_runs_and_nothing_is_kept() {
    let names = Names::new();
    names.of(0).await;
    let again = names.of(0).await;
    assert!(matches!(again, Lookup::Loaded { .. }));
    assert_eq!(names.loads(), 2);
}

#[tokio::test]
async fn a_value_that_is_skipped_is_returned_and_not_kept() {
    let names = Names::new();
    for _ in 0..2 {
        let guest = names.of(55).await;
        assert_eq!(guest.value().map(|name| name.as_str()), Some("guest"));
    }
    assert_eq!(names.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn values_and_absences_have_times_of_their_own() {
    let names = Names::new();
    names.of(7).await;
    assert_eq!(names.of(99).await, Lookup::Absent);
    assert_eq!(names.of(99).await, Lookup::Absent);
    assert_eq!(names.loads(), 2, "that there is none is remembered");
    tokio::time::advance(Duration::from_secs(120)).await;
    names.of(7).await;
    names.of(99).await;
    assert_eq!(names.loads(), 3, "for a minute, the value for an hour");
    tokio::time::advance(Duration::from_secs(3600)).await;
    names.of(7).await;
    assert_eq!(names.loads(), 4);
}

#[test]
fn mistakes_are_explained_at_the_place_of_the_mistake() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
