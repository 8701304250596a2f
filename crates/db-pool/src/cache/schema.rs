//! Reads what the cache has to know about the schema: relations, what writing and reading them reaches, functions.

#[cfg(feature = "sqlite")]
use std::collections::BTreeSet;

use diesel::QueryResult;
use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Nullable, Text};

use super::knowledge::{Call, Relations};
use super::tokens::normal;

/// One row of any of the queries below: a word that says what it is, and two names.
#[derive(QueryableByName)]
struct Fact {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    one: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    other: Option<String>,
}

impl Fact {
    fn names(&self) -> (Box<str>, Box<str>) {
        let name = |text: &Option<String>| normal(text.as_deref().unwrap_or(""));
        (name(&self.one), name(&self.other))
    }
}

/// PostgreSQL: one query of its catalogs.
#[cfg(feature = "postgres")]
pub(crate) async fn postgres<C>(connection: &mut C) -> QueryResult<Relations>
where
    C: diesel_async::AsyncConnectionCore<Backend = diesel::pg::Pg> + Send,
{
    use diesel_async::RunQueryDsl;

    let facts: Vec<Fact> = diesel::sql_query(POSTGRES).load(connection).await?;
    let mut relations = Relations::default();
    let mut triggers = Vec::new();
    for fact in &facts {
        let (one, other) = fact.names();
        match &*fact.kind {
            "relation" => drop(relations.names.insert(one)),
            // Writing the first writes the second.
            "cascade" => relations.also_writes(one, other),
            "child" => {
                relations.also_writes(one.clone(), other.clone());
                relations.also_writes(other, one);
            }
            "view" => {
                relations.also_writes(one.clone(), other.clone());
                relations.also_reads(one, other);
            }
            "opaque" => drop(relations.opaque.insert(one)),
            "rule" => drop(relations.unbounded.insert(one)),
            "plain" => drop(relations.calls.insert(one, Call::Plain)),
            "fickle" => drop(relations.calls.insert(one, Call::Fickle)),
            "writes" => drop(relations.calls.insert(one, Call::Writes)),
            "trigger" => triggers.push((one, fact.other.as_deref().unwrap_or(""))),
            _ => {}
        }
    }
    for (table, body) in triggers {
        match super::statement::body_writes(body, &|name| relations.may_write(name)) {
            Some(written) => {
                for name in written {
                    relations.also_writes(table.clone(), name);
                }
            }
            None => drop(relations.unbounded.insert(table)),
        }
    }
    Ok(relations)
}

/// SQLite: its schema keeps the text of views and triggers, and every table that occurs there counts.
#[cfg(feature = "sqlite")]
pub(crate) async fn sqlite<C>(connection: &mut C) -> QueryResult<Relations>
where
    C: diesel_async::AsyncConnectionCore<Backend = diesel::sqlite::Sqlite> + Send,
{
    use diesel_async::RunQueryDsl;

    let facts: Vec<Fact> = diesel::sql_query(SQLITE).load(connection).await?;
    let mut relations = Relations::default();
    for fact in &facts {
        let (one, other) = fact.names();
        match &*fact.kind {
            "table" | "view" => drop(relations.names.insert(one)),
            "cascade" => relations.also_writes(one, other),
            "plain" => drop(relations.calls.insert(one, Call::Plain)),
            _ => {}
        }
    }
    for name in FICKLE {
        relations.calls.insert((*name).into(), Call::Fickle);
    }
    for fact in &facts {
        let (one, _) = fact.names();
        let mentioned = || -> BTreeSet<Box<str>> {
            let text = fact.other.as_deref().unwrap_or("");
            let names = super::statement::mentioned(text);
            // What cannot be read may name anything.
            names.map_or_else(
                || relations.names.clone(),
                |names| names.intersection(&relations.names).cloned().collect(),
            )
        };
        match &*fact.kind {
            "view" => {
                for name in mentioned() {
                    relations.also_writes(one.clone(), name.clone());
                    relations.also_reads(one.clone(), name);
                }
            }
            "trigger" => {
                for name in mentioned() {
                    relations.also_writes(one.clone(), name);
                }
            }
            _ => {}
        }
    }
    Ok(relations)
}

