//! SQLite's part of the advice: foreign keys and indexes by pragmas, and plans in a copy of the schema.

use std::collections::BTreeMap;

use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite as Db;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tokio::time::{Instant, timeout_at};

use super::input::{ForeignKey, IndexNumbers};
use super::sqlite_copy::{Schema, Stat};
use super::trial::{IndexTrial, Trial, TrialError};
use super::{Advised, Costly, Told, schema, sqlite_copy};
use crate::lane::Lane;
use crate::pool::Pool;
use crate::sql::quote;
use crate::sqlite::Sqlite;

impl Advised for Sqlite {
    async fn advise(pool: &Pool<Self>, statements: &[Costly], until: Instant) -> Told {
        let mut told = Told::default();
        let lane = match timeout_at(until, pool.read()).await {
            Ok(Ok(lane)) => lane,
            Ok(Err(error)) => {
                told.notes.push(format!("the file: {error}"));
                return told;
            }
            Err(_) => {
                told.notes
                    .push("the file: no reader was free in time".to_owned());
                return told;
            }
        };
        let mut asking = Asking { lane, until, told };
        let schema = asking.schema().await;
        asking.needless(&schema).await;
        let Asking { lane, mut told, .. } = asking;
        // The copy needs no connection of the pool.
        drop(lane);
        let statements: Vec<_> = statements.iter().map(|it| it.0.clone()).collect();
        let copied =
            tokio::task::spawn_blocking(move || sqlite_copy::examine(&schema, &statements));
        match timeout_at(until, copied).await {
            Ok(Ok(examined)) => {
                told.findings.extend(examined.findings);
                told.notes.extend(examined.notes);
            }
            Ok(Err(_)) => told
                .notes
                .push("plans of statements: explaining them panicked".to_owned()),
            Err(_) => told
                .notes
                .push("plans of statements: no time was left".to_owned()),
        }
        told
    }

    async fn try_index(pool: &Pool<Self>, trial: Trial) -> Result<IndexTrial, TrialError> {
        super::sqlite_trial::try_index(pool, trial).await
    }
}

/// A reader that is asked one thing after another.
struct Asking {
    lane: Lane<Sqlite>,
    until: Instant,
    told: Told,
}

impl Asking {
    async fn rows<T>(&mut self, what: &str, sql: &str) -> Vec<T>
    where
        T: QueryableByName<Db> + Send + 'static,
    {
        if Instant::now() >= self.until {
            self.told.notes.push(format!("{what}: no time was left"));
            return Vec::new();
        }
        match timeout_at(self.until, sql_query(sql).load::<T>(&mut self.lane)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                self.told.notes.push(format!("{what}: {error}"));
                Vec::new()
            }
            Err(_) => {
                self.told.notes.push(format!("{what}: no time was left"));
                Vec::new()
            }
        }
    }

    async fn schema(&mut self) -> Schema {
        let made = self.rows::<Made>("the schema", SCHEMA).await;
        let analysed = made.iter().any(|it| it.name == "sqlite_stat1");
        let columns = self.rows::<Column>("columns", COLUMNS).await;
        let stats: Vec<Stat> = if analysed {
            self.rows("statistics", STATS).await
        } else {
            Vec::new()
        };
        let mut schema = Schema {
            sql: made.iter().filter_map(|it| it.sql.clone()).collect(),
            ..Schema::default()
        };
        for column in columns {
            let of_table = schema.columns.entry(column.table_name).or_default();
            of_table.push(column.name);
        }
        for stat in &stats {
            // "rows, then rows for each value of the first column, ..."
            let rows = stat
                .stat
                .as_deref()
                .and_then(|it| it.split(' ').next()?.parse::<u64>().ok());
            let known = schema.rows.entry(stat.table_name.clone()).or_insert(0);
            *known = (*known).max(rows.unwrap_or(0));
        }
        schema.stats = stats;
        let unknown = schema
            .columns
            .keys()
            .filter(|table| !schema.rows.contains_key(*table));
        let unknown: Vec<String> = unknown.take(MOST_COUNTED).cloned().collect();
        for table in unknown {
            let sql = format!(
                "SELECT count(*) AS n FROM (SELECT 1 FROM {} LIMIT {COUNTED})",
                quote(&table)
            );
            let counted = self.rows::<Count>("rows", &sql).await;
            if let Some(count) = counted.into_iter().next() {
                schema
                    .rows
                    .insert(table, u64::try_from(count.n).unwrap_or(0));
            }
        }
        schema
    }

    /// Foreign keys without an index, and indexes without a need.
    async fn needless(&mut self, schema: &Schema) {
        let all = self.rows::<IndexColumn>("indexes", INDEXES).await;
        let mut indexes: Vec<IndexNumbers> = Vec::new();
        // The names of their columns in lower case, without direction and collation.
        let mut names: Vec<Vec<String>> = Vec::new();
        for row in all {
            let same = |last: &IndexNumbers| last.name == row.name && last.table == row.table_name;
            if !indexes.last().is_some_and(same) {
                names.push(Vec::new());
                indexes.push(IndexNumbers {
                    table: row.table_name,
                    name: row.name,
                    rest: row.partial.unwrap_or_default(),
                    unique: row.is_unique,
                    constraint: row.origin != "c",
                    valid: true,
                    ..IndexNumbers::default()
                });
            }
            if let (Some(last), Some(names)) = (indexes.last_mut(), names.last_mut()) {
                last.columns.push(row.shown);
                names.push(row.column_name.unwrap_or_default().to_lowercase());
            }
        }
        let found = schema::indexes(&indexes, None, false);
        self.told.findings.extend(found);
        let rows = self.rows::<KeyColumn>("foreign keys", FOREIGN_KEYS).await;
        let mut keys: BTreeMap<(String, i64), ForeignKey> = BTreeMap::new();
        for row in rows {
            let key = keys
                .entry((row.table_name.clone(), row.id))
                .or_insert_with(|| ForeignKey {
                    name: format!("({})", row.column_name),
                    rows: schema.rows.get(&row.table_name).copied().unwrap_or(0),
                    parent: row.parent,
                    cascades: row.on_delete != "NO ACTION" && row.on_delete != "RESTRICT",
                    table: row.table_name,
                    ..ForeignKey::default()
                });
            key.columns.push(row.column_name);
        }
        let primary = self.rows::<Column>("primary keys", PRIMARY_KEYS).await;
        let mut keys: Vec<ForeignKey> = keys.into_values().collect();
        keys.retain(|key| !begun_by(key, &indexes, &names) && !is_row_id(key, &primary));
        for key in &mut keys {
            key.name = format!("({})", key.columns.join(", "));
        }
        self.told.findings.extend(schema::foreign_keys(&keys));
    }
}

