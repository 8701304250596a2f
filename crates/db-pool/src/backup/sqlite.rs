//! Copies of a SQLite file by `VACUUM INTO`, on a connection of their own so that nobody waits for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use tokio::time::{Instant, timeout_at};

use super::error::BackupError;
use super::folder::sync_folder;
use super::manifest::TableRows;
use super::{Backup, BackupConfig, BackupProgress, Recoverable};
use crate::pool::Pool;
use crate::sqlite::Sqlite;
use crate::url::sqlite_file;

impl Recoverable for Sqlite {
    const ENDING: &'static str = "db";

    async fn copy(
        pool: &Pool<Self>,
        config: &BackupConfig,
        to: &Path,
        progress: &BackupProgress,
    ) -> Result<Vec<TableRows>, BackupError> {
        let file = pool
            .config()
            .file()
            .map_err(BackupError::database("copied"))?;
        let (from, to) = (file.unwrap_or_default(), to.to_owned());
        let watched = to.clone();
        let (told, busy) = (progress.clone(), pool.config().lock_timeout);
        let caller = Caller::default();
        let waits = caller.waits();
        let copying = tokio::task::spawn_blocking(move || {
            let _written = Unwanted(to.clone(), waits);
            let mut connection = open(&from, busy)?;
            let pages = number(
                &mut connection,
                "SELECT page_count AS n FROM pragma_page_count",
            )?;
            let size = number(
                &mut connection,
                "SELECT page_size AS n FROM pragma_page_size",
            )?;
            told.expect(pages.saturating_mul(size));
            diesel::sql_query("VACUUM INTO ?")
                .bind::<Text, _>(shown(&to)?)
                .execute(&mut connection)
                .map_err(BackupError::database("copied"))?;
            drop(connection);
            check(&to)
        });
        watch(copying, &watched, config.limit, progress).await
    }

    async fn restore(
        _: &Pool<Self>,
        config: &BackupConfig,
        copy: &Backup,
        url: &str,
        progress: &BackupProgress,
    ) -> Result<(), BackupError> {
        let (target, _) = sqlite_file(url).map_err(BackupError::database("restored"))?;
        restore_to(config, copy, PathBuf::from(target), progress).await
    }

    async fn drill(
        _: &Pool<Self>,
        config: &BackupConfig,
        copy: &Backup,
        progress: &BackupProgress,
    ) -> Result<(), BackupError> {
        // Beside the copy: there is room for one more there, as for the next copy.
        let target = beside(copy.path(), &format!(".drill-{:08x}", fastrand::u32(..)));
        let _restored = Unwanted(target.clone(), Weak::new());
        restore_to(config, copy, target, progress).await
    }
}

async fn restore_to(
    config: &BackupConfig,
    copy: &Backup,
    target: PathBuf,
    progress: &BackupProgress,
) -> Result<(), BackupError> {
    // Two restores at once each write a file of their own.
    let partial = beside(&target, &format!(".restoring-{:08x}", fastrand::u32(..)));
    let (copy, watched) = (copy.clone(), partial.clone());
    progress.expect(copy.bytes());
    let caller = Caller::default();
    let waits = caller.waits();
    let restoring = tokio::task::spawn_blocking(move || put(&copy, &partial, &target, &waits));
    watch(restoring, &watched, config.limit, progress).await
}

/// Stands for the future that waits for a thread: dropped with it.
#[derive(Default)]
struct Caller(Arc<()>);

impl Caller {
    fn waits(&self) -> Waits {
        Arc::downgrade(&self.0)
    }
}

/// Whether the caller still waits, for the thread to ask.
type Waits = Weak<()>;

/// A file that goes with this value if nobody waits for it.
struct Unwanted(PathBuf, Waits);

