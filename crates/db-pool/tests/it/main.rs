//! The contract of the pool, one module per behaviour.
