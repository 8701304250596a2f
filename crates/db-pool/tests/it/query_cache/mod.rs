//! The query cache: what it keeps, for how long, and that it never returns a value older than a completed write.

mod history;
#[cfg(feature = "sqlite")]
mod lifetime;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod processes;
#[cfg(feature = "sqlite")]
mod writes;

diesel::table! {
    notes (id) {
        id -> Integer,
        text -> Text,
    }
}
