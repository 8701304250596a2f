//! SQLite: indexes from the schema table and its pragmas, created on the writer.

use std::collections::BTreeMap;

use diesel::query_builder::{QueryFragment, QueryId};
use diesel::sql_types::{Bool, Integer, Nullable, Text};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::compare::{Existing, state};
use super::report::{IndexError, IndexReport, IndexState};
use super::usage::{Asked, Explain, Explained, IndexNotUsed};
use super::{Index, Indexed, report};
use crate::pool::Pool;
use crate::sql::{placed, quote};
use crate::sqlite::Sqlite;

impl Indexed for Sqlite {
    async fn check(pool: &Pool<Self>, declared: &[Index]) -> Result<IndexReport, IndexError> {
        let mut lane = pool.read().await?;
        let tables = sql_query(TABLES).load(&mut lane).await;
        let rows = sql_query(INDEXES).load(&mut lane).await;
        let found = Found::new(tables, rows).map_err(IndexError::Catalog)?;
        Ok(report(declared, |index| found.state(index)))
    }

    async fn ensure(pool: &Pool<Self>, declared: &[Index]) -> Result<IndexReport, IndexError> {
        let found = Self::check(pool, declared).await?;
        if found
            .entries
            .iter()
            .all(|it| it.state != IndexState::Missing)
        {
            return Ok(found);
        }
        let mut writer = pool.acquire().await?;
        let mut made = Vec::new();
        for (index, entry) in declared.iter().zip(found.entries) {
            if entry.state != IndexState::Missing {
                made.push(entry.state);
                continue;
            }
            let name = index.name();
            let here = Index {
                schema: None,
                ..*index
            };
            // Another process may have created it since; the name says that it is the same.
            let sql = here.create_sql("IF NOT EXISTS ", &quote(&name));
            let created = writer.batch_execute(&sql).await;
            created.map_err(|error| IndexError::Create {
                name: name.clone(),
                declared: index.to_string(),
                source: error.into(),
            })?;
            tracing::info!(name, declared = %index, "index created");
            made.push(IndexState::Created { name });
        }
        let mut made = made.into_iter();
        let entries = declared.iter().filter_map(|index| {
            Some(super::IndexEntry {
                declared: index.to_string(),
                state: made.next()?,
            })
        });
        Ok(IndexReport {
            entries: entries.collect(),
        })
    }
}

/// Tables by their name in lower case, as SQLite compares names without regard to case.
struct Found(BTreeMap<String, Vec<Existing>>);

impl Found {
    fn new(tables: QueryResult<Vec<Table>>, rows: QueryResult<Vec<Row>>) -> QueryResult<Self> {
        let mut found: BTreeMap<String, Vec<Existing>> = tables?
            .into_iter()
            .map(|table| (table.name.to_lowercase(), Vec::new()))
            .collect();
        for row in rows? {
            let of_table = found.entry(row.table_name.to_lowercase()).or_default();
            if of_table.last().is_none_or(|index| index.name != row.name) {
                of_table.push(Existing {
                    name: row.name,
                    unique: row.is_unique,
                    filter: row.sql.as_deref().and_then(condition),
                    valid: true,
                    ..Existing::default()
                });
            }
            if let Some(index) = of_table.last_mut() {
                index.columns.push((row.column_name, row.descending));
            }
        }
        Ok(Self(found))
    }

    fn state(&self, declared: &Index) -> IndexState {
        let of_table = self.0.get(&declared.table.to_lowercase());
        let spelled = |name: String| {
            let same = |wanted: &&&str| wanted.eq_ignore_ascii_case(&name);
            let wanted = declared.columns.iter().find(same);
            wanted.map_or_else(|| name.clone(), |wanted| (*wanted).to_owned())
        };
        let existing: Option<Vec<Existing>> = of_table.map(|all| {
            let mut all = all.clone();
            for (name, _) in all.iter_mut().flat_map(|index| &mut index.columns) {
                *name = name.take().map(spelled);
            }
            all
        });
        state(declared, existing.as_deref())
    }
}

/// What stands behind `WHERE` in a `CREATE INDEX`.
fn condition(sql: &str) -> Option<String> {
    let words = placed(sql);
    let (_, begin) = words.iter().find(|(word, _)| word.is("where"))?;
    Some(sql[begin.end..].trim().to_owned())
}

impl Explain for Sqlite {
    async fn explain<Q>(pool: &Pool<Self>, query: Q, index: &str) -> Result<Explained, IndexNotUsed>
    where
        Q: QueryFragment<diesel::sqlite::Sqlite> + QueryId + Send,
    {
        let mut lane = pool.read().await?;
        // First: EXPLAIN does not look whether the schema has changed since this connection read it; this does.
        let found: Vec<Table> = sql_query(NAMED)
            .bind::<Text, _>(index)
            .load(&mut lane)
            .await?;
        let asked = Asked::<_, Step>::new("EXPLAIN QUERY PLAN ", query);
        let steps: Vec<(i32, i32, i32, String)> = asked.load(&mut lane).await?;
        let uses = |detail: &str| {
            let names = ["USING INDEX ", "USING COVERING INDEX "].map(|how| detail.split_once(how));
            names.into_iter().flatten().any(|(_, rest)| {
                let rest = rest.strip_prefix(index);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
            })
        };
        let used = steps.iter().any(|(.., detail)| uses(detail));
        let plan: Vec<String> = steps.into_iter().map(|(.., detail)| detail).collect();
        Ok(Explained {
            used,
            exists: !found.is_empty(),
            plan: plan.join("\n"),
        })
    }
}

/// The rows of `EXPLAIN QUERY PLAN`: id, parent, unused, text.
type Step = (Integer, Integer, Integer, Text);

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

/// One column of one index.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_unique: bool,
    #[diesel(sql_type = Nullable<Text>)]
    sql: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    column_name: Option<String>,
    #[diesel(sql_type = Bool)]
    descending: bool,
}

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table'";

const NAMED: &str = "SELECT name FROM sqlite_schema WHERE type = 'index' AND name = ?";

const INDEXES: &str = "\
SELECT m.name AS table_name, l.name AS name, l.\"unique\" AS is_unique, s.sql AS sql,
       x.name AS column_name, x.\"desc\" AS descending
FROM sqlite_schema m
JOIN pragma_index_list(m.name) l
JOIN pragma_index_xinfo(l.name) x
LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name
WHERE m.type = 'table' AND x.key
ORDER BY table_name, name, x.seqno";
