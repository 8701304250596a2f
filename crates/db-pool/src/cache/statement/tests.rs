//! What statements are understood to do, and that nothing they name is missed.

use proptest::prelude::*;

use super::*;

fn parse(sql: &str) -> Statement {
    Statement::parse(sql, BackendKind::Postgres)
}

fn written(sql: &str) -> String {
    match parse(sql).targets {
        Targets::Only(names) => names.into_iter().collect::<Vec<_>>().join(" "),
        Targets::All => "*".to_owned(),
    }
}

#[test]
fn the_tables_that_a_statement_writes_are_those_behind_its_verbs() {
    for (sql, names) in [
        ("SELECT 1 FROM t FOR NO KEY UPDATE OF t", ""),
        ("insert into \"S\".\"T\" (a) select update.b from u", "t"),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 2",
            "t",
        ),
        ("UPDATE ONLY (a.t) SET x = y FROM u", "t"),
        ("UPDATE set SET a = 1", "set"),
        ("DELETE FROM a USING b WHERE a.x = b.x RETURNING *", "a"),
        (
            "WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d",
            "a b",
        ),
        (
            "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET a = 1 \
          WHEN NOT MATCHED THEN INSERT (a) VALUES (1) WHEN MATCHED THEN DELETE",
            "t",
        ),
        ("TRUNCATE TABLE ONLY a, b.c *, d RESTART IDENTITY", "a c d"),
        ("TRUNCATE a CASCADE", "*"),
        ("COPY t (a) FROM STDIN", "t"),
        ("COPY t TO STDOUT", ""),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "t"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", "m"),
        ("EXPLAIN (ANALYZE) UPDATE t SET a = 1", "t"),
        ("EXPLAIN ANALYZE EXECUTE p", "*"),
        ("SELECT a INTO b FROM c", "*"),
        ("ALTER TABLE t ADD a INT", "*"),
        ("CREATE UNIQUE INDEX i ON t (a)", ""),
        ("DO $$ BEGIN END $$", "*"),
        ("SELECT 'it''s UPDATE x' /* DELETE FROM y */ AS update", ""),
        ("SELECT 'unclosed", "*"),
        ("SET search_path TO a", ""),
        ("GRANT SELECT ON t TO u", "*"),
    ] {
        assert_eq!(written(sql), names, "{sql}");
    }
    for (sql, names) in [
        ("REPLACE INTO [t] VALUES (replace('a', 'b', 'c'))", "t"),
        ("INSERT OR REPLACE INTO `t` DEFAULT VALUES", "t"),
        ("UPDATE OR IGNORE t SET a = 1", "t"),
    ] {
        let only = Targets::Only([names.into()].into());
        assert_eq!(
            Statement::parse(sql, BackendKind::Sqlite).targets,
            only,
            "{sql}"
        );
    }
}

#[test]
fn a_text_begins_or_ends_a_transaction_only_if_nothing_else_in_it_writes() {
    use Control::{Begin, Commit, Mixed, None, Rollback};
    for (sql, control) in [
        ("SELECT 1; COMMIT", Commit),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL a = 1", Begin),
        ("START TRANSACTION", Begin),
        ("END", Commit),
        ("ABORT", Rollback),
        ("ROLLBACK TO SAVEPOINT a", None),
        ("RELEASE SAVEPOINT a", None),
        ("COMMIT AND CHAIN", Mixed),
        ("PREPARE TRANSACTION 'a'", Mixed),
        ("COMMIT PREPARED 'a'", None),
        ("BEGIN; DELETE FROM t", Mixed),
        ("DELETE FROM t; COMMIT", Mixed),
        ("COMMIT; BEGIN", Mixed),
        ("", None),
    ] {
        assert_eq!(parse(sql).control, control, "{sql}");
    }
    assert_eq!(written("COMMIT PREPARED 'a'"), "*");
    assert_eq!(
        Statement::parse("SAVEPOINT a", BackendKind::Sqlite).control,
        Mixed
    );
}

#[test]
fn only_single_queries_without_locks_may_be_kept() {
    for (sql, keeps) in [
        ("SELECT * FROM t", true),
        ("(VALUES (1))", true),
        ("TABLE t", true),
        ("SELECT * FROM t FOR SHARE", false),
        ("SELECT 1; SELECT 2", false),
        ("EXPLAIN SELECT 1", false),
        ("SHOW a", false),
        (
            "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
            false,
        ),
    ] {
        assert_eq!(parse(sql).query, keeps, "{sql}");
    }
}

