//! PostgreSQL's part of the advice: one session, many small questions, and plans of the costliest statements.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::{QueryResult, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, timeout_at};

use super::catalog::{self, Answer};
use super::finding::{Finding, FindingKind as Kind, Severity, SuggestedIndex, Value};
use super::input::{FleetNumbers, ForeignKey, IndexNumbers, StatementNumbers, TableNumbers};
use super::plan::{Plan, Scan};
use super::statements::only_reads;
use super::trial::{IndexTrial, Trial, TrialError};
use super::{Advised, Costly, Told, fleet, predicates, scans, schema};
use crate::guard::Connection;
use crate::pool::Pool;
use crate::postgres::Postgres;
use crate::sql::{Word, numbered_values, words};

type Session = Connection<Postgres>;

impl Advised for Postgres {
    async fn advise(pool: &Pool<Self>, statements: &[Costly], until: Instant) -> Told {
        let mut told = Told::default();
        let mut session = match timeout_at(until, pool.acquire()).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                told.notes.push(format!("the server: {error}"));
                return told;
            }
            Err(_) => {
                told.notes
                    .push("the server: no connection was free in time".to_owned());
                return told;
            }
        };
        // Wherever this is dropped, neither settings nor prepared statements reach another borrower.
        Connection::retire(&mut session);
        let mut asking = Asking {
            session: Some(session),
            until,
            told,
        };
        asking.all(pool, statements).await;
        asking.told
    }

    async fn try_index(pool: &Pool<Self>, trial: Trial) -> Result<IndexTrial, TrialError> {
        super::postgres_trial::try_index(pool, trial).await
    }
}

/// A session that is asked one thing after another, and what came of it.
struct Asking {
    /// `None` after a question that was not answered in time.
    session: Option<Session>,
    until: Instant,
    told: Told,
}

impl Asking {
    async fn all(&mut self, pool: &Pool<Postgres>, statements: &[Costly]) {
        let Some(session) = &mut self.session else {
            return;
        };
        let limited = timeout_at(self.until, session.batch_execute(LIMITS)).await;
        if !matches!(limited, Ok(Ok(()))) {
            let why = "it took no settings; the connection is lost, or a proxy is in between";
            self.told.notes.push(format!("the server: {why}"));
            return;
        }
        self.fleet(pool).await;
        let tables = self.tables(pool).await;
        let age = self
            .rows::<catalog::Age>("age of the statistics", catalog::AGE)
            .await;
        let age = age
            .into_iter()
            .next()
            .and_then(|row| row.seconds)
            .map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        let keys = self
            .rows::<catalog::Key>("foreign keys", catalog::FOREIGN_KEYS)
            .await;
        let keys: Vec<ForeignKey> = keys.into_iter().map(key).collect();
        self.told.findings.extend(schema::foreign_keys(&keys));
        let all = self
            .rows::<catalog::Index>("indexes", catalog::INDEXES)
            .await;
        let indexes: Vec<IndexNumbers> = all.into_iter().map(index).collect();
        self.told
            .findings
            .extend(schema::indexes(&indexes, age, true));
        self.statements(statements, &tables, &indexes).await;
    }

