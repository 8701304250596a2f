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
    advice.of_kind(kind).map(one).collect::<Vec<_>>().join("\n")
}
