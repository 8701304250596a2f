//! What the load generator promises, against servers that do what a test says.

mod engine;
mod engine_errors;
mod scripted_server;
