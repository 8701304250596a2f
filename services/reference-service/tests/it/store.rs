//! The contract of the store, run against SQLite always and against PostgreSQL where
//! `TEST_DATABASE_URL` names a server on which databases may be created.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test, to panic is to report, and to print is to say what was skipped"
)]

/// Runs each contract on a fresh database of each kind.
macro_rules! on_both {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::store::fixture::on_sqlite(super::$name).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::store::fixture::on_postgres(super::$name).await;
            })+
        }
    };
}

mod change;
mod fixture;
mod hold;
mod import;
mod lifecycle;
mod listing;
mod rows;
mod search;
