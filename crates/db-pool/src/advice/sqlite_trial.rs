//! Trying an index on a copy of a SQLite file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::{QueryResult, RunQueryDsl, sql_query};
use tokio::time::{Instant, timeout};

use super::sqlite_copy::plan;
use super::statements::{columns_of_values, only_reads, with_literals};
use super::trial::{IndexTrial, Measured, Trial, TrialError};
use crate::pool::Pool;
use crate::sql::quote;
use crate::sqlite::Sqlite;

pub(super) async fn try_index(pool: &Pool<Sqlite>, trial: Trial) -> Result<IndexTrial, TrialError> {
    let limit = trial.options.limit;
    let file = pool.config().file().ok().flatten();
    let file = file.ok_or_else(|| TrialError::Copy("the pool has no file".into()))?;
    // A connection of its own: copying would keep one of the pool's busy.
    let trying = tokio::task::spawn_blocking(move || run(&file, &trial));
    match timeout(limit, trying).await {
        Ok(Ok(tried)) => tried,
        Ok(Err(panicked)) => Err(TrialError::Copy(Box::new(panicked))),
        Err(_) => Err(TrialError::TimedOut { limit }),
    }
}

/// Blocks for as long as copying the file takes.
fn run(file: &Path, trial: &Trial) -> Result<IndexTrial, TrialError> {
    let folder = Folder::new()?;
    let copy = folder.0.join("copy.db");
    let (Some(from), Some(to)) = (file.to_str(), copy.to_str()) else {
        return Err(TrialError::Copy("its path is no text".into()));
    };
    let text = |path: &str| format!("'{}'", path.replace('\'', "''"));
    let mut original = open(from)?;
    original.batch_execute(&format!("VACUUM INTO {}", text(to)))?;
    drop(original);
    let mut connection = open(to)?;
    let filled = filled(&mut connection, trial);
    // What may change something is planned and not run.
    let timed = filled.is_some() && only_reads(&trial.sql);
    let sql = filled.as_deref().unwrap_or(&trial.sql);
    let before = measured(&mut connection, sql, timed)?;
    let started = Instant::now();
    let (table, columns) = (trial.index.table_sql(), trial.index.columns_sql());
    connection.batch_execute(&format!("CREATE INDEX {TRIAL} ON {table} {columns}"))?;
    let built_in = started.elapsed();
    let after = measured(&mut connection, sql, timed)?;
    Ok(IndexTrial {
        index: trial.index.clone(),
        used: after.plan.contains(TRIAL),
        before,
        after,
        built_in: Some(built_in),
    })
}

fn open(path: &str) -> Result<diesel::SqliteConnection, TrialError> {
    diesel::SqliteConnection::establish(path).map_err(|error| TrialError::Copy(error.into()))
}

/// The statement with values from a row in the middle of the table in the places of its own.
fn filled(connection: &mut diesel::SqliteConnection, trial: &Trial) -> Option<String> {
    let mut literals = BTreeMap::new();
    for column in columns_of_values(&trial.sql) {
        let (name, table) = (quote(&column), trial.index.table_sql());
        let sql = format!(
            "SELECT quote({name}) AS literal FROM {table} WHERE {name} IS NOT NULL
             LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table} WHERE {name} IS NOT NULL)"
        );
        let found: QueryResult<Literal> = sql_query(sql).get_result(connection);
        literals.extend(found.ok().map(|it| (column, it.literal)));
    }
    with_literals(&trial.sql, |column| literals.get(column).cloned())
}

fn measured(
    connection: &mut diesel::SqliteConnection,
    sql: &str,
    timed: bool,
) -> Result<Measured, TrialError> {
    let plan = plan(connection, sql)?.join("\n");
    let mut took: Option<Duration> = None;
    for _ in 0..if timed { RUNS } else { 0 } {
        let started = Instant::now();
        connection.batch_execute(sql)?;
        let now = started.elapsed();
        took = Some(took.map_or(now, |best| best.min(now)));
    }
    Ok(Measured {
        plan,
        cost: None,
        took,
    })
}

#[derive(diesel::QueryableByName)]
struct Literal {
    #[diesel(sql_type = diesel::sql_types::Text)]
    literal: String,
}

/// A folder for the copy that only this user may read; gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, TrialError> {
        let name = format!(
            "db-pool-trial-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&path)
            .map_err(|error| TrialError::Copy(error.into()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the copy of a database could not be removed");
        }
    }
}

const TRIAL: &str = "db_pool_trial_index";
const RUNS: u32 = 3;
