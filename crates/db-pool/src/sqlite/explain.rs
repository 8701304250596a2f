//! The plan of a statement whose values are unknown.

use std::collections::HashMap;

use diesel::sql_types::{Integer, Text};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use super::connection::SqliteConnection;

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Integer)]
    parent: i32,
    #[diesel(sql_type = Text)]
    detail: String,
}

/// What `EXPLAIN QUERY PLAN` says, two spaces of indentation for each level; nothing is executed.
pub(super) async fn explain(connection: &mut SqliteConnection, sql: &str) -> QueryResult<String> {
    let steps = sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
        .load::<Step>(connection)
        .await?;
    let mut levels = HashMap::from([(0, 0)]);
    let lines: Vec<_> = steps
        .iter()
        .map(|step| {
            let level = levels.get(&step.parent).copied().unwrap_or(0);
            levels.insert(step.id, level + 1);
            format!("{:1$}{2}", "", 2 * level, step.detail)
        })
        .collect();
    Ok(lines.join("\n"))
}