#[test]
fn names_in_the_place_of_tables_are_found_and_expressions_are_not() {
    let sql = "WITH RECURSIVE c(n) AS (SELECT 1), d AS NOT MATERIALIZED (SELECT extract(year FROM x) FROM e) \
               SELECT trim(both ' ' FROM y) FROM a, ONLY s.b AS bb, (c CROSS JOIN f), LATERAL g(1) h \
               LEFT JOIN i ON i.x IS DISTINCT FROM z WHERE EXISTS (TABLE j)";
    let tables: Vec<_> = parse(sql).tables.into_iter().collect();
    assert_eq!(tables.join(" "), "a b e f i");
    let called: Vec<_> = parse(sql).called.into_iter().collect();
    assert_eq!(called.join(" "), "extract g trim");
}

/// A table's name as people write it, and as it compares.
fn table() -> impl Strategy<Value = (String, Box<str>)> {
    let plain = "[a-z]{1,6}_[0-9]".prop_map(|name| (name.clone(), name));
    let quoted = "[A-Za-z '.;()-]{1,8}x".prop_map(|name| (format!("\"{name}\""), name));
    let schema = prop_oneof![Just(""), Just("s."), Just("\"S;\" . ")];
    (schema, prop_oneof![plain, quoted]).prop_map(|(schema, (text, name))| {
        (
            format!("{schema}{text}"),
            crate::cache::tokens::normal(&name),
        )
    })
}

fn noise() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(" "),
        Just("\n-- UPDATE no SET a = 'b\n"),
        Just(" /* it's /* nested */ DELETE FROM no; */ "),
        Just("\t"),
    ]
}

proptest! {
    #[test]
    fn no_table_of_a_generated_statement_is_missed(
        (a, a_name) in table(), (b, b_name) in table(), (c, c_name) in table(),
        n in noise(), shape in 0..9_usize,
    ) {
        let read = format!("SELECT 'x'' FROM y', $$ ; $${n}FROM{n}{a}{n}t1 JOIN{n}{b} AS t2 ON true, {c} t3");
        let (sql, writes) = match shape {
            0 => (read, false),
            1 => (format!("WITH e AS ({read}){n}SELECT * FROM e"), false),
            2 => (format!("SELECT (SELECT 1 FROM {a}), 2 FROM (SELECT * FROM{n}{b}) s WHERE x IN (TABLE {c})"), false),
            3 => (format!("INSERT{n}INTO{n}{a} (x) SELECT 1 FROM {b}, {c}"), true),
            4 => (format!("UPDATE{n}{a} t SET x = ';'{n}FROM {b} JOIN {c} USING (x)"), true),
            5 => (format!("DELETE{n}FROM ONLY {a} USING{n}{b}, {c} WHERE 'y' = $1"), true),
            6 => (format!("MERGE INTO {a} t USING (SELECT * FROM {b}, {c}) u ON true WHEN MATCHED THEN DELETE"), true),
            7 => (format!("WITH d AS ({n}DELETE FROM {a}{n}RETURNING *) SELECT * FROM d, {b}, {c}"), true),
            _ => (format!("SELECT 1 FROM {b}, {c};{n}TRUNCATE{n}{a}"), true),
        };
        let seen = parse(&sql);
        for name in [&a_name, &b_name, &c_name] {
            prop_assert!(
                seen.mentioned.contains(name) || matches!(seen.targets, Targets::All)
                    || matches!(&seen.targets, Targets::Only(names) if names.contains(name)),
                "{} in {}", name, sql
            );
        }
        match &seen.targets {
            Targets::Only(names) if writes => prop_assert!(names.contains(&a_name), "{}", sql),
            Targets::Only(names) => prop_assert!(names.is_empty() && seen.query, "{}", sql),
            Targets::All => prop_assert!(false, "understood: {}", sql),
        }
    }

    #[test]
    fn no_text_makes_it_panic(words in prop::collection::vec(
        prop_oneof![
            "(SELECT|FROM|UPDATE|DELETE|INSERT|INTO|MERGE|WITH|AS|ONLY|COPY|TRUNCATE|REFRESH|VIEW|OR|THEN|SET|END)",
            "[(),.;*a'\"$]",
        ], 0..24,
    )) {
        for text in [words.join(" "), words.concat()] {
            for kind in [BackendKind::Postgres, BackendKind::Sqlite] {
                let _ = Statement::parse(&text, kind);
                let _ = body_writes(&text, &|_| true);
            }
        }
    }
}
