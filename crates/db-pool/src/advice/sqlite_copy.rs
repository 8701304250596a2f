//! Plans of SQLite in an empty copy of the schema with the statistics of the original, as its own expert tool does:
//! an index is only advised if the planner there uses it.

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::{Connection, SimpleConnection};
use diesel::sql_types::{Nullable, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, sql_query};

use super::Told;
use super::finding::{Finding, FindingKind as Kind, Severity, SuggestedIndex, Value};
use super::input::StatementNumbers;
use super::predicates::{Compared, How, candidates, compared, order_lists, ordered};
use crate::sql::words;

/// What is needed to plan like the original.
#[derive(Debug, Default)]
pub(super) struct Schema {
    /// What creates it, tables first.
    pub(super) sql: Vec<String>,
    /// The columns of each table.
    pub(super) columns: BTreeMap<String, Vec<String>>,
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) stats: Vec<Stat>,
}

/// A row of `sqlite_stat1`.
#[derive(Debug, QueryableByName)]
pub(super) struct Stat {
    #[diesel(sql_type = Text)]
    pub(super) table_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) index_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) stat: Option<String>,
}

/// Explains the statements and tries indexes for those that need one; blocks.
pub(super) fn examine(schema: &Schema, statements: &[StatementNumbers]) -> Told {
    let mut told = Told::default();
    let mut copy = match Copy::new(schema) {
        Ok(copy) => copy,
        Err(error) => {
            told.notes.push(format!(
                "plans of statements: no copy of the schema: {error}"
            ));
            return told;
        }
    };
    let mut suggested = BTreeSet::new();
    for statement in statements {
        match copy.wanted(&statement.sent) {
            Ok(found) => {
                let new = found
                    .into_iter()
                    .filter(|it| suggested.insert(it.index.clone()));
                told.findings
                    .extend(new.map(|it| finding(schema, statement, it)));
            }
            // The message may quote the text of the statement, its form may not.
            Err(_) => told.notes.push(format!(
                "the plan of `{}`: it could not be explained",
                statement.sql
            )),
        }
    }
    told
}

/// An index that the planner would use.
struct Found {
    index: SuggestedIndex,
    before: Vec<String>,
    after: Vec<String>,
}

fn finding(schema: &Schema, statement: &StatementNumbers, found: Found) -> Finding {
    let Found {
        index,
        before,
        after,
    } = found;
    let what = format!("a costly statement needs an index on {index}");
    let rows = schema.rows.get(&index.table).copied().unwrap_or(0);
    let shown = |plan: &[String]| {
        let steps: Vec<String> = plan.iter().map(|step| without_candidate(step)).collect();
        Value::Text(steps.join("; "))
    };
    let mut finding = Finding::new(Severity::Warning, Kind::MissingIndex, what)
        .with("rows", Value::Count(rows))
        .about(statement)
        .with("plan", shown(&before))
        .with("with the index", shown(&after))
        .sql(index.create_sql());
    finding.index = Some(index);
    finding
}

/// `USING INDEX db_pool_candidate_0_ (a=?)` without the name, which means nothing to anybody else.
fn without_candidate(step: &str) -> String {
    match step.split_once(CANDIDATE) {
        Some((before, after)) => {
            let rest = after.split_once('_').map_or("", |(_, rest)| rest);
            format!("{}{rest}", before.trim_end())
        }
        None => step.to_owned(),
    }
}

struct Copy<'a> {
    schema: &'a Schema,
    connection: diesel::SqliteConnection,
}

impl<'a> Copy<'a> {
    fn new(schema: &'a Schema) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = diesel::SqliteConnection::establish(":memory:")?;
        for sql in &schema.sql {
            // What needs a module or function of the program is left out; statements that need it say so later.
            drop(connection.batch_execute(sql));
        }
        connection.batch_execute("ANALYZE; DELETE FROM sqlite_stat1")?;
        let insert = "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)";
        let mut with_stats = BTreeSet::new();
        for stat in &schema.stats {
            with_stats.insert(&*stat.table_name);
            sql_query(insert)
                .bind::<Text, _>(&stat.table_name)
                .bind::<Nullable<Text>, _>(&stat.index_name)
                .bind::<Nullable<Text>, _>(&stat.stat)
                .execute(&mut connection)?;
        }
        for (table, rows) in &schema.rows {
            if !with_stats.contains(&**table) {
                sql_query(insert)
                    .bind::<Text, _>(table)
                    .bind::<Nullable<Text>, _>(None::<String>)
                    .bind::<Nullable<Text>, _>(Some(rows.to_string()))
                    .execute(&mut connection)?;
            }
        }
        connection.batch_execute("ANALYZE sqlite_schema")?;
        Ok(Self { schema, connection })
    }

