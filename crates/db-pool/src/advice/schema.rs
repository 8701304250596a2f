//! From what a database tells of its tables and indexes to indexes that are missing, needless or broken.

use std::time::Duration;

use super::finding::{Finding, FindingKind as Kind, Severity, SuggestedIndex, Value};
use super::input::{ForeignKey, IndexNumbers};
use crate::sql::quote;

pub(super) fn foreign_keys(keys: &[ForeignKey]) -> Vec<Finding> {
    keys.iter()
        .map(|key| {
            let severity = if key.rows > BIG {
                Severity::Warning
            } else {
                Severity::Hint
            };
            let effect = if key.cascades {
                "each DELETE there reads and changes the whole table"
            } else {
                "each DELETE there and each join read the whole table"
            };
            let what = format!(
                "the foreign key {} of {} to {} has no index: {effect}",
                key.name,
                shown(&key.schema, &key.table),
                key.parent
            );
            let columns = key
                .columns
                .iter()
                .map(|name| (name.clone(), false))
                .collect();
            let index = SuggestedIndex::new(&key.schema, &key.table, columns);
            let mut finding = Finding::new(severity, Kind::UnindexedForeignKey, what)
                .with("rows", Value::Count(key.rows))
                .sql(index.create_sql());
            finding.index = Some(index);
            finding
        })
        .collect()
}

/// Needless and broken indexes; `age` is how long uses have been counted, if they are.
pub(super) fn indexes(
    all: &[IndexNumbers],
    age: Option<Duration>,
    concurrently: bool,
) -> Vec<Finding> {
    let drop = |index: &IndexNumbers| {
        let how = if concurrently { "CONCURRENTLY " } else { "" };
        let schema = match &*index.schema {
            "" => String::new(),
            schema => format!("{}.", quote(schema)),
        };
        format!("DROP INDEX {how}{schema}{}", quote(&index.name))
    };
    let mut findings = Vec::new();
    for index in all {
        let (name, table) = (&index.name, shown(&index.schema, &index.table));
        let finding = if !index.valid {
            if index.building {
                continue;
            }
            let what = format!(
                "index {name} of {table} is invalid: it costs with each write and is never used"
            );
            Finding::new(Severity::Warning, Kind::InvalidIndex, what)
        } else if let Some(better) = redundant(index, all) {
            let what = format!(
                "index {name} of {table} is needless: {} begins with the same columns",
                better.name
            );
            Finding::new(Severity::Hint, Kind::RedundantIndex, what)
                .with("columns", Value::Text(index.columns.join(", ")))
                .with("there", Value::Text(better.columns.join(", ")))
        } else if is_unused(index, age) {
            let what = format!("index {name} of {table} is not used");
            Finding::new(Severity::Hint, Kind::UnusedIndex, what)
                .with("scans", Value::Count(0))
                .with_some("within", age.map(Value::time))
                .code("replicas count for themselves: look there too before dropping it")
        } else {
            continue;
        };
        let finding = finding.with_some("size", index.bytes.map(Value::Bytes));
        findings.push(finding.sql(drop(index)));
    }
    findings
}

/// The index that can do all that this one does.
fn redundant<'a>(index: &IndexNumbers, all: &'a [IndexNumbers]) -> Option<&'a IndexNumbers> {
    if index.constraint {
        return None;
    }
    all.iter().find(|other| {
        let same_table = other.table == index.table && other.schema == index.schema;
        let longer = other.columns.len() > index.columns.len();
        let equal = other.columns == index.columns;
        // Of two that are equal one stays: the one that a constraint needs, the unique one, the first by name.
        let rank = |it: &IndexNumbers| (!it.constraint, !it.unique);
        let stays = (rank(other), &other.name) < (rank(index), &index.name);
        // What keeps rows apart is never made needless by something longer.
        let replaces =
            (equal && (!index.unique || other.unique) && stays) || (longer && !index.unique);
        let ready = other.valid && other.name != index.name;
        same_table
            && ready
            && replaces
            && other.rest == index.rest
            && other.columns.starts_with(&index.columns)
    })
}

fn is_unused(index: &IndexNumbers, age: Option<Duration>) -> bool {
    let long_enough = age.is_some_and(|age| age >= UNUSED_AFTER);
    let large = index.bytes.is_none_or(|bytes| bytes >= 64 * 1024);
    let needed = index.unique || index.constraint || index.serves_key;
    long_enough && large && index.scans == Some(0) && !needed
}

