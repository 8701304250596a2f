//! A primary and its replicas: who serves which read, what a failover costs, and what is refused.

use std::io::Write;
use std::time::Duration;

use db_pool::{
    AcquireError, OpenError, Replicas, ReplicasConfig, Scope, Server, ServerRole,
    TransactionOptions,
};
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, timeout};

use crate::cluster::{self, Node, Stop};
use crate::proxy::Proxy;
use crate::support::Count;
use crate::tally::{repeat, stop};

/// Everything by default, but asked often.
fn config<'a>(urls: impl IntoIterator<Item = &'a String>) -> ReplicasConfig {
    let mut config = ReplicasConfig::new(urls.into_iter().map(|url| Server::from(&**url)));
    config.pool.max_size = 6;
    config.pool.min_idle = 0;
    config.probe_interval = Duration::from_millis(50);
    config.ban_least = Duration::from_millis(50);
    config
}

async fn connect(config: ReplicasConfig) -> Replicas {
    Replicas::connect(config).await.unwrap()
}

/// The server that served, and how many rows it saw.
async fn count(db: &Replicas) -> (String, i64) {
    let mut lane = db.read().await.unwrap();
    let query = sql_query("SELECT count(*) AS n FROM t");
    let n = query.get_result::<Count>(&mut lane).await.unwrap().n;
    (lane.server().to_owned(), n)
}

async fn insert(db: &Replicas) {
    let mut connection = db.acquire().await.unwrap();
    connection
        .batch_execute("INSERT INTO t VALUES (1)")
        .await
        .unwrap();
}

/// Tries until it is done; a statement may be given up with its server.
async fn insert_again(db: &Replicas) {
    let limit = Duration::from_millis(500);
    while !matches!(timeout(limit, write_once(db.clone())).await, Ok(Ok(true))) {}
}

async fn create(db: &Replicas) {
    let mut connection = db.acquire().await.unwrap();
    connection
        .batch_execute("CREATE TABLE t (id int)")
        .await
        .unwrap();
}

fn role(db: &Replicas, node: &Node) -> ServerRole {
    let status = db.status();
    let mut servers = status.servers.iter();
    let server = servers.find(|one| one.server == node.server());
    server.unwrap().role
}

/// Waits until the answers of the servers show it.
async fn until(db: &Replicas, what: &str, done: impl Fn(&Replicas) -> bool) {
    cluster::until(what, || done(db)).await;
}

#[tokio::test]
async fn a_request_sees_its_own_writes_and_others_see_the_replica() {
    let Some(primary) = Node::primary().await else {
        return;
    };
    let replica = primary.replica("replica").await;
    let urls = [replica.url(), primary.url()];
    let db = connect(config(&urls)).await;
    let status = db.status();
    assert_eq!(status.primary, Some(primary.server()), "{status}");
    assert_eq!(role(&db, &replica), ServerRole::Replica);
    create(&db).await;
    let wait = Duration::from_secs(5);
    let mut waiting = config(&urls);
    waiting.wait_for_write = Some(wait);
    let waiting = connect(waiting).await;

    // Replay runs: a request that may wait reads its write from the replica.
    let scope = Scope::new();
    let seen = scope.run(async {
        insert(&waiting).await;
        count(&waiting).await
    });
    assert_eq!(seen.await, (replica.server(), 1));
    assert!(scope.written().is_some());

    replica.pause_replay(true).await;
    let scope = Scope::new();
    scope.run(insert(&db)).await;
    assert_eq!(scope.run(count(&db)).await, (primary.server(), 2));
    assert_eq!(
        count(&db).await,
        (replica.server(), 1),
        "of another request"
    );
    // The client brings the token of its last request.
    let written = scope.run(db.written()).await.unwrap().unwrap();
    assert_eq!(scope.written(), Some(written));
    let token = written.to_string();
    let next = Scope::new();
    next.wrote(token.parse().unwrap());
    assert_eq!(next.run(count(&db)).await, (primary.server(), 2));
    replica.pause_replay(false).await;
    until(&db, "the replica catches up", |db| {
        let status = db.status();
        status
            .servers
            .iter()
            .all(|one| one.position.is_some_and(|at| at >= written))
    })
    .await;
    assert_eq!(next.run(count(&db)).await, (replica.server(), 2));

    // A transaction leaves an exact token behind, at once.
    replica.pause_replay(true).await;
    let scope = Scope::new();
    let transaction = db.transaction(TransactionOptions::default(), async |tx| {
        tx.batch_execute("INSERT INTO t VALUES (1)").await
    });
    scope.run(transaction).await.unwrap();
    assert!(scope.written() > Some(written));
    assert_eq!(scope.run(count(&db)).await, (primary.server(), 3));
    replica.pause_replay(false).await;
    assert_eq!(scope.run(count(&waiting)).await, (replica.server(), 3));
    let snapshot = waiting.read_transaction(async |tx| {
        let where_and_how_many = sql_query(
            "SELECT (SELECT count(*) FROM t) * pg_is_in_recovery()::int \
             * (current_setting('transaction_read_only') = 'on')::int AS n",
        );
        let n = where_and_how_many.get_result::<Count>(tx).await?.n;
        Ok::<_, diesel::result::Error>(n)
    });
    assert_eq!(scope.run(snapshot).await.unwrap(), 3);
    assert_eq!((db.close().await, waiting.close().await), (0, 0));
    let watchers =
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE '%(watch)'";
    while primary.number(watchers).await > 0 {}
    assert!(matches!(db.read().await, Err(AcquireError::Closed)));
    assert!(matches!(db.acquire().await, Err(AcquireError::Closed)));
}

