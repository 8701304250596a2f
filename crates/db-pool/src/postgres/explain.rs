//! The plan of a statement whose values are unknown.

use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::connection::PgConnection;
use crate::sql::{PieceKind, numbered_values, pieces};
use crate::url::BackendKind;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    text: String,
}

/// The generic plan of `sql`, as `EXPLAIN` writes it but for literals, which show as `?`. Nothing is executed: the transaction is read-only and rolled
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
    let lines: Vec<_> = lines?.iter().map(|line| masked(&line.text)).collect();
    Ok(lines.join("\n"))
}

/// The line without the literals of the statement, which may be secrets; what a step costs stays.
fn masked(line: &str) -> String {
    let costs = line.rfind("  (cost=").filter(|at| is_cost(&line[*at..]));
    let (step, costs) = line.split_at(costs.unwrap_or(line.len()));
    let mut shown = String::with_capacity(line.len());
    let mut end = 0;
    for piece in pieces(step, Some(BackendKind::Postgres)) {
        if matches!(piece.kind, PieceKind::Text | PieceKind::Number) {
            shown.push_str(&step[end..piece.at]);
            shown.push('?');
            end = piece.at + piece.text.len();
        }
    }
    shown.push_str(&step[end..]);
    shown.push_str(costs);
    shown
}

/// Whether it is `(cost=0.00..1.00 rows=1 width=4)`; a literal may hold the beginning of one.
fn is_cost(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphabetic());
    words
        .filter(|word| !word.is_empty())
        .eq(["cost", "rows", "width"])
}

const NAME: &str = "db_pool_explained";

/// Planning takes locks on the tables; better no plan than a queue behind a change of the schema.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan; \
                     SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '100ms'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_no_literal_of_the_statement() {
        let costs = "Seq Scan on t1  (cost=0.00..35.50 rows=7 width=4)";
        for (line, shown) in [
            (costs, costs),
            (
                "  Filter: ((name = 'a ''secret'''::text) AND (pin = 1234) AND (x > $1))",
                "  Filter: ((name = ?::text) AND (pin = ?) AND (x > $1))",
            ),
            (
                "  Filter: (a = 'x  (cost=secret'::text)",
                "  Filter: (a = ?::text)",
            ),
            (
                r"  Filter: (a = E'\\secret'::text)",
                "  Filter: (a = ?::text)",
            ),
            ("  Sort Key: \"Créé 1\"", "  Sort Key: \"Créé 1\""),
        ] {
            assert_eq!(masked(line), shown);
        }
    }
}