pub(super) fn shown(schema: &str, table: &str) -> String {
    if schema.is_empty() || schema == "public" {
        table.to_owned()
    } else {
        format!("{schema}.{table}")
    }
}

/// Reading fewer rows than this from end to end is quick.
pub(super) const BIG: u64 = 10_000;
const UNUSED_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, columns: &[&str]) -> IndexNumbers {
        IndexNumbers {
            schema: "public".to_owned(),
            table: "posts".to_owned(),
            name: name.to_owned(),
            columns: columns.iter().map(|it| (*it).to_owned()).collect(),
            valid: true,
            bytes: Some(1 << 20),
            scans: Some(7),
            ..IndexNumbers::default()
        }
    }

    fn told(all: &[IndexNumbers], age: Option<Duration>) -> Vec<String> {
        let shown =
            |it: Finding| format!("{:?}: {}", it.kind, it.todo.last().expect("a statement"));
        indexes(all, age, true).into_iter().map(shown).collect()
    }

    #[test]
    fn of_indexes_that_begin_alike_the_shorter_one_is_needless() {
        let all = [
            index("a", &["x"]),
            index("b", &["x", "y"]),
            index("c", &["y"]),
        ];
        assert_eq!(
            told(&all, None),
            [r#"RedundantIndex: DROP INDEX CONCURRENTLY "public"."a";"#]
        );
        let twins = [index("a", &["x"]), index("b", &["x"])];
        assert_eq!(
            told(&twins, None),
            [r#"RedundantIndex: DROP INDEX CONCURRENTLY "public"."b";"#]
        );
    }

    #[test]
    fn what_keeps_rows_apart_or_differs_in_its_condition_is_not_needless() {
        let unique = IndexNumbers {
            unique: true,
            ..index("a", &["x"])
        };
        assert!(told(&[unique.clone(), index("b", &["x", "y"])], None).is_empty());
        let told_twin = told(&[unique, index("aa", &["x"])], None);
        assert_eq!(
            told_twin,
            [r#"RedundantIndex: DROP INDEX CONCURRENTLY "public"."aa";"#]
        );
        let partial = IndexNumbers {
            rest: "WHERE z".to_owned(),
            ..index("b", &["x", "y"])
        };
        assert!(told(&[index("a", &["x"]), partial], None).is_empty());
        let broken = IndexNumbers {
            valid: false,
            ..index("b\"b", &["x", "y"])
        };
        let told_broken = told(&[index("a", &["x"]), broken], None);
        assert_eq!(
            told_broken,
            [r#"InvalidIndex: DROP INDEX CONCURRENTLY "public"."b""b";"#]
        );
    }

    #[test]
    fn unused_means_counted_for_two_weeks_and_not_needed_by_a_constraint() {
        let idle = IndexNumbers {
            scans: Some(0),
            ..index("a", &["x"])
        };
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(told(std::slice::from_ref(&idle), days(15)).len(), 1);
        assert!(told(std::slice::from_ref(&idle), days(13)).is_empty());
        assert!(told(std::slice::from_ref(&idle), None).is_empty());
        let unique = IndexNumbers {
            unique: true,
            ..idle.clone()
        };
        let of_key = IndexNumbers {
            serves_key: true,
            ..idle.clone()
        };
        assert!(told(&[of_key], days(99)).is_empty());
        let unknown = IndexNumbers {
            scans: None,
            ..idle
        };
        assert!(told(&[unique], days(99)).is_empty() && told(&[unknown], days(99)).is_empty());
    }

    #[test]
    fn a_foreign_key_gets_the_statement_that_indexes_it() {
        let key = ForeignKey {
            schema: "public".to_owned(),
            table: "posts".to_owned(),
            name: "posts_author_id_fkey".to_owned(),
            columns: vec!["author_id".to_owned()],
            parent: "users".to_owned(),
            rows: 20_000,
            cascades: true,
        };
        let found = foreign_keys(&[key]);
        assert_eq!(found[0].severity, Severity::Warning);
        let sql = r#"CREATE INDEX CONCURRENTLY ON "public"."posts" ("author_id");"#;
        assert_eq!(found[0].todo[0].to_string(), sql);
    }
}
