//! How a loader gathers keys.

/// How many keys go together, and what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// The most keys in one query. Default 1,000; 0 counts as 1.
    ///
    /// Danger: SQLite takes at most 32,766 values in one statement, so a loader of a SQLite pool stays below.
    pub batch_max: usize,

    /// The most queries under way at once; further keys gather meanwhile. Default 2; 0 counts as 1.
    ///
    /// Cost: with more of them each gets fewer keys.
    pub batches_in_flight: usize,

    /// The most keys that wait for their batch to begin; further loads fail at once. Default 100,000.
    pub waiting_max: usize,

    /// Answers are kept for as long as the loader lives, for at most so many keys. Default 0: none.
    ///
    /// For a loader of one request. Danger: what is written meanwhile is not seen, unless
    /// [`Loader::forget`](crate::Loader::forget) is called.
    pub memo: usize,
}

impl LoaderOptions {
    /// For one request: answers are kept, up to 10,000 of them.
    pub fn per_request() -> Self {
        Self {
            memo: 10_000,
            ..Self::default()
        }
    }
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_max: 1000,
            batches_in_flight: 2,
            waiting_max: 100_000,
            memo: 0,
        }
    }
}
