//! Migrations: applied once, in order, on any runtime; a failure names its migration.

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");
pub(crate) const BAD_MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/bad_migrations");

#[cfg(feature = "sqlite")]
mod sqlite {
    use db_pool::{MigrateError, Pool, PoolConfig, Sqlite};
    use tempfile::TempDir;

    use super::*;
    use crate::sqlite_support::notes;
    use crate::support::chain;

    async fn empty() -> (TempDir, Pool<Sqlite>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let pool = Pool::connect(PoolConfig::embedded(path.to_str().unwrap()))
            .await
            .unwrap();
        (folder, pool)
    }

    #[tokio::test]
    async fn migrating_twice_applies_once() {
        let (_folder, pool) = empty().await;
        assert_eq!(pool.migrate(MIGRATIONS).await.unwrap(), ["0001", "0002"]);
        assert_eq!(notes(&pool).await, 0);
        assert_eq!(pool.migrate(MIGRATIONS).await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn two_pools_on_one_file_migrate_once_together() {
        let (folder, first) = empty().await;
        let path = folder.path().join("app.db");
        let second = Pool::<Sqlite>::connect(PoolConfig::embedded(path.to_str().unwrap()));
        let second = second.await.unwrap();
        let (a, b) = tokio::join!(first.migrate(MIGRATIONS), second.migrate(MIGRATIONS));
        let applied = a.unwrap().len() + b.unwrap().len();
        assert_eq!(applied, 2);
    }

    #[tokio::test]
    async fn a_failed_migration_is_named_and_leaves_nothing_behind() {
        let (_folder, pool) = empty().await;
        let error = pool.migrate(BAD_MIGRATIONS).await.unwrap_err();
        assert!(
            matches!(&error, MigrateError::Failed { version, .. } if version == "0002"),
            "{error:?}"
        );
        assert!(
            chain(&error).contains("nothing_like_this"),
            "{}",
            chain(&error)
        );
        assert_eq!(pool.migrate(MIGRATIONS).await.unwrap(), ["0001", "0002"]);
    }

    #[tokio::test]
    async fn readers_opened_before_see_the_new_schema() {
        let (_folder, pool) = empty().await;
        drop(pool.read().await.unwrap());
        pool.migrate(MIGRATIONS).await.unwrap();
        assert_eq!(notes(&pool).await, 0);
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use db_pool::MigrateError;
    use diesel_async::SimpleAsyncConnection;
    use diesel_migrations::{EmbeddedMigrations, embed_migrations};
    use futures_util::future::join_all;

    use super::*;
    use crate::postgres_support::Database;
    use crate::support::eventually;

    const ALONE: EmbeddedMigrations = embed_migrations!("tests/migrations_alone");

    #[tokio::test]
    async fn of_many_pools_that_migrate_at_once_each_migration_is_applied_by_one() {
        for pgbouncer in [false, true] {
            let Some(database) = Database::new().await else {
                return;
            };
            let pools = (0..6).map(|_| database.pool(|config| config.pgbouncer = pgbouncer));
            let pools = join_all(pools).await;
            let applied = join_all(pools.iter().map(|pool| pool.migrate(MIGRATIONS))).await;
            let mut versions: Vec<_> = applied.into_iter().flat_map(Result::unwrap).collect();
            versions.sort();
            assert_eq!(versions, ["0001", "0002"], "pgbouncer: {pgbouncer}");
            for pool in &pools {
                assert_eq!(pool.migrate(MIGRATIONS).await.unwrap(), [""; 0]);
                let mut connection = pool.acquire().await.unwrap();
                let sql = "SELECT done FROM notes";
                connection.batch_execute(sql).await.unwrap();
                drop(connection);
                pool.close().await;
            }
        }
    }

    #[tokio::test]
    async fn a_migration_that_cannot_run_in_a_transaction_is_refused_behind_pgbouncer() {
        let Some(database) = Database::new().await else {
            return;
        };
        let pool = database.pool(|config| config.pgbouncer = true).await;
        let error = pool.migrate(ALONE).await.unwrap_err();
        assert!(
            matches!(&error, MigrateError::NeedsSession { version } if version == "0001"),
            "{error:?}"
        );
        let direct = database.pool(|_| {}).await;
        assert_eq!(direct.migrate(ALONE).await.unwrap(), ["0001"]);
        assert_eq!(
            pool.migrate(ALONE).await.unwrap(),
            [""; 0],
            "nothing is left to do"
        );
        pool.close().await;
        direct.close().await;
    }

    #[tokio::test]
    async fn a_migration_gives_way_to_a_long_transaction_and_is_applied_after_it() {
        let Some(database) = Database::new().await else {
            return;
        };
        let pool = database.pool(|_| {}).await;
        let create = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
            CREATE TABLE __diesel_schema_migrations (
                version VARCHAR(50) PRIMARY KEY, run_on TIMESTAMP NOT NULL DEFAULT now());
            INSERT INTO __diesel_schema_migrations (version) VALUES ('0001')";
        let mut reader = pool.acquire().await.unwrap();
        reader.batch_execute(create).await.unwrap();
        reader.batch_execute("BEGIN; TABLE notes").await.unwrap();
        let mut migrating = Box::pin(pool.migrate(MIGRATIONS));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database
            AND wait_event_type = 'Lock'";
        let meeting = async {
            // First it waits, then it gave way: nobody waits although the reader has not ended.
            for wanted in [1, 0] {
                while database.count(waiting).await != wanted {
                    tokio::task::yield_now().await;
                }
            }
            reader.batch_execute("ROLLBACK").await.unwrap();
        };
        let (applied, ()) = tokio::join!(&mut migrating, meeting);
        assert_eq!(applied.unwrap(), ["0002"]);
        drop((migrating, reader));
        eventually("all is back", || pool.status().in_use == 0).await;
        pool.close().await;
    }
}