#[tokio::test]
async fn a_replica_too_far_behind_serves_no_reads_until_it_has_caught_up() {
    let Some(primary) = Node::primary().await else {
        return;
    };
    let replica = primary.replica("replica").await;
    let urls = [primary.url(), replica.url()];
    let mut bytes = config(&urls);
    (bytes.max_lag, bytes.max_lag_bytes) = (None, Some(1000));
    let mut time = config(&urls);
    (time.max_lag, time.max_lag_bytes) = (Some(Duration::from_millis(200)), None);
    let sets = [connect(bytes).await, connect(time).await];
    create(&sets[0]).await;
    replica.has_table("t").await;
    for db in &sets {
        until(db, "the replica is up to date", |db| {
            db.status().servers[1].lag_bytes == Some(0)
        })
        .await;
        assert_eq!(count(db).await, (replica.server(), 0));
    }
    replica.pause_replay(true).await;
    primary
        .run("INSERT INTO t SELECT generate_series(1, 1000)")
        .await;
    for db in &sets {
        until(db, "the replica is too far behind", |db| {
            db.status().servers[1].stale
        })
        .await;
        assert_eq!(count(db).await, (primary.server(), 1000));
        let status = db.status().to_string();
        assert!(status.contains("too far behind"), "{status}");
    }
    replica.pause_replay(false).await;
    for db in &sets {
        until(db, "the replica has caught up", |db| {
            db.status().servers[1].lag_bytes == Some(0)
        })
        .await;
        assert_eq!(count(db).await, (replica.server(), 1000));
        assert_eq!(db.close().await, 0);
    }
}

async fn write_once(db: Replicas) -> Result<bool, AcquireError> {
    let mut connection = db.acquire().await?;
    let insert = connection.batch_execute("INSERT INTO t VALUES (1)");
    Ok(insert.await.is_ok())
}

