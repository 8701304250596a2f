//! What the binary can do, one command a function.

pub mod demo;
pub mod import;

mod backup;
mod health;
mod serve;
mod signals;

pub use self::{backup::backup, health::health, serve::serve};
