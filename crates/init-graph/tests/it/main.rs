//! The contract of the crate, one module a behaviour.
