//! What the load generator promises, against servers that do what a test says.

#[cfg(feature = "cache")]
mod cache;
mod cli;
#[cfg(feature = "db")]
mod db;
mod engine;
mod engine_errors;
mod mix;
mod scripted_server;
mod server;
mod stub_server;
mod wrk;