    /// The indexes that make the plan of `sql` better; none if it is good or no index helps.
    fn wanted(&mut self, sql: &str) -> QueryResult<Vec<Found>> {
        let before = plan(&mut self.connection, sql)?;
        let mut least = self.trouble(&before);
        let mut best = Vec::new();
        if least == 0 {
            return Ok(best);
        }
        let candidates = self.candidates(sql, &before);
        // One that is enough, or else what the planner picks out of all: a join may need two.
        let single = candidates.chunks(1);
        for tried in single.chain([&*candidates]) {
            if tried.len() > 1 && !best.is_empty() {
                break;
            }
            let (after, used) = self.plan_with(sql, tried)?;
            let left = self.trouble(&after);
            if left < least && !used.is_empty() {
                least = left;
                let found = |index| Found {
                    index,
                    before: before.clone(),
                    after: after.clone(),
                };
                best = used.into_iter().map(found).collect();
            }
        }
        Ok(best)
    }

    /// The plan with these indexes, and those that it uses.
    fn plan_with(
        &mut self,
        sql: &str,
        tried: &[SuggestedIndex],
    ) -> QueryResult<(Vec<String>, Vec<SuggestedIndex>)> {
        let name = |at: usize| format!("{CANDIDATE}{at}_");
        for (at, index) in tried.iter().enumerate() {
            let (name, table) = (name(at), index.table_sql());
            let create = format!("CREATE INDEX {name} ON {table} {}", index.columns_sql());
            // What is no table, or has no such column, gets none.
            drop(self.connection.batch_execute(&create));
        }
        let planned = plan(&mut self.connection, sql);
        for at in 0..tried.len() {
            let drop = format!("DROP INDEX IF EXISTS {}", name(at));
            self.connection.batch_execute(&drop)?;
        }
        let planned = planned?;
        let used = |at: usize| planned.iter().any(|step| step.contains(&name(at)));
        let used = tried.iter().enumerate().filter(|(at, _)| used(*at));
        let used = used.map(|(_, index)| index.clone()).collect();
        Ok((planned, used))
    }

    /// How many steps of a plan read a big table from end to end, build an index for themselves, or sort.
    fn trouble(&self, plan: &[String]) -> usize {
        let weight = |step: &String| {
            if step.contains(" AUTOMATIC ") {
                return 2;
            }
            if let Some(scanned) = step.strip_prefix("SCAN ") {
                let name = scanned.split(" USING ").next().unwrap_or(scanned);
                let indexed = scanned.contains(" USING ") || scanned.contains("VIRTUAL TABLE");
                // An alias hides the table; then the biggest one counts.
                let rows = self
                    .schema
                    .rows
                    .get(name)
                    .copied()
                    .unwrap_or_else(|| self.biggest());
                return if indexed || rows < SMALL { 0 } else { 3 };
            }
            usize::from(step.starts_with("USE TEMP B-TREE FOR ORDER BY") && self.biggest() >= SMALL)
        };
        plan.iter().map(weight).sum()
    }

    fn biggest(&self) -> u64 {
        self.schema.rows.values().copied().max().unwrap_or(0)
    }

    /// For each table that the statement names, what it compares and orders by; a few more than are useful, since the
    /// planner decides.
    fn candidates(&self, sql: &str, plan: &[String]) -> Vec<SuggestedIndex> {
        let all = words(sql);
        let mut wanted = automatic(plan);
        wanted.extend(compared(&all));
        let orders: Vec<_> = order_lists(&all).into_iter().map(ordered).collect();
        let named = |table: &str| {
            all.iter()
                .filter_map(|it| it.name())
                .any(|it| it.eq_ignore_ascii_case(table))
        };
        let mut found: Vec<SuggestedIndex> = Vec::new();
        for (table, columns) in &self.schema.columns {
            if !named(table) || self.schema.rows.get(table).copied().unwrap_or(0) < SMALL {
                continue;
            }
            let spelled = |name: &str| {
                columns
                    .iter()
                    .find(|it| it.eq_ignore_ascii_case(name))
                    .cloned()
            };
            let own: Vec<Compared> = wanted
                .iter()
                .filter_map(|it| {
                    let column = spelled(&it.column)?;
                    Some(Compared {
                        column,
                        ..it.clone()
                    })
                })
                .collect();
            let order = orders.first().into_iter().flatten();
            let order: Vec<_> = order
                .map_while(|(table, column, falls)| Some((table.clone(), spelled(column)?, *falls)))
                .collect();
            let of_table = candidates(&own, &order);
            let single = own.iter().map(|it| vec![(it.column.clone(), false)]);
            for columns in of_table.into_iter().chain(single) {
                let index = SuggestedIndex::new("", table, columns);
                if found.len() < MOST && !found.contains(&index) {
                    found.push(index);
                }
            }
        }
        found
    }
}

