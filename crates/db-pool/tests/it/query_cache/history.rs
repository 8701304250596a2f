//! Many readers and writers on a few registers: no read returns a value older than a write that completed before the
//! read began, none shows what was rolled back; writers go away in the middle, also of a COMMIT of their own, and some
//! registers are read through a view or written by a cascade. Writers leave room for hits, or it would show nothing.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// What is known about one register from outside.
#[derive(Default)]
struct Register {
    next: AtomicI64,
    completed: AtomicI64,
}

impl Register {
    fn next(&self) -> i64 {
        self.next.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn completed(&self, value: i64) {
        self.completed.fetch_max(value, Ordering::SeqCst);
    }
}

const REGISTERS: usize = 3;
const WRITERS: usize = 4;
const READERS: usize = 6;
const WRITES: usize = 60;

/// So often a writer looks for a hit; far more often than it takes, and the end will tell.
const GIVE_UP: usize = 500;

/// Far above every value that is committed.
const ROLLED_BACK: i64 = 1_000_000;

const SCHEMA: &str = "
    CREATE TABLE registers (id INTEGER PRIMARY KEY, v BIGINT NOT NULL UNIQUE);
    CREATE TABLE shadows (id INTEGER PRIMARY KEY,
        v BIGINT NOT NULL REFERENCES registers (v) ON UPDATE CASCADE);
    CREATE VIEW seen AS SELECT id, v FROM shadows;
    INSERT INTO registers VALUES (0, 0), (1, 10000000), (2, 20000000);
    INSERT INTO shadows SELECT id, v FROM registers;";

/// Values of different registers never meet.
const fn base(id: usize) -> i64 {
    id as i64 * 10_000_000
}

macro_rules! history {
    ($pool:expr, $greatest:literal) => {{
        use std::sync::Arc;
        use std::time::Duration;

        use db_pool::TransactionOptions;
        use diesel::result::Error;
        use diesel::sql_query;
        use diesel::sql_types::BigInt;
        use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

        use crate::support::Count;

        let pool = $pool;
        let registers: Arc<Vec<Register>> =
            Arc::new((0..REGISTERS).map(|_| Register::default()).collect());
        let running = Arc::new(AtomicUsize::new(WRITERS));
        // Each reader holds one, so that its panic shows.
        let reading: Vec<Arc<()>> = (0..READERS).map(|_| Arc::default()).collect();
        let all_read = reading.iter().map(Arc::downgrade).collect::<Vec<_>>();
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (pool, registers) = (pool.clone(), Arc::clone(&registers));
            let running = Arc::clone(&running);
            let all_read = all_read.clone();
            tasks.push(tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(writer as u64);
                for _ in 0..WRITES {
                    if all_read.iter().any(|reader| reader.strong_count() == 0) {
                        break; // one has found something
                    }
                    // Every other write comes only when a read was answered from the cache: else, on a machine with
                    // much to do, some commit might be under way at all times.
                    let hits = pool.query_cache().stats().hits;
                    let waits = random.bool().then_some(GIVE_UP).unwrap_or(1);
                    for _ in 0..waits {
                        tokio::time::sleep(Duration::from_millis(random.u64(0..20))).await;
                        let found = all_read.iter().any(|reader| reader.strong_count() == 0);
                        if pool.query_cache().stats().hits > hits || found {
                            break;
                        }
                    }
                    let id = random.usize(0..REGISTERS);
                    let value = registers[id].next();
                    let update = move |value: i64| {
                        let set = concat!("UPDATE registers SET v = ", $greatest);
                        let sql = format!("{set} WHERE id = {id} RETURNING v AS n");
                        sql_query(sql).bind::<BigInt, _>(base(id) + value)
                    };
                    let (way, leaves) = (random.u8(0..4), random.u8(0..4) == 0);
                    let after = Duration::from_micros(random.u64(0..3_000));
                    let write = async {
                        match way {
                            // Its rows may arrive before it commits; that it ends tells that it did.
                            0 => {
                                let mut connection = pool.acquire().await.unwrap();
                                let rows = update(value).load::<Count>(&mut connection).await;
                                rows.map(drop)
                            }
                            2 => {
                                let mut connection = pool.acquire().await.unwrap();
                                connection.batch_execute("BEGIN").await?;
                                update(value).execute(&mut connection).await?;
                                connection.batch_execute("COMMIT").await
                            }
                            1 => {
                                pool.transaction(TransactionOptions::default(), async move |tx| {
                                    update(value).execute(tx).await.map(drop)
                                })
                                .await
                            }
                            _ => {
                                let failed: Result<(), Error> = pool
                                    .transaction(TransactionOptions::default(), async move |tx| {
                                        update(value + ROLLED_BACK).execute(tx).await?;
                                        Err(Error::RollbackTransaction)
                                    })
                                    .await;
                                failed
                            }
                        }
                    };
                    if leaves {
                        // Goes away in the middle: whether it took effect is nobody's to know.
                        match tokio::time::timeout(after, write).await {
                            Ok(Ok(())) => registers[id].completed(value),
                            Ok(Err(_)) | Err(_) => {}
                        }
                    } else if write.await.is_ok() {
                        registers[id].completed(value);
                    }
                }
                running.fetch_sub(1, Ordering::SeqCst);
            }));
        }
        for (reader, reads) in reading.into_iter().enumerate() {
            let (pool, registers) = (pool.clone(), Arc::clone(&registers));
            let running = Arc::clone(&running);
            tasks.push(tokio::spawn(async move {
                let _reads = reads;
                let mut random = fastrand::Rng::with_seed(100 + reader as u64);
                while AtomicUsize::load(&running, Ordering::SeqCst) > 0 {
                    let id = random.usize(0..REGISTERS);
                    let from = ["registers", "shadows", "seen"][random.usize(0..3)];
                    let sql = format!("SELECT v AS n FROM {from} WHERE id = {id}");
                    let before = AtomicI64::load(&registers[id].completed, Ordering::SeqCst);
                    let read: Count = pool.cached(sql_query(sql)).first().await.unwrap();
                    let value = read.n - base(id);
                    assert!(
                        value >= before,
                        "{from}: read {value} after {before} was completed"
                    );
                    assert!(value < ROLLED_BACK, "{from}: read what was rolled back");
                    if random.u8(0..8) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let stats = pool.query_cache().stats();
        assert!(
            stats.hits >= WRITES as u64 / 4 && stats.invalidations > 20,
            "it was used: {stats}"
        );
    }};
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_no_read_is_older_than_a_completed_write() {
    use diesel_async::SimpleAsyncConnection;

    let (_folder, pool) = crate::sqlite_support::sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(SCHEMA).await.unwrap();
    drop(connection);
    history!(pool, "max(v, ?)");
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_no_read_is_older_than_a_completed_write() {
    use diesel_async::SimpleAsyncConnection;

    let Some(database) = crate::postgres_support::Database::new().await else {
        return;
    };
    let pool = database.pool(|config| config.max_size = 8).await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(SCHEMA).await.unwrap();
    drop(connection);
    history!(pool.clone(), "greatest(v, $1)");
    pool.close().await;
}
