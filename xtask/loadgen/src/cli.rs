//! The command line of the binary `loadgen`.
