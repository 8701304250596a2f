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