async fn read_once(db: Replicas) -> Result<bool, AcquireError> {
    let mut lane = db.read().await?;
    let query = sql_query("SELECT count(*) AS n FROM t");
    Ok(query.get_result::<Count>(&mut lane).await.is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_primary_dies_writes_wait_for_the_next_one() {
    const WRITERS: usize = 4;
    let Some(mut old) = Node::primary().await else {
        return;
    };
    let new = old.replica("replica").await;
    let mut config = config(&[old.url(), new.url()]);
    // As by default: whatever is found sooner is found because a caller met it.
    config.probe_interval = Duration::from_secs(1);
    let db = connect(config).await;
    create(&db).await;
    let (tasks, tally) = repeat(&db, WRITERS, write_once);
    tally.more("writes on the first primary").await;
    let gone = Instant::now();
    old.stop(Stop::Fast).await;
    new.promote().await;
    let promoted = Instant::now();
    tally.more("writes on the second primary").await;
    let resumed = Instant::now();
    stop(tasks, &tally).await;
    let (not_lent, failed) = tally.failures();
    assert_eq!(not_lent, 0, "writers waited: {}", db.status());
    let connections = db.status().servers[0].pool.clone().unwrap().connects_total;
    assert!(
        failed <= connections,
        "each connection failed once at most: {failed}"
    );
    assert_eq!(db.status().primary, Some(new.server()));
    assert_eq!(db.status().failovers_total, 1);
    let _ = writeln!(
        std::io::stderr(),
        "failover: 20 writes done {:?} after the promotion, {:?} after the stop; {failed} of {WRITERS} writers failed once",
        resumed - promoted,
        resumed - gone,
    );

    // It comes back and does not know.
    old.start().await;
    until(&db, "the old primary is seen", |db| {
        role(db, &old) == ServerRole::LeftBehind
    })
    .await;
    insert(&db).await;
    assert_eq!(
        old.number("SELECT pg_is_in_recovery()::int::bigint AS n")
            .await,
        0
    );
    assert_eq!(db.status().primary, Some(new.server()));
    old.stop(Stop::Fast).await;
    old.follow(&new);
    assert_eq!(db.close().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_in_a_black_hole_is_given_up_for_the_next_one() {
    let Some(old) = Node::primary().await else {
        return;
    };
    let new = old.replica("replica").await;
    let proxy = Proxy::before(&old.url()).await;
    let mut config = config(&[proxy.url(&old.url()), new.url()]);
    config.probe_timeout = Duration::from_millis(200);
    let db = connect(config).await;
    create(&db).await;
    proxy.black_hole();
    // A new one is promoted while a caller hangs on the old one.
    let writing = tokio::spawn({
        let db = db.clone();
        async move {
            insert_again(&db).await;
        }
    });
    until(&db, "it is given up", |db| db.status().primary.is_none()).await;
    new.promote().await;
    writing.await.unwrap();
    assert_eq!(db.status().primary, Some(new.server()));
    // Behind it nothing has changed: it still takes itself for the primary.
    proxy.forward();
    until(&db, "the old primary is seen", |db| {
        db.status().servers[0].role == ServerRole::LeftBehind
    })
    .await;
    insert(&db).await;
    assert_eq!(db.status().primary, Some(new.server()));
    assert_eq!(db.close().await, 0);
}

#[tokio::test]
async fn a_primary_that_only_reads_is_left_as_soon_as_a_write_fails() {
    let Some(old) = Node::primary().await else {
        return;
    };
    let new = old.replica("replica").await;
    let mut config = config(&[old.url(), new.url()]);
    // Only the failure can tell.
    config.probe_interval = Duration::from_secs(3600);
    let db = connect(config).await;
    create(&db).await;
    old.run("ALTER SYSTEM SET default_transaction_read_only = on")
        .await;
    old.run("SELECT pg_reload_conf()").await;
    let mut failures = 0;
    while write_once(db.clone()).await.is_ok_and(|done| done) {
        failures += 1;
        assert!(failures < 10_000, "it never stopped taking writes");
    }
    until(&db, "the failure makes it ask", |db| {
        role(db, &old) == ServerRole::ReadOnly
    })
    .await;
    assert_eq!(db.status().primary, None);
    new.promote().await;
    insert(&db).await;
    assert_eq!(db.status().primary, Some(new.server()));
    assert_eq!(db.close().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_replica_fails_only_what_it_was_working_on() {
    const READERS: usize = 8;
    let Some(primary) = Node::primary().await else {
        return;
    };
    let mut dies = primary.replica("dies").await;
    let lives = primary.replica("lives").await;
    let db = connect(config(&[primary.url(), dies.url(), lives.url()])).await;
    create(&db).await;
    for node in [&dies, &lives] {
        node.has_table("t").await;
    }
    let (tasks, tally) = repeat(&db, READERS, read_once);
    tally.more("reads").await;
    dies.stop(Stop::Immediate).await;
    tally.more("reads after one died").await;
    until(&db, "it is noticed", |db| {
        db.status().servers[1].silent.is_some()
    })
    .await;
    tally.more("reads without it").await;
    let (not_lent, failed) = tally.failures();
    assert_eq!(not_lent, 0);
    assert!(failed <= READERS as u64, "{failed} failed; {}", db.status());
    dies.start().await;
    let before = db.status().servers[1].reads_total;
    until(&db, "it serves again", |db| {
        db.status().servers[1].reads_total > before + 10
    })
    .await;
    stop(tasks, &tally).await;
    assert_eq!(tally.failures(), (0, failed), "nothing failed since");
    assert_eq!(db.close().await, 0);
}

#[tokio::test]
async fn with_all_servers_down_errors_say_so_in_time_and_all_recovers() {
    let Some(mut primary) = Node::primary().await else {
        return;
    };
    let mut replica = primary.replica("replica").await;
    let mut config = config(&[primary.url(), replica.url()]);
    config.failover_wait = Duration::from_millis(300);
    let db = connect(config.clone()).await;
    create(&db).await;
    replica.has_table("t").await;
    replica.stop(Stop::Immediate).await;
    primary.stop(Stop::Immediate).await;
    match db.acquire().await {
        Err(error @ AcquireError::NoPrimary { waited, .. }) => {
            assert!(waited >= Duration::from_millis(300));
            let text = error.to_string();
            assert!(
                text.contains(&primary.server()) && text.contains(&replica.server()),
                "{text}"
            );
            assert!(error.is_timeout());
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(db.read().await, Err(AcquireError::NoServer { .. })),
        "{}",
        db.status()
    );
    match Replicas::connect(config).await {
        Err(error @ OpenError::NoServer { .. }) => {
            assert!(error.to_string().contains("never answered"));
        }
        other => panic!("{other:?}"),
    }
    primary.start().await;
    replica.start().await;
    until(&db, "writes are possible again", |db| {
        db.status().primary.is_some()
    })
    .await;
    insert(&db).await;
    until(&db, "the replica is back", |db| {
        db.status().servers[1].silent.is_none()
    })
    .await;
    assert_eq!(count(&db).await.0, replica.server());
    assert_eq!(db.close().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_replica_gets_fewer_reads() {
    let Some(primary) = Node::primary().await else {
        return;
    };
    let (near, far) = (primary.replica("near").await, primary.replica("far").await);
    let proxy = Proxy::before(&far.url()).await;
    let db = connect(config(&[primary.url(), near.url(), proxy.url(&far.url())])).await;
    create(&db).await;
    for node in [&near, &far] {
        node.has_table("t").await;
    }
    proxy.delay(Duration::from_millis(5));
    let (tasks, tally) = repeat(&db, 8, read_once);
    cluster::until("2000 reads", || tally.done() > 2000).await;
    stop(tasks, &tally).await;
    let status = db.status();
    let [writes, near, far] = [0, 1, 2].map(|server: usize| status.servers[server].reads_total);
    let _ = writeln!(
        std::io::stderr(),
        "balance: {near} reads near, {far} reads 10 ms away"
    );
    assert_eq!(writes, 0);
    assert!(far > 0 && far < near / 2, "{status}");
    assert_eq!(tally.failures(), (0, 0));
    assert_eq!(db.close().await, 0);
}

#[tokio::test]
async fn two_databases_are_no_set_of_replicas() {
    let (Some(one), Some(other)) = (Node::primary().await, Node::primary().await) else {
        return;
    };
    match Replicas::connect(config(&[one.url(), other.url()])).await {
        Err(OpenError::Config(error)) => {
            assert_eq!(error.field(), "servers");
            assert!(error.problem().contains("system identifier"));
        }
        other => panic!("{other:?}"),
    }
}
