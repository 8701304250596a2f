//! PostgreSQL: indexes from `pg_index`, created concurrently under an advisory lock.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::query_builder::{QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, sleep};

use super::compare::{Existing, state};
use super::report::{IndexError, IndexReport, IndexState};
use super::usage::{Asked, Explain, Explained, IndexNotUsed};
use super::{Index, Indexed, report};
use crate::class::ErrorClass;
use crate::guard::Connection;
use crate::pool::Pool;
use crate::postgres::Postgres;
use crate::sql::quote;

type Session = Connection<Postgres>;

impl Indexed for Postgres {
    async fn check(pool: &Pool<Self>, declared: &[Index]) -> Result<IndexReport, IndexError> {
        let found = read(&mut pool.acquire().await?, declared).await?;
        Ok(report(declared, |index| found.state(index)))
    }

    async fn ensure(pool: &Pool<Self>, declared: &[Index]) -> Result<IndexReport, IndexError> {
        let mut session = pool.acquire().await?;
        // Without the lock: the usual start of a process, where nothing is missing, waits for nobody.
        let found = read(&mut session, declared).await?;
        if !declared.iter().any(|index| is_wanted(&found.state(index))) {
            return Ok(report(declared, |index| found.state(index)));
        }
        // Cancel-safe: from here on the session is closed wherever it is dropped, which frees the lock.
        Connection::retire(&mut session);
        lock(&mut session).await?;
        let mut made = BTreeMap::new();
        for index in declared {
            // Read anew for each: another process may have created it, or the list may name it twice.
            let found = read(&mut session, declared).await?;
            match found.state(index) {
                IndexState::Missing => {
                    create(&mut session, index).await?;
                    let name = index.name();
                    made.insert(index.to_string(), IndexState::Created { name });
                }
                IndexState::Invalid { name } => {
                    clear(&mut session, index).await?;
                    create(&mut session, index).await?;
                    made.insert(index.to_string(), IndexState::Rebuilt { name });
                }
                _ => {}
            }
        }
        let found = read(&mut session, declared).await?;
        Ok(report(declared, |index| {
            let made = made.get(&index.to_string()).cloned();
            made.unwrap_or_else(|| found.state(index))
        }))
    }
}

fn is_wanted(state: &IndexState) -> bool {
    matches!(state, IndexState::Missing | IndexState::Invalid { .. })
}

/// The indexes of each table that exists, by the table's name as declared.
struct Found(BTreeMap<String, Vec<Row>>);

impl Found {
    fn state(&self, index: &Index) -> IndexState {
        let of_table = self.0.get(&index.table_sql());
        let existing: Option<Vec<Existing>> =
            of_table.map(|rows| rows.iter().filter_map(Row::existing).collect());
        state(index, existing.as_deref())
    }
}

async fn read(session: &mut Session, declared: &[Index]) -> Result<Found, IndexError> {
    let mut tables: Vec<String> = declared.iter().map(Index::table_sql).collect();
    tables.sort_unstable();
    tables.dedup();
    let query = sql_query(INDEXES).bind::<Array<Text>, _>(tables);
    let rows: Vec<Row> = query.load(session).await.map_err(IndexError::Catalog)?;
    let mut found = BTreeMap::<String, Vec<Row>>::new();
    for row in rows {
        found.entry(row.wanted.clone()).or_default().push(row);
    }
    Ok(Found(found))
}

/// Asks again and again rather than waiting inside the server: a waiting statement holds a snapshot, and building
/// concurrently waits for all older snapshots, so the two would wait for each other.
async fn lock(session: &mut Session) -> Result<(), IndexError> {
    let limit = LOCK_TIMEOUT.as_millis();
    let settings = format!(
        "SET statement_timeout = 0; SET lock_timeout = {limit}; SET idle_in_transaction_session_timeout = 0"
    );
    let settled = session.batch_execute(&settings).await;
    settled.map_err(IndexError::Catalog)?;
    let started = Instant::now();
    loop {
        let question = sql_query("SELECT pg_try_advisory_lock($1) AS yes").bind::<BigInt, _>(LOCK);
        let answer: QueryResult<Yes> = question.get_result(session).await;
        if answer.map_err(IndexError::Catalog)?.yes {
            return Ok(());
        }
        let waited = started.elapsed();
        if waited >= TURN_TIMEOUT {
            return Err(IndexError::Locked { waited });
        }
        sleep(TURN_INTERVAL).await;
    }
}

async fn create(session: &mut Session, index: &Index) -> Result<(), IndexError> {
    let sql = index.create_sql("CONCURRENTLY ", &quote(&index.name()));
    let mut attempt = 1;
    loop {
        let Err(error) = session.batch_execute(&sql).await else {
            tracing::info!(name = index.name(), declared = %index, "index created");
            return Ok(());
        };
        // Whatever went wrong, an invalid index may have been left.
        clear(session, index).await?;
        if !is_lock_timeout(&error) || attempt == ATTEMPTS {
            return Err(failed(index, error));
        }
        attempt += 1;
    }
}

/// Drops what an earlier attempt left under the name of this index; never a valid one.
async fn clear(session: &mut Session, index: &Index) -> Result<(), IndexError> {
    let found = read(session, std::slice::from_ref(index)).await?;
    let name = index.name();
    let rows = found.0.get(&index.table_sql()).into_iter().flatten();
    let leftover = rows
        .filter(|row| !row.valid && !row.building)
        .find(|row| row.name.as_deref() == Some(&*name));
    let Some(row) = leftover else { return Ok(()) };
    let schema = quote(&row.schema);
    let sql = format!(
        "DROP INDEX CONCURRENTLY IF EXISTS {schema}.{}",
        quote(&name)
    );
    let dropped = session.batch_execute(&sql).await;
    dropped.map_err(|error| failed(index, error))
}