/// Whether an index on all rows begins with the columns of the key, in any order.
fn begun_by(key: &ForeignKey, indexes: &[IndexNumbers], names: &[Vec<String>]) -> bool {
    indexes.iter().zip(names).any(|(index, names)| {
        let here = index.table == key.table && index.rest.is_empty();
        let first = names.get(..key.columns.len()).unwrap_or_default();
        let has = |column: &String| first.contains(&column.to_lowercase());
        here && !key.columns.is_empty() && key.columns.iter().all(has)
    })
}

fn is_row_id(key: &ForeignKey, primary: &[Column]) -> bool {
    let mut own = primary.iter().filter(|it| it.table_name == key.table);
    let only = (own.next(), own.next());
    matches!((only, &*key.columns), ((Some(id), None), [column]) if id.name.eq_ignore_ascii_case(column))
}

#[derive(QueryableByName)]
struct Made {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    sql: Option<String>,
}

/// Tables before what stands on them; what SQLite makes by itself has no text.
const SCHEMA: &str = "\
SELECT name, CASE WHEN name LIKE 'sqlite\\_%' ESCAPE '\\' THEN NULL ELSE sql END AS sql FROM sqlite_schema
WHERE type IN ('table', 'index', 'view')
ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 ELSE 3 END, rowid";

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
}

const COLUMNS: &str = "\
SELECT m.name AS table_name, c.name AS name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND m.sql NOT LIKE 'CREATE VIRTUAL%'
ORDER BY 1, c.cid";

const PRIMARY_KEYS: &str = "\
SELECT m.name AS table_name, c.name AS name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
WHERE m.type = 'table' AND c.pk AND upper(c.type) = 'INTEGER' ORDER BY 1, c.pk";

const STATS: &str = "SELECT tbl AS table_name, idx AS index_name, stat FROM sqlite_stat1";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct IndexColumn {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_unique: bool,
    #[diesel(sql_type = Text)]
    origin: String,
    #[diesel(sql_type = Nullable<Text>)]
    partial: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    column_name: Option<String>,
    #[diesel(sql_type = Text)]
    shown: String,
}

/// A partial index and one on an expression are compared by their whole text, so they are never taken for others.
const INDEXES: &str = "\
SELECT m.name AS table_name, l.name AS name, l.\"unique\" AS is_unique, l.origin AS origin,
       CASE WHEN l.partial OR x.name IS NULL THEN s.sql END AS partial,
       x.name AS column_name,
       coalesce(x.name, 'an expression') || CASE WHEN x.\"desc\" THEN ' DESC' ELSE '' END
         || CASE WHEN x.coll = 'BINARY' THEN '' ELSE ' ' || x.coll END AS shown
FROM sqlite_schema m
JOIN pragma_index_list(m.name) l
JOIN pragma_index_xinfo(l.name) x
LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name
WHERE m.type = 'table' AND x.key
ORDER BY 1, 2, x.seqno";

#[derive(QueryableByName)]
struct KeyColumn {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    parent: String,
    #[diesel(sql_type = Text)]
    on_delete: String,
}

const FOREIGN_KEYS: &str = "\
SELECT m.name AS table_name, f.id AS id, f.\"from\" AS column_name, f.\"table\" AS parent, f.on_delete AS on_delete
FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f
WHERE m.type = 'table' ORDER BY 1, 2, f.seq";

/// Rows of a table without statistics are counted up to here.
const COUNTED: u64 = 100_000;
const MOST_COUNTED: usize = 50;
