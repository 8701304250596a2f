//! Looking at a SQLite file, and checking that it is whole.

use std::path::{Path, PathBuf};

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, sql_query};

use super::report::{DatabaseHealth, SqliteHealth};
use crate::pool::Pool;
use crate::sqlite::{Sqlite, SqliteConnection};

pub(crate) async fn examine(
    connection: &mut SqliteConnection,
    file: PathBuf,
) -> QueryResult<DatabaseHealth> {
    let look = move |connection: &mut diesel::SqliteConnection| {
        let found: Pages = sql_query(PAGES).get_result(connection)?;
        Ok(DatabaseHealth::Sqlite(SqliteHealth {
            bytes: found.pages.saturating_mul(found.page_size),
            log_bytes: log_bytes(&file),
            free_pages: found.free_pages,
            pages: found.pages,
            journal_mode: found.journal_mode,
        }))
    };
    connection.with_sync(look).await
}

impl Pool<Sqlite> {
    /// Reads the whole file and looks for damage, by `PRAGMA quick_check`; returns what it finds, nothing when the file
    /// is whole.
    ///
    /// Cost: reads every page, on a reader connection, beside the writer; seconds for each gigabyte. Dropping the
    /// future lets it run to its end on its thread.
    ///
    /// # Errors
    /// A connection that could not be borrowed, as an error of diesel; or a file so damaged that it cannot be read.
    pub async fn quick_check(&self) -> QueryResult<Vec<String>> {
        let mut lane = self.read().await?;
        let check = sql_query("SELECT quick_check AS finding FROM pragma_quick_check");
        let findings: Vec<Finding> = diesel_async::RunQueryDsl::load(check, &mut lane).await?;
        let findings = findings.into_iter().map(|found| found.finding);
        Ok(findings.filter(|finding| finding != "ok").collect())
    }
}

/// The log lies beside the file; without one there is nothing in it.
fn log_bytes(file: &Path) -> u64 {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |found| found.len())
}

#[derive(QueryableByName)]
struct Pages {
    #[diesel(sql_type = BigInt)]
    pages: i64,
    #[diesel(sql_type = BigInt)]
    page_size: i64,
    #[diesel(sql_type = BigInt)]
    free_pages: i64,
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = Text)]
    finding: String,
}

const PAGES: &str =
    "SELECT page_count AS pages, page_size, freelist_count AS free_pages, journal_mode
    FROM pragma_page_count, pragma_page_size, pragma_freelist_count, pragma_journal_mode";
