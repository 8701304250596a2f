//! The contract of the service: one binary, one module per behaviour.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

#[macro_use]
mod support;

mod backup;
mod bad_input;
mod binary;
mod cache;
mod config;
mod database_views;
mod import;
mod lifecycle;
mod openapi;
mod query_cache;
mod records;
mod replicas;
mod scope;
mod store;
mod tasks;
