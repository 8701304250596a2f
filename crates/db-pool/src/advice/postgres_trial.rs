//! Trying an index on PostgreSQL: imagined by `hypopg`, or built and rolled back.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::result::Error;
use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, timeout};

use super::catalog::{Answer, HAS_HYPOPG, Sample};
use super::finding::SuggestedIndex;
use super::plan::Plan;
use super::postgres::plan_of;
use super::statements::{columns_of_values, only_reads, with_literals};
use super::trial::{IndexTrial, Measured, Trial, TrialError};
use crate::guard::Connection;
use crate::pool::Pool;
use crate::postgres::Postgres;
use crate::sql::quote;

type Session = Connection<Postgres>;

pub(super) async fn try_index(
    pool: &Pool<Postgres>,
    trial: Trial,
) -> Result<IndexTrial, TrialError> {
    let limit = trial.options.limit;
    let trying = async {
        let mut session = pool.acquire().await?;
        // Wherever this is dropped, the transaction ends with its session.
        Connection::retire(&mut session);
        let hypopg: Answer = sql_query(HAS_HYPOPG).get_result(&mut session).await?;
        let milliseconds = limit.as_millis().clamp(1, 86_400_000);
        let settings = format!("SET statement_timeout = {milliseconds}; SET lock_timeout = 2000");
        session.batch_execute(&settings).await?;
        if hypopg.yes && !trial.options.build {
            imagined(&mut session, &trial).await
        } else if trial.options.build {
            built(&mut session, &trial).await
        } else {
            Err(TrialError::NeedsBuild)
        }
    };
    let tried = timeout(limit, trying).await;
    tried.map_err(|_| TrialError::TimedOut { limit })?
}

async fn imagined(session: &mut Session, trial: &Trial) -> Result<IndexTrial, TrialError> {
    session.batch_execute(GENERIC).await?;
    let before = measured(session, &trial.sql).await?;
    let name = imagine(session, &trial.index).await?;
    let after = measured(session, &trial.sql).await?;
    session.batch_execute("ROLLBACK").await?;
    Ok(IndexTrial {
        index: trial.index.clone(),
        used: after.plan.contains(&name),
        before,
        after,
        built_in: None,
    })
}

/// Makes the planner believe in an index, and returns the name that plans call it by.
pub(super) async fn imagine(session: &mut Session, index: &SuggestedIndex) -> QueryResult<String> {
    let sql = format!(
        "CREATE INDEX ON {} {}",
        index.table_sql(),
        index.columns_sql()
    );
    let made = sql_query("SELECT indexname::text AS name FROM hypopg_create_index($1)");
    let made: Name = made.bind::<Text, _>(sql).get_result(session).await?;
    Ok(made.name)
}

async fn built(session: &mut Session, trial: &Trial) -> Result<IndexTrial, TrialError> {
    let index = &trial.index;
    session.batch_execute(GENERIC).await?;
    let filled = filled(session, trial).await?;
    // What may change something is planned and not run.
    let runs = only_reads(&trial.sql);
    let sql = filled.as_deref().unwrap_or(&trial.sql);
    let timed = runs && filled.is_some();
    let before = measured_or_timed(session, sql, timed).await?;
    let started = Instant::now();
    let create = format!(
        "CREATE INDEX {TRIAL} ON {} {}",
        index.table_sql(),
        index.columns_sql()
    );
    session.batch_execute(&create).await?;
    let built_in = started.elapsed();
    let after = measured_or_timed(session, sql, timed).await?;
    session.batch_execute("ROLLBACK").await?;
    Ok(IndexTrial {
        index: index.clone(),
        used: after.plan.contains(TRIAL),
        before,
        after,
        built_in: Some(built_in),
    })
}

/// The statement with values from a row of the table in the places of its own.
async fn filled(session: &mut Session, trial: &Trial) -> QueryResult<Option<String>> {
    let mut literals = BTreeMap::new();
    for column in columns_of_values(&trial.sql) {
        let name = quote(&column);
        // A column of another table would fail, and end the transaction.
        let sql = format!(
            "SAVEPOINT sampling; SELECT quote_literal({name}::text) AS literal FROM {} WHERE {name} IS NOT NULL LIMIT 1",
            trial.index.table_sql()
        );
        let (save, question) = sql.split_once("; ").unwrap_or_default();
        session.batch_execute(save).await?;
        let found: QueryResult<Vec<Sample>> = sql_query(question).load(session).await;
        session
            .batch_execute("ROLLBACK TO SAVEPOINT sampling")
            .await?;
        let literal = found.ok().and_then(|rows| rows.into_iter().next()?.literal);
        if let Some(literal) = literal {
            literals.insert(column, literal);
        }
    }
    Ok(with_literals(&trial.sql, |column| {
        literals.get(column).cloned()
    }))
}

async fn measured_or_timed(
    session: &mut Session,
    sql: &str,
    timed: bool,
) -> Result<Measured, TrialError> {
    if !timed {
        return measured(session, sql).await;
    }
    let mut best: Option<Plan> = None;
    for _ in 0..RUNS {
        let plan = plan_of(session, sql, "ANALYZE, TIMING OFF, FORMAT JSON, VERBOSE").await?;
        let took = |plan: &Option<Plan>| plan.as_ref().and_then(|it| it.took);
        if took(&best).is_none_or(|best| took(&plan).is_some_and(|now| now < best)) {
            best = plan;
        }
    }
    Ok(shown(best))
}

async fn measured(session: &mut Session, sql: &str) -> Result<Measured, TrialError> {
    Ok(shown(plan_of(session, sql, "FORMAT JSON, VERBOSE").await?))
}

fn shown(plan: Option<Plan>) -> Measured {
    let plan = plan.unwrap_or_default();
    Measured {
        cost: Some(plan.cost),
        took: plan.took.map(|took| took.max(Duration::from_nanos(1))),
        plan: plan.text.trim_end().to_owned(),
    }
}

/// What the server said, unless it may quote a value.
pub(super) fn without_values(error: &Error) -> String {
    let text = error.to_string();
    let quotes = text.contains("invalid input") || text.contains('\'');
    if quotes {
        "it could not be explained".to_owned()
    } else {
        text
    }
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

const GENERIC: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan";
const TRIAL: &str = "db_pool_trial_index";
const RUNS: u32 = 3;
