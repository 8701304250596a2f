//! Many rows inserted at once: every type and NULL, any number of rows, conflicts, errors, and dropped futures.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

diesel::table! {
    #[sql_name = "odd \" things"]
    things (id) {
        id -> Integer,
        count -> BigInt,
        name -> Text,
        good -> Bool,
        weight -> Nullable<Double>,
        #[sql_name = "no \"te"]
        note -> Nullable<Text>,
    }
}

/// As a row is inserted, and as it is read.
type Thing<S> = (i32, i64, S, bool, Option<f64>, Option<S>);

const CREATE: &str = "CREATE TABLE \"odd \"\" things\" (id INT PRIMARY KEY, count BIGINT NOT NULL, \
    name TEXT NOT NULL UNIQUE, good BOOL NOT NULL, weight DOUBLE PRECISION, \"no \"\"te\" TEXT)";

fn some() -> Vec<Thing<String>> {
    let long = "x".repeat(100_000);
    vec![
        (1, i64::MIN, "ünï, '{}\" \\".into(), true, Some(1.5), None),
        (2, i64::MAX, String::new(), false, None, Some("NULL".into())),
        (-3, 0, long.clone(), true, Some(-0.0), Some(long)),
    ]
}

fn many(count: i32) -> impl Iterator<Item = (i32, i64, String, bool)> {
    (0..count).map(|n| (n, n.into(), n.to_string(), n % 2 == 0))
}
