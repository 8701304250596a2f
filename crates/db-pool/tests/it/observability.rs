//! Metrics arrive at a recorder under the documented names.

use std::collections::BTreeSet;

use diesel::sql_query;
use diesel_async::RunQueryDsl;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::sqlite_support::{INSERT, sqlite_with};

#[test]
fn a_recorder_installed_before_the_pool_sees_every_series() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pool = metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (folder, pool) = sqlite_with(|c| c.name = "orders".into()).await;
            let mut connection = pool.acquire().await.unwrap();
            sql_query(INSERT).execute(&mut connection).await.unwrap();
            // Hands over what is otherwise handed over once a second.
            pool.status();
            (folder, pool, connection)
        })
    });
    let seen = snapshotter.snapshot().into_vec();
    let names: BTreeSet<_> = seen
        .iter()
        .map(|(key, ..)| key.key().name().to_owned())
        // These have tests of their own.
        .filter(|name| {
            !["query_cache_", "transaction", "lane"]
                .iter()
                .any(|it| name["db_pool_".len()..].starts_with(it))
        })
        .collect();
    let expected = [
        "db_pool_abandoned_total",
        "db_pool_acquire_cancelled_total",
        "db_pool_acquire_seconds",
        "db_pool_closed_total",
        "db_pool_connect_failures_total",
        "db_pool_connect_seconds",
        "db_pool_connections",
        "db_pool_created_total",
        "db_pool_duplicate_queries_total",
        "db_pool_hold_seconds",
        "db_pool_leaks_total",
        "db_pool_max_connections",
        "db_pool_n_plus_one_total",
        "db_pool_query_seconds",
        "db_pool_retries_total",
        "db_pool_slow_acquires_total",
        "db_pool_slow_queries_total",
        "db_pool_statement_errors_total",
        "db_pool_timeouts_total",
        "db_pool_validate_seconds",
        "db_pool_waiters",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    let value = |name: &str, label: &str| {
        let labelled =
            |key: &metrics::Key| key.name() == name && key.labels().any(|one| one.value() == label);
        seen.iter()
            .find(|(key, ..)| labelled(key.key()))
            .map(|(.., value)| value)
    };
    assert_eq!(
        value("db_pool_connections", "in_use"),
        Some(&DebugValue::Gauge(1.0.into()))
    );
    assert_eq!(
        value("db_pool_connections", "idle"),
        Some(&DebugValue::Gauge(0.0.into()))
    );
    assert!(
        matches!(value("db_pool_acquire_seconds", "orders"), Some(DebugValue::Histogram(all)) if all.len() == 2)
    );
    drop(pool);
}
