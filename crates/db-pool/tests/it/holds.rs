//! How long connections are held and how much of it they work, by the place that borrowed them; in metrics as well.

use std::time::Duration;

use db_pool::{CallSite, Pool, Sqlite};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::sqlite_support::{INSERT, sqlite, sqlite_with};

fn site(pool: &Pool<Sqlite>, line: u32) -> CallSite {
    let place = format!("tests/it/holds.rs:{line}:");
    let sites = pool.call_sites().into_iter();
    let mut sites = sites.filter(|site| site.at.contains(&place));
    sites.next().unwrap()
}

#[tokio::test]
async fn a_connection_held_across_other_work_shows_as_idle_at_its_place() {
    let (_folder, pool) = sqlite().await;
    // Nothing below waits for a thread, so time passes only where the test sleeps.
    tokio::time::pause();
    let line = line!() + 2;
    for seconds in [1, 2, 3] {
        let connection = pool.acquire().await.unwrap();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        drop(connection);
    }
    let site = site(&pool, line);
    assert_eq!((site.holds, site.statements), (3, 0));
    assert_eq!(site.held, Duration::from_secs(6));
    assert_eq!(site.held_max, Duration::from_secs(3));
    assert_eq!(site.query_share(), Some(0.0));
}

#[tokio::test]
async fn the_time_of_statements_is_part_of_the_hold() {
    let (_folder, pool) = sqlite().await;
    let line = line!() + 1;
    let mut connection = pool.acquire().await.unwrap();
    sql_query(INSERT).execute(&mut connection).await.unwrap();
    let many = connection.with_sync(|c| diesel::RunQueryDsl::execute(sql_query(INSERT), c));
    many.await.unwrap();
    drop(connection);
    let site = site(&pool, line);
    assert_eq!((site.holds, site.statements), (1, 1));
    assert!(
        site.querying > Duration::ZERO && site.querying <= site.held,
        "{site:?}"
    );
    let usage = pool.status().usage;
    assert_eq!(usage.query.count, 2, "that of the set-up and one seen");
    assert!(
        usage
            .query_share()
            .is_some_and(|share| share > 0.0 && share <= 1.0)
    );
}

/// What one flush hands over of a histogram or counter.
fn flushed(snapshotter: &Snapshotter, name: &str) -> Vec<DebugValue> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.filter(|(key, ..)| key.key().name() == name)
        .map(|(.., value)| value)
        .collect()
}

#[tokio::test]
async fn what_was_counted_arrives_once_and_exactly() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (_folder, pool) = sqlite_with(|config| config.name = "counted".into()).await;
    tokio::time::pause();
    pool.status();
    // What the set-up did.
    drop(snapshotter.snapshot());
    for _ in 0..1000 {
        let connection = pool.acquire().await.unwrap();
        tokio::time::advance(Duration::from_millis(3)).await;
        drop(connection);
    }
    let connection = pool.acquire().await.unwrap();
    tokio::time::advance(Duration::from_millis(500)).await;
    drop(connection);
    pool.status();
    let mut held: Vec<f64> = vec![];
    for value in flushed(&snapshotter, "db_pool_hold_seconds") {
        let DebugValue::Histogram(values) = value else {
            panic!("a histogram");
        };
        held.extend(values.iter().map(|value| value.into_inner()));
    }
    held.sort_by(f64::total_cmp);
    assert_eq!(held.len(), 1001);
    assert!(held[..1000].iter().all(|held| (held - 0.003).abs() < 1e-12));
    assert!((held[1000] - 0.5).abs() < 1e-12);
    pool.status();
    let again = flushed(&snapshotter, "db_pool_hold_seconds");
    assert!(matches!(&again[..], [DebugValue::Histogram(none)] if none.is_empty()));
}
