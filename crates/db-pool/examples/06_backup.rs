//! Backup and recovery: a copy while the database is written, a drill, a damaged copy, and a database lost and restored.
//!
//! Run it with `cargo run -p db-pool --features sqlite,backup --example 06_backup`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use db_pool::{BackupConfig, BackupProgress, Backups, Pool, PoolConfig, Sqlite};
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

async fn notes(pool: &Pool<Sqlite>) -> Result<i64, Box<dyn Error + Send + Sync>> {
    let mut lane = pool.read().await?;
    let count: Count = sql_query("SELECT count(*) AS n FROM notes")
        .get_result(&mut lane)
        .await?;
    Ok(count.n)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(path("app.db"))).await?;
    pool.acquire()
        .await?
        .batch_execute(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO notes SELECT i, 'note ' || i FROM n",
        )
        .await?;

    // Copies of a service belong on another disk. `run_every` takes one each night or hour by itself.
    let config = BackupConfig {
        keep: 2,
        ..BackupConfig::new(path("copies"))
    };
    let backups = Backups::new(&pool, config)?;
    let progress = BackupProgress::default();
    let taking = backups.take_with(&progress);
    let writing = async {
        let more = "INSERT INTO notes (text) VALUES ('written while the copy was taken')";
        let mut connection = pool.acquire().await?;
        sql_query(more).execute(&mut connection).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    };
    let (copy, written) = tokio::join!(taking, writing);
    let (copy, ()) = (copy?, written?);
    println!("taken:     {copy} ({progress})");

    // A backup that was never restored is a hope.
    backups.drill(&copy).await?;
    println!("drilled:   it restores, row for row");

    // The database is lost. The copy makes another, to which one then switches over.
    pool.close().await;
    std::fs::remove_file(path("app.db"))?;
    let url = format!("sqlite:{}", path("restored.db"));
    backups.restore(&copy, &url).await?;
    let restored = Pool::<Sqlite>::connect(PoolConfig::embedded(url.clone())).await?;
    println!("restored:  {} notes", notes(&restored).await?);
    println!("damage:    {:?}", restored.quick_check().await?);

    // Nothing is ever overwritten, and nothing damaged is ever restored.
    let refused = backups.restore(&copy, &url).await;
    println!("twice:     {}", refused.expect_err("it is in use"));
    let mut bytes = std::fs::read(copy.path())?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(copy.path(), bytes)?;
    let damaged = backups.verify(&copy).await;
    println!("one bit:   {}", damaged.expect_err("it differs"));
    restored.close().await;
    Ok(())
}
