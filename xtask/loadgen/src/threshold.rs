//! Limits that a run has to keep: `p99<5ms`, `success>99.9%`, `rate>=2000`.

/// A limit on one number of a run, stated as what passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {}

/// A threshold that cannot be read, or that cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("threshold {text}: {problem}")]
#[non_exhaustive]
pub struct ThresholdError {
    /// As it was given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}