impl Drop for Unwanted {
    fn drop(&mut self) {
        if self.1.strong_count() == 0 {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Tells the size of the growing file until `work` is done or takes too long.
///
/// A statement cannot be interrupted: it runs to its end on its thread, which then removes what nobody waits for.
async fn watch<T>(
    mut work: tokio::task::JoinHandle<Result<T, BackupError>>,
    file: &Path,
    limit: Duration,
    progress: &BackupProgress,
) -> Result<T, BackupError> {
    let until = Instant::now() + limit;
    loop {
        let look = (Instant::now() + LOOK).min(until);
        match timeout_at(look, &mut work).await {
            Ok(done) => return done.map_err(|_| BackupError::Interrupted)?,
            Err(_) if Instant::now() >= until => return Err(BackupError::TimedOut { limit }),
            Err(_) => {
                if let Ok(metadata) = fs::metadata(file) {
                    progress.reach(metadata.len());
                }
            }
        }
    }
}

/// How often the size of the file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Puts the copy in place: never over another file, and wholly or not at all; blocks.
fn put(copy: &Backup, partial: &Path, target: &Path, waits: &Waits) -> Result<(), BackupError> {
    let in_use = |problem: &str| BackupError::TargetInUse {
        target: target.display().to_string(),
        problem: problem.to_owned(),
    };
    if fs::symlink_metadata(target).is_ok() {
        return Err(in_use("exists already"));
    }
    // The log of another database would be read as this one's.
    for ending in ["-wal", "-shm", "-journal"] {
        if fs::symlink_metadata(beside(target, ending)).is_ok() {
            return Err(in_use("has a log of an earlier file beside it"));
        }
    }
    let _written = Unwanted(partial.to_owned(), Weak::new());
    let from = copy.path();
    fs::copy(from, partial).map_err(BackupError::io("write", partial))?;
    copy.compare(&check(partial)?)?;
    if waits.strong_count() == 0 {
        return Err(BackupError::Interrupted);
    }
    let place = || -> std::io::Result<()> {
        fs::File::open(partial)?.sync_all()?;
        // A link fails where a file has appeared meanwhile; a rename would replace it.
        fs::hard_link(partial, target)
    };
    place().map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => in_use("exists already"),
        _ => BackupError::io("write", target)(error),
    })?;
    let _placed = Unwanted(target.to_owned(), Weak::clone(waits));
    sync_folder(target).map_err(|error| {
        let _ = fs::remove_file(target);
        BackupError::io("write", target)(error)
    })
}

/// Whether the database in the file is whole, and how many rows it has; blocks.
fn check(file: &Path) -> Result<Vec<TableRows>, BackupError> {
    let damaged = |problem: String| BackupError::Damaged {
        path: file.to_owned(),
        problem,
    };
    let mut connection = open(file, None)?;
    let said =
        diesel::sql_query("SELECT integrity_check AS word FROM pragma_integrity_check LIMIT 5")
            .load::<Word>(&mut connection)
            .map_err(|error| damaged(error.to_string()))?;
    match said.as_slice() {
        [only] if only.word == "ok" => {}
        many => {
            let said: Vec<_> = many.iter().map(|line| line.word.as_str()).collect();
            return Err(damaged(said.join("; ")));
        }
    }
    let tables = diesel::sql_query(
        "SELECT name AS word FROM sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .load::<Word>(&mut connection)
    .map_err(BackupError::database("counted"))?;
    tables
        .into_iter()
        .map(|table| {
            let name = table.word.replace('"', "\"\"");
            let sql = format!("SELECT count(*) AS n FROM \"{name}\"");
            let rows = number(&mut connection, &sql)?;
            Ok(TableRows {
                table: table.word,
                rows,
            })
        })
        .collect()
}

fn open(file: &Path, busy: Option<Duration>) -> Result<SqliteConnection, BackupError> {
    // SQLite would make an empty file and call it whole.
    fs::metadata(file).map_err(BackupError::io("read", file))?;
    let mut connection =
        SqliteConnection::establish(&shown(file)?).map_err(BackupError::database("opened"))?;
    let busy = busy.unwrap_or_default().as_millis();
    let script = format!("PRAGMA busy_timeout = {busy}; PRAGMA trusted_schema = OFF;");
    connection
        .batch_execute(&script)
        .map_err(BackupError::database("opened"))?;
    Ok(connection)
}

fn number(connection: &mut SqliteConnection, sql: &str) -> Result<u64, BackupError> {
    let row = diesel::sql_query(sql)
        .get_result::<Number>(connection)
        .map_err(BackupError::database("counted"))?;
    Ok(u64::try_from(row.n).unwrap_or_default())
}

/// SQLite takes names as text.
fn shown(file: &Path) -> Result<String, BackupError> {
    let text = file.to_str().ok_or(BackupError::Config {
        field: "folder",
        problem: "is not valid UTF-8, which SQLite needs",
    })?;
    // Would be read as a URI.
    Ok(match text.strip_prefix("file:") {
        Some(_) => format!("./{text}"),
        None => text.to_owned(),
    })
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}