/// The columns of the indexes that SQLite would build for itself: `SEARCH p USING AUTOMATIC COVERING INDEX (a=? AND b>?)`.
fn automatic(plan: &[String]) -> Vec<Compared> {
    let mut found = Vec::new();
    for step in plan.iter().filter(|step| step.contains(" AUTOMATIC ")) {
        let Some((_, columns)) = step.rsplit_once('(') else {
            continue;
        };
        for part in columns.trim_end_matches(')').split(" AND ") {
            let end = part.find(['=', '<', '>']).unwrap_or(part.len());
            let how = if part[end..].starts_with('=') {
                How::Equal
            } else {
                How::Range
            };
            found.push(Compared {
                qualifier: None,
                column: part[..end].trim().to_owned(),
                how,
            });
        }
    }
    found
}

/// The steps of a plan, outer ones first.
pub(super) fn plan(
    connection: &mut diesel::SqliteConnection,
    sql: &str,
) -> QueryResult<Vec<String>> {
    let steps: Vec<Step> = sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(connection)?;
    Ok(steps.into_iter().map(|step| step.detail).collect())
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Reading a table of fewer rows is as quick as any index.
const SMALL: u64 = 1_000;
/// The most candidates for one statement.
const MOST: usize = 12;
const CANDIDATE: &str = "db_pool_candidate_";

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let columns = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Schema {
            sql: vec![
                "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)".to_owned(),
                "CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INT, Title TEXT, at INT)"
                    .to_owned(),
                "CREATE TABLE tiny (a, b)".to_owned(),
                "CREATE VIRTUAL TABLE odd USING nothing_like_this".to_owned(),
            ],
            columns: BTreeMap::from([
                ("users".to_owned(), columns(&["id", "email", "name"])),
                (
                    "posts".to_owned(),
                    columns(&["id", "author_id", "Title", "at"]),
                ),
                ("tiny".to_owned(), columns(&["a", "b"])),
            ]),
            rows: BTreeMap::from([
                ("users".to_owned(), 50_000),
                ("posts".to_owned(), 200_000),
                ("tiny".to_owned(), 5),
            ]),
            stats: Vec::new(),
        }
    }

    fn told(sql: &str) -> Vec<String> {
        let statement = StatementNumbers {
            sql: "the form".to_owned(),
            sent: sql.to_owned(),
            ..StatementNumbers::default()
        };
        let told = examine(&schema(), &[statement]);
        let shown = |it: Finding| it.todo.first().map(ToString::to_string).unwrap_or_default();
        told.findings
            .into_iter()
            .map(shown)
            .chain(told.notes)
            .collect()
    }

    #[test]
    fn an_index_is_advised_when_the_planner_would_use_it() {
        for (sql, expected) in [
            (
                "SELECT name FROM users WHERE email = ?",
                r#"CREATE INDEX "users_email_idx" ON "users" ("email");"#,
            ),
            (
                "SELECT id FROM posts p WHERE p.author_id = ?1 AND p.at > ?2",
                r#"CREATE INDEX "posts_author_id_at_idx" ON "posts" ("author_id", "at");"#,
            ),
            (
                "SELECT id FROM posts WHERE author_id = ? ORDER BY at DESC LIMIT 10",
                r#"CREATE INDEX "posts_author_id_at_idx" ON "posts" ("author_id", "at" DESC);"#,
            ),
            (
                "SELECT id FROM posts ORDER BY TITLE LIMIT 10",
                r#"CREATE INDEX "posts_Title_idx" ON "posts" ("Title");"#,
            ),
        ] {
            assert_eq!(told(sql), [expected], "{sql}");
        }
        let joined =
            told("SELECT u.name FROM users u JOIN posts p ON u.id = p.author_id WHERE u.email = ?");
        let both = [
            r#"CREATE INDEX "posts_author_id_idx" ON "posts" ("author_id");"#,
            r#"CREATE INDEX "users_email_idx" ON "users" ("email");"#,
        ];
        assert_eq!(joined, both, "neither alone would do");
    }

    #[test]
    fn good_plans_small_tables_and_what_no_index_serves_give_nothing() {
        for sql in [
            "SELECT name FROM users WHERE id = ?",
            "SELECT a FROM tiny WHERE b = 1",
            "SELECT name FROM users WHERE lower(email) = ?",
            "SELECT name FROM users WHERE email LIKE '%x'",
        ] {
            assert_eq!(told(sql), [""; 0], "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_explained_is_a_note_without_its_text() {
        assert_eq!(
            told("SELECT secret FROM odd"),
            ["the plan of `the form`: it could not be explained"]
        );
    }
}
