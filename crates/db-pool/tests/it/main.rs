//! The contract of the pool, one module per behaviour; PostgreSQL is tested where `TEST_DATABASE_URL` names a server.

mod config;
mod support;

#[cfg(feature = "sqlite")]
mod abandoned;
#[cfg(feature = "sqlite")]
mod files;
#[cfg(feature = "sqlite")]
mod lifecycle;
#[cfg(feature = "migrations")]
mod migrations;
#[cfg(feature = "sqlite")]
mod observability;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod queue;
#[cfg(feature = "sqlite")]
mod reading;
#[cfg(feature = "sqlite")]
mod transactions;
#[cfg(feature = "postgres")]
mod unreachable;
