//! Declared indexes on both databases: what is told, what is created, and what is never touched.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