    /// The rows of one question; none, and a note, if it cannot be answered.
    async fn rows<T>(&mut self, what: &str, sql: &str) -> Vec<T>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        let Some(session) = &mut self.session else {
            return Vec::new();
        };
        match timeout_at(self.until, sql_query(sql).load::<T>(session)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                self.told.notes.push(format!("{what}: {error}"));
                Vec::new()
            }
            Err(_) => {
                self.out_of_time(what);
                Vec::new()
            }
        }
    }

    fn out_of_time(&mut self, what: &str) {
        // The statement is still under way; the session was to be closed anyway.
        self.session = None;
        self.told
            .notes
            .push(format!("{what} and all after it: no time was left"));
    }

    async fn fleet(&mut self, pool: &Pool<Postgres>) {
        let rows = self
            .rows::<catalog::Fleet>("connections of the server", catalog::FLEET)
            .await;
        let count = |count: i64| u32::try_from(count).unwrap_or(0);
        if let Some(row) = rows.into_iter().next() {
            self.told.findings.extend(fleet::fleet(&FleetNumbers {
                application: pool.config().name.clone(),
                max_size: pool.status().max_size,
                max_connections: count(row.max_connections),
                reserved: count(row.reserved),
                sessions: count(row.sessions),
                ours: count(row.ours),
                hosts: count(row.hosts),
            }));
        }
    }

    async fn tables(&mut self, pool: &Pool<Postgres>) -> Vec<TableNumbers> {
        let rows = self
            .rows::<catalog::Table>("sequential scans", catalog::TABLES)
            .await;
        let tables: Vec<TableNumbers> = rows.into_iter().map(table).collect();
        let now = Instant::now();
        let before = pool.shared().advice.exchange(&tables, now);
        let (counts, window) = match &before {
            Some(before) => (scans::since(&before.tables, &tables), Some(now - before.at)),
            None => (tables.clone(), None),
        };
        self.told.findings.extend(scans::scans(&counts, window));
        tables
    }

    async fn statements(
        &mut self,
        statements: &[Costly],
        tables: &[TableNumbers],
        indexes: &[IndexNumbers],
    ) {
        let rows: BTreeMap<(&str, &str), u64> = tables
            .iter()
            .map(|it| ((&*it.schema, &*it.table), it.rows))
            .collect();
        let hypopg = self.rows::<Answer>("hypopg", catalog::HAS_HYPOPG).await;
        let hypopg = hypopg.iter().any(|row| row.yes);
        let mut suggested: Vec<SuggestedIndex> = Vec::new();
        for Costly(statement) in statements {
            let Some(plan) = self.explain(statement).await else {
                continue;
            };
            self.told.findings.extend(no_limit(statement, &plan));
            for scan in &plan.scans {
                let of_table = rows
                    .get(&(&*scan.schema, &*scan.table))
                    .copied()
                    .unwrap_or(0);
                let candidates = candidates(scan, of_table, indexes);
                let chosen = if hypopg {
                    self.best(statement, &plan, candidates).await
                } else {
                    candidates.into_iter().next().map(|index| (index, None))
                };
                let Some((index, cost)) = chosen.filter(|(index, _)| !suggested.contains(index))
                else {
                    continue;
                };
                suggested.push(index.clone());
                self.told
                    .findings
                    .push(missing(statement, &plan, scan, of_table, index, cost));
            }
        }
    }

    async fn explain(&mut self, statement: &StatementNumbers) -> Option<Plan> {
        let session = self.session.as_mut()?;
        match timeout_at(self.until, generic(session, &statement.sent)).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => {
                // The message may quote the text, the form of the statement may not hold any value.
                let why = super::postgres_trial::without_values(&error);
                self.told
                    .notes
                    .push(format!("the plan of `{}`: {why}", statement.sql));
                None
            }
            Err(_) => {
                self.out_of_time("plans of statements");
                None
            }
        }
    }

    /// The candidate that makes the plan cheapest, if that is half the cost at most, by `hypopg`.
    async fn best(
        &mut self,
        statement: &StatementNumbers,
        plan: &Plan,
        candidates: Vec<SuggestedIndex>,
    ) -> Option<(SuggestedIndex, Option<f64>)> {
        let mut best: Option<(SuggestedIndex, Option<f64>)> = None;
        for candidate in candidates {
            let session = self.session.as_mut()?;
            let trying = async {
                super::postgres_trial::imagine(session, &candidate).await?;
                let after = generic(session, &statement.sent).await;
                session.batch_execute("SELECT hypopg_reset()").await?;
                after
            };
            let Ok(Ok(Some(after))) = timeout_at(self.until, trying).await else {
                self.out_of_time("candidates for indexes");
                return best;
            };
            let least = best.as_ref().and_then(|it| it.1).unwrap_or(plan.cost / 2.0);
            if after.cost <= least {
                best = Some((candidate, Some(after.cost)));
            }
        }
        best
    }
}

/// The plan that fits any values, as the server makes it for a prepared statement.
pub(super) async fn generic(session: &mut Session, sql: &str) -> QueryResult<Option<Plan>> {
    session.batch_execute(GENERIC).await?;
    let plan = plan_of(session, sql, "FORMAT JSON, VERBOSE").await;
    session.batch_execute("ROLLBACK").await?;
    if plan.is_err() && numbered_values(sql) > 0 {
        // It may not have come as far as being prepared, and a rollback does not undo that it was.
        drop(session.batch_execute("DEALLOCATE db_pool_advice").await);
    }
    plan
}

/// Explains `sql`; one statement by protocol, so nothing behind it can run.
pub(super) async fn plan_of(
    session: &mut Session,
    sql: &str,
    how: &str,
) -> QueryResult<Option<Plan>> {
    let sql = sql.trim().trim_end_matches(';');
    let values = numbered_values(sql);
    let question = if values == 0 {
        format!("EXPLAIN ({how}) {sql}")
    } else if values <= MOST_VALUES {
        sql_query(format!("PREPARE db_pool_advice AS {sql}"))
            .execute(session)
            .await?;
        let nulls = vec!["NULL"; values].join(", ");
        format!("EXPLAIN ({how}) EXECUTE db_pool_advice({nulls})")
    } else {
        return Ok(None);
    };
    let answer: catalog::Json = sql_query(question).get_result(session).await?;
    if values > 0 {
        session.batch_execute("DEALLOCATE db_pool_advice").await?;
    }
    Ok(Plan::read(&answer.plan))
}

