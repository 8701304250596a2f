//! A run against a cache says how often each tier answered, and leaves nothing in any of them.

use std::time::Duration;

use loadgen::cache::{self, CacheConfig, CacheError};
use loadgen::{Arrivals, Load, Measured, Model, Stop};

fn load(model: Model) -> Load {
    Load {
        model,
        duration: Duration::from_millis(700),
        warmup: Duration::from_millis(200),
        threads: 2,
        connections: 8,
        ..Load::default()
    }
}

/// Room in memory for a tenth of the keys.
fn config() -> CacheConfig {
    CacheConfig {
        keys: 2000,
        memory_capacity: 200,
        gets: 1,
        loads: 8,
        inserts: 1,
        ..CacheConfig::default()
    }
}

fn run(config: &CacheConfig, load: &Load) -> Measured {
    let measured = cache::run(config, load, &Stop::new(), &|_| ()).expect("a cache");
    let total = &measured.outcome.total;
    assert!(
        total.succeeded > 0 && total.errors.is_empty(),
        "{:?}",
        total.errors
    );
    measured
}

/// The number before ` %` that follows `tier`.
fn share(measured: &Measured, tier: &str) -> Option<f64> {
    let text = measured.notes.first()?;
    let (_, rest) = text.split_once(&format!("{tier} "))?;
    rest.split_once(" %")?.0.parse().ok()
}

#[test]
fn hot_keys_are_in_memory_and_cold_ones_are_loaded() {
    let measured = run(&config(), &load(Model::Closed { users: 4 }));
    let names: Vec<_> = measured
        .outcome
        .routes
        .iter()
        .map(|route| &*route.name)
        .collect();
    assert_eq!(names, ["get", "get-or-load", "insert"]);
    // The first 200 of 2,000 keys have 72 % of the weight.
    let memory = share(&measured, "memory").expect("a share");
    assert!((50.0..90.0).contains(&memory), "{:?}", measured.notes);
    assert!(
        share(&measured, "loaded").is_some_and(|loaded| loaded > 5.0),
        "{:?}",
        measured.notes
    );
    assert_eq!(share(&measured, "disk"), None);
}

#[test]
fn the_disk_answers_what_memory_has_no_room_for_and_is_left_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = CacheConfig {
        disk: Some(folder.path().to_owned()),
        ..config()
    };
    let measured = run(&config, &load(Model::Closed { users: 4 }));
    assert!(
        share(&measured, "disk").is_some_and(|disk| disk > 0.0),
        "{:?}",
        measured.notes
    );
    assert_eq!(folder.path().read_dir().expect("our folder").count(), 0);
}

#[test]
fn an_open_run_keeps_its_rate_and_its_number_of_requests() {
    let load = Load {
        requests: Some(300),
        duration: Duration::from_secs(3600),
        ..load(Model::Open(Arrivals::Poisson { rate: 1000.0 }))
    };
    let outcome = run(&config(), &load).outcome;
    assert_eq!((outcome.total.ended, outcome.unsent), (300, 0));
    // A third of a second at the rate; ten times that is a machine with other things to do.
    assert!(
        outcome.elapsed >= Duration::from_millis(200),
        "{:?}",
        outcome.elapsed
    );
    assert!(!outcome.interrupted);
}

#[test]
fn what_cannot_work_is_refused() {
    for config in [
        CacheConfig {
            keys: 0,
            ..config()
        },
        CacheConfig {
            skew: f64::NAN,
            ..config()
        },
        CacheConfig {
            gets: 0,
            loads: 0,
            inserts: 0,
            ..config()
        },
    ] {
        let closed = load(Model::Closed { users: 2 });
        let error = cache::run(&config, &closed, &Stop::new(), &|_| ()).expect_err("impossible");
        assert!(matches!(error, CacheError::Load(_)), "{error}");
    }
}

#[test]
fn redis_answers_and_keeps_none_of_our_keys() {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        println!("skipped: TEST_REDIS_URL is not set");
        return;
    };
    let config = CacheConfig {
        redis: Some(url),
        ..config()
    };
    let measured = run(&config, &load(Model::Closed { users: 4 }));
    assert!(
        share(&measured, "redis").is_some_and(|redis| redis > 0.0),
        "{:?}",
        measured.notes
    );
    assert!(
        measured
            .notes
            .iter()
            .any(|note| note.contains("redis connected")),
        "{:?}",
        measured.notes
    );
}
