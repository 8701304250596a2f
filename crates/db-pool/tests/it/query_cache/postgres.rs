//! What only PostgreSQL has: partitions, triggers whose functions are read, types of its own, COMMIT of unknown outcome.

use std::sync::Arc;

use db_pool::{PgNotifyBus, Pool, Postgres, QueryCacheConfig};
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::postgres_support::Database;
use crate::support::Count;

async fn run(pool: &Pool<Postgres>, sql: &str) {
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(sql)
        .await
        .unwrap();
}

async fn counted(pool: &Pool<Postgres>, table: &str) -> i64 {
    let sql = format!("SELECT count(*) AS n FROM {table}");
    pool.cached(sql_query(sql))
        .first::<Count>()
        .await
        .unwrap()
        .n
}

/// Whether the next read of `table` is answered from the cache.
async fn is_kept(pool: &Pool<Postgres>, table: &str) -> bool {
    let before = pool.query_cache().stats().hits;
    counted(pool, table).await;
    pool.query_cache().stats().hits > before
}

const SCHEMA: &str = r"
    CREATE TABLE events (day INT NOT NULL) PARTITION BY RANGE (day);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
    CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
    CREATE TABLE authors (id INT PRIMARY KEY);
    CREATE TABLE posts (id INT PRIMARY KEY, author INT REFERENCES authors ON DELETE CASCADE);
    CREATE VIEW written AS SELECT id FROM posts;
    CREATE TABLE stamped (id INT PRIMARY KEY, at TIMESTAMPTZ);
    CREATE TABLE audited (id INT PRIMARY KEY);
    CREATE TABLE audit (id INT);
    CREATE TABLE dynamic (id INT PRIMARY KEY);
    CREATE TABLE apart (id INT PRIMARY KEY);
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.at := now(); RETURN NEW; END $$;
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO audit (id) VALUES (NEW.id); RETURN NEW; END $$;
    CREATE FUNCTION anything() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN EXECUTE 'INSERT INTO audit (id) VALUES (1)'; RETURN NEW; END $$;
    CREATE FUNCTION writing() RETURNS BIGINT LANGUAGE sql AS $$
        INSERT INTO apart VALUES (1); SELECT 1::bigint $$;
    CREATE TRIGGER stamp BEFORE INSERT ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
    CREATE TRIGGER audit AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE TRIGGER anything AFTER INSERT ON dynamic FOR EACH ROW EXECUTE FUNCTION anything();
    INSERT INTO authors VALUES (1), (2);
    INSERT INTO posts VALUES (1, 1), (2, 2);";

#[tokio::test]
async fn partitions_cascades_views_and_triggers_are_followed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    run(&pool, SCHEMA).await;
    for (written, read, sql) in [
        ("events_1", "events", "INSERT INTO events_1 VALUES (1)"),
        ("events", "events_2", "INSERT INTO events VALUES (11)"),
        ("authors", "posts", "DELETE FROM authors WHERE id = 1"),
        ("authors", "written", "DELETE FROM authors WHERE id = 2"),
        ("written", "posts", "INSERT INTO written VALUES (9)"),
        ("audited", "audit", "INSERT INTO audited VALUES (1)"),
        ("dynamic", "audit", "INSERT INTO dynamic VALUES (1)"),
    ] {
        let before = counted(&pool, read).await;
        assert!(is_kept(&pool, read).await, "{read}");
        run(&pool, sql).await;
        assert_ne!(
            counted(&pool, read).await,
            before,
            "writing {written} changes {read}"
        );
    }
    assert!(!is_kept(&pool, "apart").await);
    for sql in [
        "INSERT INTO stamped VALUES (1)",
        "INSERT INTO audited VALUES (2)",
    ] {
        run(&pool, sql).await;
        assert!(is_kept(&pool, "apart").await, "{sql}");
    }
    run(&pool, "INSERT INTO dynamic VALUES (2)").await;
    assert!(
        !is_kept(&pool, "apart").await,
        "a trigger that may write anything"
    );
    assert!(is_kept(&pool, "apart").await);
    run(&pool, "SELECT writing()").await;
    assert_eq!(counted(&pool, "apart").await, 1);
    pool.close().await;
}

#[tokio::test]
async fn what_a_trigger_writes_can_be_declared() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    run(&pool, SCHEMA).await;
    let config = QueryCacheConfig {
        triggers: [("dynamic".to_owned(), vec!["audit".to_owned()])].into(),
        ..QueryCacheConfig::default()
    };
    pool.configure_query_cache(config).unwrap();
    assert_eq!(
        (counted(&pool, "apart").await, counted(&pool, "audit").await),
        (0, 0)
    );
    run(&pool, "INSERT INTO dynamic VALUES (1)").await;
    assert!(is_kept(&pool, "apart").await);
    assert_eq!(counted(&pool, "audit").await, 1);
    pool.close().await;
}

