//! Copies of a PostgreSQL database by its own programs, restored into a fresh one.

use std::process::Command;

use db_pool::{BackupConfig, BackupError, BackupProgress, Backups, Pool, Postgres};
use diesel_async::SimpleAsyncConnection;
use tempfile::TempDir;

use crate::postgres_support::Database;

/// `None`, after saying so, where there is no server or no `pg_dump`.
async fn source() -> Option<(Database, Pool<Postgres>, TempDir)> {
    let database = Database::new().await?;
    let pool = database.pool(|_| {}).await;
    let script = "CREATE TABLE notes (id INT PRIMARY KEY, text TEXT NOT NULL);
         CREATE SCHEMA \"odd.schema\";
         CREATE TABLE \"odd.schema\".\"odd table\" (x INT);
         INSERT INTO notes SELECT id, 'note ' || id FROM generate_series(1, 100) AS id;";
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(script)
        .await
        .unwrap();
    Some((database, pool, tempfile::tempdir().unwrap()))
}

#[tokio::test]
async fn a_copy_is_restored_into_an_empty_database_and_into_no_other() {
    let Some((database, pool, folder)) = source().await else {
        return;
    };
    let backups = Backups::new(&pool, BackupConfig::new(folder.path())).unwrap();
    let progress = BackupProgress::default();
    let copy = match backups.take_with(&progress).await {
        Err(BackupError::NoProgram { program, .. }) => {
            assert!(Command::new(program).arg("--version").output().is_err());
            return;
        }
        taken => taken.unwrap(),
    };
    assert_eq!((progress.done(), progress.total()), (2, 2));
    let rows: Vec<_> = copy
        .tables()
        .iter()
        .map(|table| (table.table.as_str(), table.rows))
        .collect();
    assert_eq!(
        rows,
        [("\"odd.schema\".\"odd table\"", 0), ("public.notes", 100)]
    );
    assert_eq!(backups.list().await.unwrap(), std::slice::from_ref(&copy));

    let fresh = Database::new().await.unwrap();
    backups.restore(&copy, &fresh.url).await.unwrap();
    let restored = fresh.raw().await;
    let rows = restored.query_one("SELECT count(*) FROM notes", &[]).await;
    assert_eq!(rows.unwrap().get::<_, i64>(0), 100);
    let error = backups.restore(&copy, &fresh.url).await.unwrap_err();
    assert!(matches!(error, BackupError::TargetInUse { .. }), "{error}");

    backups.drill(&copy).await.unwrap();
    let drills = "SELECT count(*) AS n FROM pg_database WHERE datname LIKE 'drill\\_%'";
    assert_eq!(database.count(drills).await, 0);

    std::fs::write(copy.path(), "no dump").unwrap();
    let error = backups.restore(&copy, &fresh.url).await.unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    pool.close().await;
}

/// A folder with a `pg_dump` of our own.
fn program(folder: &TempDir, script: &str) -> std::path::PathBuf {
    let programs = folder.path().join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let path = programs.join("pg_dump");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    programs
}

#[tokio::test]
async fn a_failing_program_says_why_and_leaves_no_copy() {
    let Some((_database, pool, folder)) = source().await else {
        return;
    };
    let mut config = BackupConfig::new(folder.path().join("copies"));
    config.programs = Some(folder.path().join("nowhere"));
    let backups = Backups::new(&pool, config.clone()).unwrap();
    let error = backups.take().await.unwrap_err();
    assert!(
        matches!(
            error,
            BackupError::NoProgram {
                program: "pg_dump",
                ..
            }
        ),
        "{error}"
    );

    // A program that fails as an old `pg_dump` does, talks without end, and tells what it should not.
    let script = "head -c 3000000 /dev/zero >&2; echo >&2
        echo \"pg_dump: error: $PGHOSTADDR$PGSERVICE<$PGPASSWORD> server version mismatch\" >&2; exit 1";
    config.programs = Some(program(&folder, script));
    let backups = Backups::new(&pool, config.clone()).unwrap();
    let error = backups.take().await.unwrap_err();
    let server: tokio_postgres::Config = pool.config().url.parse().unwrap();
    let hidden = server.get_password().map_or("", |_| "***");
    let said = format!("`pg_dump` failed: pg_dump: error: <{hidden}> server version mismatch");
    assert_eq!(error.to_string(), said);

    // One that hangs, and would leave a file.
    let script = "echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 600";
    let programs = program(&folder, script);
    config.programs = Some(programs.clone());
    config.limit = std::time::Duration::from_secs(2);
    let backups = Backups::new(&pool, config).unwrap();
    let error = backups.take().await.unwrap_err();
    assert!(matches!(error, BackupError::TimedOut { .. }), "{error}");
    let pid = std::fs::read_to_string(programs.join("pid")).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    crate::support::eventually("the program is ended", || {
        // A zombie until the runtime looks after it.
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z"))
    })
    .await;
    assert_eq!(
        std::fs::read_dir(folder.path().join("copies"))
            .unwrap()
            .count(),
        0
    );
    pool.close().await;
}
