//! Advice on both databases: what is found in real ones, what is left in peace, and what cannot be looked at.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use db_pool::{Advice, FindingKind};

/// The findings of one kind: the sentence and what to do.
fn told(advice: &Advice, kind: FindingKind) -> String {
    let one = |it: &db_pool::Finding| {
        let todo: Vec<String> = it.todo.iter().map(ToString::to_string).collect();
        format!("{}: {} > {}", it.severity, it.what, todo.join(" > "))
    };
    let mut all: Vec<String> = advice.of_kind(kind).map(one).collect();
    // Findings of one gravity come in the order of what statements cost, which is a matter of luck here.
    all.sort();
    all.join("\n")
}

/// What could not be looked at in the database.
fn notes(advice: &Advice) -> String {
    let of_database = |note: &&String| !note.starts_with("size of the pool");
    let all: Vec<&str> = advice
        .notes
        .iter()
        .filter(of_database)
        .map(|note| &**note)
        .collect();
    all.join("\n")
}