#[tokio::test]
async fn values_are_told_apart_as_the_server_gets_them() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    for value in [1_i64, 256, 1] {
        let query = sql_query("SELECT $1 AS n").bind::<BigInt, _>(value);
        let read: Count = pool.cached(query).first().await.unwrap();
        assert_eq!(read.n, value);
    }
    assert_eq!(pool.query_cache().stats().hits, 1);
    pool.close().await;
}

#[tokio::test]
async fn while_a_returning_write_may_not_be_over_nothing_is_kept() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    run(&pool, SCHEMA).await;
    assert_eq!(counted(&pool, "apart").await, 0);
    let mut connection = pool.acquire().await.unwrap();
    let insert = sql_query("INSERT INTO apart VALUES (1) RETURNING 1::bigint AS n");
    insert.get_result::<Count>(&mut connection).await.unwrap();
    assert_eq!(counted(&pool, "apart").await, 1);
    assert!(!is_kept(&pool, "apart").await, "nobody has answered since");
    sql_query("SELECT 1")
        .execute(&mut connection)
        .await
        .unwrap();
    counted(&pool, "apart").await;
    assert!(is_kept(&pool, "apart").await);
    drop(connection);
    pool.close().await;
}

#[tokio::test]
async fn a_commit_of_its_own_that_is_dropped_is_seen_whatever_became_of_it() {
    use futures_util::FutureExt;

    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    run(&pool, SCHEMA).await;
    for polls in 0..6 {
        while !is_kept(&pool, "apart").await {}
        let mut connection = pool.acquire().await.unwrap();
        let insert = format!("INSERT INTO apart VALUES ({polls})");
        connection.batch_execute("BEGIN").await.unwrap();
        sql_query(insert).execute(&mut connection).await.unwrap();
        let mut commit = Box::pin(connection.batch_execute("COMMIT"));
        let mut ended = false;
        for _ in 0..polls {
            ended = ended || commit.as_mut().now_or_never().is_some();
            tokio::task::yield_now().await;
        }
        drop(commit);
        drop(connection);
        crate::support::eventually("the connection is repaired", || {
            let status = pool.status();
            status.in_use + status.recovering == 0
        })
        .await;
        let raw = database.raw().await;
        let row = raw.query_one("SELECT count(*) FROM apart", &[]).await;
        let truth: i64 = row.unwrap().get(0);
        assert_eq!(counted(&pool, "apart").await, truth, "after {polls} polls");
        while !is_kept(&pool, "apart").await {}
        assert_eq!(counted(&pool, "apart").await, truth, "after {polls} polls");
    }
    pool.close().await;
}

#[tokio::test]
async fn a_transaction_that_wrote_reads_past_the_cache_until_it_ended_either_way() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    run(&pool, SCHEMA).await;
    while !is_kept(&pool, "apart").await {}
    let scope = db_pool::Scope::new();
    for (end, rows) in [("ROLLBACK", 0), ("COMMIT", 1)] {
        let (pool, before) = (&pool, pool.query_cache().stats());
        let reading = async move {
            let mut connection = pool.acquire().await.unwrap();
            connection.batch_execute("BEGIN").await.unwrap();
            assert!(is_kept(pool, "apart").await, "nothing written yet");
            let insert = "INSERT INTO apart VALUES (1)";
            sql_query(insert).execute(&mut connection).await.unwrap();
            for _ in 0..2 {
                assert!(!is_kept(pool, "apart").await, "{end}: written");
            }
            connection.batch_execute(end).await.unwrap();
        };
        scope.run(reading).await;
        let after = pool.query_cache().stats();
        assert_eq!(after.bypasses, before.bypasses + 2);
        assert_eq!(after.entries, before.entries, "nothing of it is kept");
        assert_eq!(scope.run(counted(pool, "apart")).await, rows);
        assert!(scope.run(is_kept(pool, "apart")).await, "after {end}");
    }
    pool.close().await;
}

#[tokio::test]
async fn a_write_of_another_process_arrives_by_notify_and_a_lost_connection_empties_the_cache() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (one, other) = (database.pool(|_| {}).await, database.pool(|_| {}).await);
    run(&one, SCHEMA).await;
    for pool in [&one, &other] {
        let bus = PgNotifyBus::new(pool.config(), "cache \"1\"").unwrap();
        let config = QueryCacheConfig {
            bus: Some(Arc::new(bus)),
            ..QueryCacheConfig::default()
        };
        pool.configure_query_cache(config).unwrap();
    }
    for pool in [&one, &other] {
        while !is_kept(pool, "apart").await {}
    }
    run(&other, "INSERT INTO apart VALUES (1)").await;
    while counted(&one, "apart").await != 1 {
        tokio::task::yield_now().await; // what is kept is read without waiting
    }
    database.terminate_all().await;
    crate::support::eventually("the loss is seen", || {
        one.query_cache().stats().bus_losses > 0
    })
    .await;
    while !is_kept(&one, "apart").await {}
    assert_eq!(counted(&one, "apart").await, 1);
    assert_eq!((one.close().await, other.close().await), (0, 0));
}