/// What changes without anybody writing a table.
#[cfg(feature = "sqlite")]
const FICKLE: &[&str] = &[
    "random",
    "randomblob",
    "last_insert_rowid",
    "changes",
    "total_changes",
    "load_extension",
    "sqlite_offset",
];

#[cfg(feature = "sqlite")]
const SQLITE: &str = "
SELECT type AS kind, CASE type WHEN 'trigger' THEN tbl_name ELSE name END AS one, sql AS other
  FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger')
UNION ALL
SELECT 'cascade', f.\"table\", m.name FROM sqlite_schema m, pragma_foreign_key_list(m.name) f
  WHERE m.type = 'table' AND NOT (f.on_delete IN ('NO ACTION', 'RESTRICT')
                              AND f.on_update IN ('NO ACTION', 'RESTRICT'))
UNION ALL
SELECT 'plain', name, NULL FROM pragma_function_list WHERE builtin = 1";

/// A function that comes with the server and is volatile reads or changes what is no table, but for those that run
/// SQL given as text. Of the others a volatile one may write, and a stable one may read what its call does not show.
#[cfg(feature = "postgres")]
const POSTGRES: &str = r"
WITH own AS (
  SELECT oid FROM pg_namespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\_toast%'
)
SELECT 'relation' AS kind, c.relname::text AS one, NULL::text AS other
  FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace IN (SELECT oid FROM own)
UNION ALL
SELECT DISTINCT 'cascade', p.relname::text, c.relname::text
  FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid JOIN pg_class c ON c.oid = k.conrelid
  WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
UNION ALL
SELECT 'child', p.relname::text, c.relname::text
  FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
  WHERE c.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT DISTINCT 'view', v.relname::text, t.relname::text
  FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
  JOIN pg_class t ON t.oid = d.refobjid
  WHERE v.relkind = 'v'
UNION ALL
SELECT DISTINCT 'opaque', v.relname::text, NULL
  FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_proc'::regclass
  WHERE v.relkind = 'v'
UNION ALL
SELECT DISTINCT 'rule', t.relname::text, NULL
  FROM pg_rewrite r JOIN pg_class t ON t.oid = r.ev_class
  WHERE r.rulename <> '_RETURN' AND t.relnamespace IN (SELECT oid FROM own)
UNION ALL
SELECT DISTINCT 'trigger', t.relname::text,
    CASE WHEN l.lanname = 'plpgsql' THEN f.prosrc
         WHEN f.pronamespace = 'pg_catalog'::regnamespace THEN '' ELSE 'EXECUTE' END
  FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
  JOIN pg_proc f ON f.oid = g.tgfoid JOIN pg_language l ON l.oid = f.prolang
  WHERE NOT g.tgisinternal
UNION ALL
SELECT CASE max(level) WHEN 0 THEN 'plain' WHEN 1 THEN 'fickle' ELSE 'writes' END, proname, NULL
  FROM (
    SELECT proname::text, CASE
        WHEN proname LIKE 'query\_to\_xml%' OR proname LIKE 'cursor\_to\_xml%' THEN 2
        WHEN pronamespace IN (SELECT oid FROM own) AND provolatile = 'v'
          AND proname NOT LIKE 'uuid\_generate%' AND proname NOT IN ('gen_salt', 'gen_random_bytes') THEN 2
        WHEN pronamespace IN (SELECT oid FROM own) AND provolatile <> 'i' THEN 1
        WHEN provolatile = 'v' OR proname LIKE 'pg\_%' OR proname LIKE '%\_to\_xml%' THEN 1
        ELSE 0 END AS level
    FROM pg_proc
  ) AS judged
  GROUP BY proname";
