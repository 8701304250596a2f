//! The reference service: an agent workbench on axum, composed of the five crates.
//!
//! Read it in this order: `serve` is one lifetime of the process, `components` is what it starts
//! and in which order, `http` is one lifetime of a request, `domain` is what it is about, `store`
//! is where that is kept.

pub mod cli;
pub mod commands;
pub mod components;
pub mod config;
pub mod data_dir;
pub mod domain;
pub mod failure;
pub mod http;
pub mod serve;
pub mod shared_results;
pub mod state;
pub mod store;