fn failed(index: &Index, error: Error) -> IndexError {
    IndexError::Create {
        name: index.name(),
        declared: index.to_string(),
        source: error.into(),
    }
}

fn is_lock_timeout(error: &Error) -> bool {
    // diesel keeps the message only.
    ErrorClass::of(error) == ErrorClass::LockTimeout || error.to_string().contains("lock timeout")
}

impl Explain for Postgres {
    async fn explain<Q>(pool: &Pool<Self>, query: Q, index: &str) -> Result<Explained, IndexNotUsed>
    where
        Q: QueryFragment<diesel::pg::Pg> + QueryId + Send,
    {
        let mut session = pool.acquire().await?;
        session.batch_execute(DISCOURAGE).await?;
        let asked = explain(&mut session, query, index).await;
        session.batch_execute("ROLLBACK").await?;
        Ok(asked?)
    }
}

async fn explain<Q>(session: &mut Session, query: Q, index: &str) -> QueryResult<Explained>
where
    Q: QueryFragment<diesel::pg::Pg> + QueryId + Send,
{
    let asked = Asked::<_, Text>::new("EXPLAIN (COSTS OFF) ", query);
    let plan: Vec<String> = asked.load(session).await?;
    let used = plan.iter().any(|line| uses(line, index));
    let exists = sql_query("SELECT EXISTS (SELECT FROM pg_indexes WHERE indexname = $1) AS yes");
    let exists: Yes = exists.bind::<Text, _>(index).get_result(session).await?;
    Ok(Explained {
        used,
        exists: exists.yes,
        plan: plan.join("\n"),
    })
}

/// Whether a line of a plan is a scan of this index, whose name it shows in quotes where it needs them.
fn uses(line: &str, index: &str) -> bool {
    let name = match line.split_once(" using ") {
        Some((scan, rest)) if scan.contains("Index") => {
            rest.split_once(" on ").map(|(name, _)| name)
        }
        _ => line
            .split_once("Bitmap Index Scan on ")
            .map(|(_, name)| name),
    };
    name.is_some_and(|name| name == index || name == quote(index))
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    wanted: String,
    #[diesel(sql_type = Text)]
    schema: String,
    /// `None` for a table without indexes.
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Bool)]
    is_unique: bool,
    #[diesel(sql_type = Bool)]
    valid: bool,
    #[diesel(sql_type = Bool)]
    building: bool,
    #[diesel(sql_type = Nullable<Text>)]
    filter: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    special: Option<String>,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    columns: Vec<Option<String>>,
    #[diesel(sql_type = Array<Bool>)]
    descending: Vec<bool>,
}

impl Row {
    fn existing(&self) -> Option<Existing> {
        let columns = self.columns.iter().cloned();
        Some(Existing {
            name: self.name.clone()?,
            columns: columns.zip(self.descending.iter().copied()).collect(),
            unique: self.is_unique,
            filter: self.filter.clone(),
            valid: self.valid,
            building: self.building,
            special: self.special.clone(),
        })
    }
}

/// One row for each index of the tables in `$1`, and one for a table without any; columns of `INCLUDE` do not count.
const INDEXES: &str = "\
SELECT w.name AS wanted, n.nspname::text AS schema, x.relname::text AS name,
       coalesce(i.indisunique, false) AS is_unique,
       coalesce(i.indisvalid AND i.indisready AND i.indislive, false) AS valid,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) AS building,
       pg_get_expr(i.indpred, i.indrelid) AS filter,
       CASE WHEN m.amname <> 'btree' THEN 'method ' || m.amname
            WHEN EXISTS (SELECT FROM pg_opclass o WHERE o.oid = ANY (i.indclass) AND NOT o.opcdefault)
            THEN 'an operator class of its own' END AS special,
       ARRAY(SELECT a.attname::text FROM generate_series(0, i.indnkeyatts - 1) k
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]
             ORDER BY k) AS columns,
       ARRAY(SELECT (i.indoption[k] & 1) = 1 FROM generate_series(0, i.indnkeyatts - 1) k ORDER BY k) AS descending
FROM unnest($1) AS w(name)
JOIN pg_class t ON t.oid = to_regclass(w.name)
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_index i ON i.indrelid = t.oid
LEFT JOIN pg_class x ON x.oid = i.indexrelid
LEFT JOIN pg_am m ON m.oid = x.relam
ORDER BY wanted, name";

const DISCOURAGE: &str = "BEGIN; SET LOCAL enable_seqscan = off";

/// "db-index" in ASCII: one lock per database, for every program that creates indexes through this crate.
const LOCK: i64 = 0x6462_2d69_6e64_6578;
/// The longest wait for locks on one table; waiting is cheap, as reads and writes pass meanwhile.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;
const TURN_INTERVAL: Duration = Duration::from_millis(50);
/// Building may take long, and the processes that wait need the indexes as well.
const TURN_TIMEOUT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::uses;

    #[test]
    fn scans_of_an_index_are_told_in_every_form() {
        for line in [
            "Index Scan using a_idx on users",
            "  ->  Parallel Index Only Scan using a_idx on users u",
            "  ->  Index Scan Backward using a_idx on users",
            "        ->  Bitmap Index Scan on a_idx",
        ] {
            assert!(uses(line, "a_idx") && !uses(line, "a_id"), "{line}");
        }
        assert!(uses("Index Scan using \"a \"\"b\" on t", "a \"b"));
        for line in [
            "Seq Scan on a_idx",
            "  Index Cond: (a_idx = 1)",
            "  Filter: (x = ' using a_idx on ')",
        ] {
            assert!(!uses(line, "a_idx"), "{line}");
        }
    }
}
