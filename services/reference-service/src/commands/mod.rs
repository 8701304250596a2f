//! What the binary can do, one command a function.

pub mod demo;
pub mod import;

mod health;
mod serve;
mod signals;

pub use self::{health::health, serve::serve};
