//! The plan of a statement whose values are unknown.

use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::connection::PgConnection;
use crate::sql::numbered_values;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    text: String,
}

/// The generic plan of `sql`, as `EXPLAIN` writes it. Nothing is executed: the transaction is read-only and rolled
/// back, and `PREPARE` goes the way that takes one statement only.
pub(super) async fn explain(connection: &mut PgConnection, sql: &str) -> QueryResult<String> {
    connection.batch_execute(BEGIN).await?;
    let prepared = sql_query(format!("PREPARE {NAME} AS {sql}"))
        .execute(connection)
        .await;
    let lines = match &prepared {
        Ok(_) => {
            let values = vec!["NULL"; numbered_values(sql)].join(", ");
            let values = if values.is_empty() {
                values
            } else {
                format!("({values})")
            };
            let explain = sql_query(format!("EXPLAIN EXECUTE {NAME}{values}"));
            explain.load::<Line>(connection).await
        }
        Err(_) => Ok(Vec::new()),
    };
    connection.batch_execute("ROLLBACK").await?;
    prepared?;
    connection
        .batch_execute(&format!("DEALLOCATE {NAME}"))
        .await?;
    let lines: Vec<_> = lines?.into_iter().map(|line| line.text).collect();
    Ok(lines.join("\n"))
}

const NAME: &str = "db_pool_explained";

/// Planning takes locks on the tables; better no plan than a queue behind a change of the schema.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan; \
                     SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '100ms'";
