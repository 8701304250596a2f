//! What the load generator promises, against servers that do what a test says.

mod cli;
mod engine;
mod engine_errors;
mod mix;
mod scripted_server;
mod server;
mod stub_server;
