//! A run against a pool has the shape of a run over HTTP, and leaves the database as it was.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use db_pool::{Pool, PoolConfig, Sqlite};
use diesel_async::RunQueryDsl;
use loadgen::db::{self, DbConfig, DbError};
use loadgen::{Arrivals, Invalid, Load, Measured, Model, Stop};

fn load(model: Model) -> Load {
    Load {
        model,
        duration: Duration::from_millis(1500),
        warmup: Duration::from_millis(200),
        threads: 2,
        connections: 8,
        ..Load::default()
    }
}

fn everything(url: String) -> DbConfig {
    DbConfig {
        url,
        rows: 500,
        connections: 4,
        lane_reads: 6,
        reads: 3,
        updates: 1,
    }
}

fn run(config: &DbConfig, load: &Load) -> Measured {
    db::run(config, load, &Stop::new(), &|_| ()).expect("a database")
}

/// Every operation was right, and each came as often as its weight says.
fn check(measured: &Measured) {
    let outcome = &measured.outcome;
    let total = &outcome.total;
    assert!(
        total.succeeded > 0 && total.errors.is_empty(),
        "{:?}",
        total.errors
    );
    assert_eq!(
        (total.ended, total.response.len()),
        (total.succeeded, total.ended)
    );
    assert_eq!(
        outcome
            .seconds
            .iter()
            .map(|second| second.ended)
            .sum::<u64>(),
        total.ended
    );
    let names: Vec<_> = outcome.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["lane-read", "read", "update"]);
    let shares = outcome
        .routes
        .iter()
        .map(|route| route.ended as f64 / total.ended as f64);
    for (share, expected) in shares.zip([0.6, 0.3, 0.1]) {
        // Five standard deviations.
        let tolerance = 5.0 * (expected * (1.0 - expected) / total.ended as f64).sqrt();
        assert!((share - expected).abs() < tolerance, "{share} {expected}");
    }
    let wait = measured.pool_wait.expect("operations ran");
    assert!((0.0..=1.0).contains(&wait), "{wait}");
    assert!(measured.cpu > Duration::ZERO);
    assert_eq!(measured.notes.len(), 1, "{:?}", measured.notes);
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

/// How many a SQLite file that is there has.
fn tables(file: &Path) -> i64 {
    let url = format!("sqlite:{}", file.display());
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(url))
            .await
            .expect("it opens");
        let mut lane = pool.read().await.expect("a reader");
        let query = diesel::sql_query("SELECT count(*) AS n FROM sqlite_master");
        query
            .get_result::<Count>(&mut lane)
            .await
            .expect("a count")
            .n
    })
}

#[test]
fn a_closed_run_over_sqlite_reads_and_writes_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}/new.db", folder.path().display());
    let measured = run(&everything(url), &load(Model::Closed { users: 8 }));
    check(&measured);
    assert!(measured.outcome.generator.send_lag.is_empty() && measured.outcome.unsent == 0);
    assert_eq!(folder.path().read_dir().expect("our folder").count(), 0);
}

#[test]
fn a_file_that_was_there_stays_without_our_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("theirs.db");
    std::fs::write(&file, "").expect("our folder");
    let url = format!("sqlite:{}", file.display());
    let load = Load {
        requests: Some(100),
        duration: Duration::from_secs(60),
        ..load(Model::Closed { users: 2 })
    };
    let measured = run(&everything(url), &load);
    assert_eq!(measured.outcome.total.ended, 100);
    // Not the whole time that was given.
    assert!(measured.outcome.elapsed < load.duration);
    assert_eq!(tables(&file), 0);
}

#[test]
fn an_open_run_keeps_its_rate() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}/new.db", folder.path().display());
    let arrivals = Arrivals::Constant { rate: 200.0 };
    let measured = run(&everything(url), &load(Model::Open(arrivals)));
    let outcome = &measured.outcome;
    // 1.5 s at 200 a second: those that were due in the warm-up do not count, however late they come.
    assert_eq!(outcome.total.ended + outcome.unsent, 300);
    assert_eq!(outcome.generator.send_lag.len(), outcome.total.ended);
    assert!(
        outcome.total.errors.is_empty(),
        "{:?}",
        outcome.total.errors
    );
}

#[test]
fn a_rate_that_the_database_cannot_take_makes_the_run_invalid() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DbConfig {
        lane_reads: 0,
        reads: 0,
        ..everything(format!("sqlite:{}/new.db", folder.path().display()))
    };
    let load = Load {
        duration: Duration::from_millis(500),
        warmup: Duration::ZERO,
        ..load(Model::Open(Arrivals::Constant { rate: 1_000_000.0 }))
    };
    let outcome = run(&config, &load).outcome;
    assert!(outcome.unsent > 0 && outcome.total.ended > 0);
    assert!(outcome.invalid.contains(&Invalid::Unsent {
        requests: outcome.unsent
    }));
    // Their wait counts: by the end of 0.5 s the run is as good as 0.5 s behind, of which half is shown by any machine.
    assert!(
        outcome.total.response.max() > 250_000,
        "{}",
        outcome.total.response.max()
    );
}

#[test]
fn a_stopped_run_reports_what_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = everything(format!("sqlite:{}/new.db", folder.path().display()));
    let load = Load {
        duration: Duration::from_secs(3600),
        ..load(Model::Closed { users: 4 })
    };
    let stop = Stop::new();
    // Ten times a second, of which the first two or three are the warm-up's.
    let calls = AtomicU32::new(0);
    let progress = |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == 8 {
            stop.stop();
        }
    };
    let outcome = db::run(&config, &load, &stop, &progress)
        .expect("a database")
        .outcome;
    assert!(
        outcome.interrupted && outcome.total.ended > 0,
        "{outcome:?}"
    );
    assert!(
        outcome.elapsed < Duration::from_secs(60),
        "{:?}",
        outcome.elapsed
    );
    assert_eq!(folder.path().read_dir().expect("our folder").count(), 0);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_made() {
    let closed = load(Model::Closed { users: 2 });
    let refused = |config: &DbConfig| {
        db::run(config, &closed, &Stop::new(), &|_| ()).expect_err("it cannot work")
    };
    let url = "sqlite:no/such/folder/x.db".to_owned();
    let error = refused(&everything(url.clone()));
    assert!(matches!(error, DbError::Open(_)), "{error}");
    let error = refused(&DbConfig {
        lane_reads: 0,
        reads: 0,
        updates: 0,
        ..everything(url.clone())
    });
    assert!(matches!(error, DbError::Load(_)), "{error}");
    let error = refused(&DbConfig {
        rows: 0,
        ..everything(url)
    });
    assert!(matches!(error, DbError::Load(_)), "{error}");
    let error = refused(&everything("mysql://x/y".to_owned()));
    assert!(matches!(error, DbError::Open(_)), "{error}");
}

#[test]
fn postgres_is_driven_the_same_way() {
    let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
        println!("skipped: TEST_DATABASE_URL is not set");
        return;
    };
    check(&run(&everything(url), &load(Model::Closed { users: 8 })));
}