/// Indexes that would spare the scan, the likeliest first; none where there is one already or where it reads a large
/// part of the table anyway.
fn candidates(scan: &Scan, rows: u64, indexes: &[IndexNumbers]) -> Vec<SuggestedIndex> {
    let selective = scan.rows <= rows as f64 * 0.2;
    if rows < SMALL || !((selective && !scan.compared.is_empty()) || scan.limited) {
        return Vec::new();
    }
    let compared = if selective { &*scan.compared } else { &[] };
    let order = if scan.limited { &*scan.order } else { &[] };
    let mut all = predicates::candidates(compared, order);
    if scan.limited && all.len() > 1 {
        // The first ten in order are found at once by an index in that order.
        all.swap(0, 1);
    }
    all.into_iter()
        .filter(|columns| !served(scan, columns, indexes))
        .map(|columns| SuggestedIndex::new(&scan.schema, &scan.table, columns))
        .collect()
}

/// Whether a valid index begins with these columns; then the planner has its reasons.
fn served(scan: &Scan, columns: &[(String, bool)], indexes: &[IndexNumbers]) -> bool {
    let same = |(shown, (name, _)): (&String, &(String, bool))| matches!(&*words(shown), [Word::Plain(it) | Word::Quoted(it), ..] if it == name);
    indexes.iter().any(|index| {
        let here = index.table == scan.table && index.schema == scan.schema && index.valid;
        let long = index.columns.len() >= columns.len();
        here && long && index.columns.iter().zip(columns).all(same)
    })
}

fn missing(
    statement: &StatementNumbers,
    plan: &Plan,
    scan: &Scan,
    rows: u64,
    index: SuggestedIndex,
    cost: Option<f64>,
) -> Finding {
    let what = format!(
        "a costly statement reads all of {} for want of an index on {index}",
        scan.table
    );
    let mut finding = Finding::new(Severity::Warning, Kind::MissingIndex, what)
        .with("rows", Value::Count(rows))
        .with(
            "needed, by estimate",
            Value::Count(scan.rows.max(0.0) as u64),
        )
        .about(statement)
        .with("cost", Value::Cost(plan.cost))
        .with_some("with the index", cost.map(Value::Cost))
        .sql(index.create_sql());
    finding.index = Some(index);
    finding
}

fn no_limit(statement: &StatementNumbers, plan: &Plan) -> Option<Finding> {
    let limits = words(&statement.sent)
        .iter()
        .any(|word| word.is("limit") || word.is("fetch"));
    let many = plan.rows >= MANY_ROWS && only_reads(&statement.sent) && !limits;
    many.then(|| {
        Finding::new(
            Severity::Hint,
            Kind::NoLimit,
            "a costly statement returns many rows and has no LIMIT",
        )
        .with("rows, by estimate", Value::Count(plan.rows as u64))
        .about(statement)
        .code("if not all are needed at once: LIMIT, and the last key to go on from")
    })
}

fn table(row: catalog::Table) -> TableNumbers {
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    TableNumbers {
        schema: row.schema,
        table: row.table_name,
        rows: count(row.rows),
        scans: count(row.scans),
        scanned: count(row.scanned),
        index_scans: count(row.index_scans),
    }
}

fn key(row: catalog::Key) -> ForeignKey {
    ForeignKey {
        schema: row.schema,
        table: row.table_name,
        name: row.name,
        columns: row.columns,
        parent: row.parent,
        rows: u64::try_from(row.rows).unwrap_or(0),
        cascades: row.cascades,
    }
}

fn index(row: catalog::Index) -> IndexNumbers {
    IndexNumbers {
        schema: row.schema,
        table: row.table_name,
        name: row.name,
        columns: row.columns,
        rest: row.rest,
        unique: row.is_unique,
        constraint: row.is_constraint,
        serves_key: row.serves_key,
        valid: row.valid,
        building: row.building,
        bytes: row.bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        scans: row.scans.and_then(|scans| u64::try_from(scans).ok()),
    }
}

/// Whatever the pool allows, advice shall not wait for locks or hold the server up.
const LIMITS: &str = "SET statement_timeout = 1000; SET lock_timeout = 100";
const GENERIC: &str = "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan";
/// A statement with more values is made by a machine, and so is its plan.
const MOST_VALUES: usize = 200;
/// Reading a table of fewer rows is as quick as any index.
const SMALL: u64 = 1_000;
const MANY_ROWS: f64 = 10_000.0;
