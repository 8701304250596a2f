//! Search by words, with everything that a user may type.

use reference_service::domain::{Record, RecordFilter};

use super::fixture::{Fixture, Never, found, on_sqlite, record};

on_both! {
    a_search_finds_records_that_contain_every_word,
    no_text_that_a_user_types_is_an_error,
    the_word_index_follows_changes_and_deletions,
}

async fn a_search_finds_records_that_contain_every_word(db: Fixture) {
    db.store
        .insert_records(&[
            record("Tides", "Follow the Moon, twice a day", &["sea"]),
            record(
                "Moon phases",
                "eight of them; see https://moon.example.org/phases-of/2026",
                &["sky"],
            ),
            record(
                "libdfu1",
                "CCP4 core 1.81 C++ naïve ÉTÉ don't_stop Größe—“ЖУК”…東京。",
                &["lib"],
            ),
        ])
        .await
        .unwrap();

    for (query, expected) in [
        ("moon", &["Moon phases", "Tides"][..]),
        ("MOON follow", &["Tides"]),
        ("day tides", &["Tides"]),
        ("moon sun", &[]),
        ("moo", &[]),
        ("example", &["Moon phases"]),
        ("phases-of", &["Moon phases"]),
        ("2026", &["Moon phases"]),
        ("moon.example.org", &["Moon phases"]),
        ("LIBDFU1", &["libdfu1"]),
        ("1.81 c++", &["libdfu1"]),
        ("naïve", &["libdfu1"]),
        ("naive", &[]),
        ("été", &["libdfu1"]),
        ("stop don", &["libdfu1"]),
        ("größe жук", &["libdfu1"]),
        ("GRÖSSE", &[]),
        ("東京", &["libdfu1"]),
    ] {
        assert_eq!(found(&db.store, query).await, expected, "{query}");
    }

    let filter = RecordFilter {
        tag: Some("sky".to_owned()),
        query: Some("moon".to_owned()),
        min_importance: Some(3),
    };
    let both = db.store.records(&filter, None, 9).await.unwrap();
    assert_eq!(
        both.iter()
            .map(|record| record.title.as_str())
            .collect::<Vec<_>>(),
        ["Moon phases"]
    );
    let behind = db
        .store
        .records(&filter, Some(&both[0].key()), 9)
        .await
        .unwrap();
    assert_eq!(behind, []);
}

async fn no_text_that_a_user_types_is_an_error(db: Fixture) {
    db.store
        .insert_record(&record("alpha", "beta gamma or near not", &[]))
        .await
        .unwrap();
    for hostile in [
        "",
        " ",
        "\"",
        "'",
        "\"alpha",
        "alpha\"",
        "'; DROP TABLE records; --",
        "alpha AND",
        "OR",
        "NOT beta",
        "alpha OR",
        "NEAR(alpha beta)",
        "alpha*",
        "*",
        "^alpha",
        "title:alpha",
        "-alpha",
        "(alpha",
        ")",
        "{alpha}: beta",
        "alpha + beta",
        "a & b | !c",
        "<->",
        "\\",
        "%",
        "_",
        "\0",
        "alpha\0beta",
        "🙂",
        "👩‍👩‍👧‍👦 alpha",
        "\u{202e}alpha",
        "\u{feff}",
        "ﬁ",
        "İ",
        "ß",
        "१२३",
        "alpha'\"",
    ] {
        let filter = RecordFilter {
            query: Some(hostile.to_owned()),
            ..Default::default()
        };
        let answer = db.store.records(&filter, None, 5).await;
        assert!(answer.is_ok(), "{hostile:?}: {answer:?}");
    }
    let long = "x".repeat(10_000);
    let many = "alpha ".repeat(2_000);
    let different: String = (0..2_000).map(|number| format!("w{number} ")).collect();
    let quotes = "\"".repeat(10_000);
    for (query, expected) in [(&long, 0), (&many, 1), (&different, 0), (&quotes, 0)] {
        assert_eq!(found(&db.store, query).await.len(), expected);
    }
    // Operators are words like any other.
    assert_eq!(found(&db.store, "alpha OR beta").await, ["alpha"]);
    assert_eq!(found(&db.store, "NOT near").await, ["alpha"]);
    assert_eq!(found(&db.store, "alpha AND").await, [""; 0]);
}

async fn the_word_index_follows_changes_and_deletions(db: Fixture) {
    let one = record("one", "apple", &[]);
    db.store.insert_record(&one).await.unwrap();
    db.store
        .insert_record(&record("two", "apple", &[]))
        .await
        .unwrap();
    let update = db.store.update_record(one.id, None, |record| {
        record.text = "pear".to_owned();
        Ok::<_, Never>(())
    });
    update.await.unwrap();
    assert_eq!(found(&db.store, "apple").await, ["two"]);
    assert_eq!(found(&db.store, "pear one").await, ["one"]);
    db.store.delete_record(one.id, None).await.unwrap();
    assert_eq!(found(&db.store, "pear").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_keeps_the_word_index_of_sqlite_right() {
    on_sqlite(async |db: Fixture| {
        let records: Vec<Record> = ["a", "b", "c", "d"]
            .map(|title| record(title, &format!("word {title}{title}"), &[]))
            .into();
        db.store.insert_records(&records).await.unwrap();
        db.store.delete_record(records[1].id, None).await.unwrap();
        db.sql("VACUUM").await;
        assert_eq!(found(&db.store, "cc").await, ["c"]);
        assert_eq!(found(&db.store, "word").await, ["d", "c", "a"]);
        db.sql("INSERT INTO records_words (records_words, rank) VALUES ('integrity-check', 1)")
            .await;
    })
    .await;
}
