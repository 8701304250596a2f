//! `#[cached]`: what it makes of a function, and what it says of one that it cannot take.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tiered_cache::{Lookup, Policy, TieredCache, cached};

#[cached(cache = "squares", key = "number")]
async fn square(
    squares: &TieredCache<u32, u64>,
    loads: Arc<AtomicU32>,
    number: u32,
) -> Result<Option<u64>, Infallible> {
    loads.fetch_add(1, Ordering::SeqCst);
    Ok(Some(u64::from(number).pow(2)))
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

#[test]
fn mistakes_are_explained_at_the_place_of_the_mistake() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/a_method_with_a_composed_key.rs");
    cases.compile_fail("tests/ui/fail/the_key_is_missing.rs");
    cases.compile_fail("tests/ui/fail/the_function_is_not_async.rs");
}
