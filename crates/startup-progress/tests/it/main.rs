//! The contract of the crate, one module per behaviour.
