//! Time that passes only when there is nothing else to do.

use std::future::Future;

/// Runs `test` on a runtime of its own with one thread and a paused clock, and returns what it returns.
///
/// Whenever every task waits, the clock jumps to the next timer, so that a retry after a minute costs no time and always
/// comes at the same moment. `#[tokio::test(start_paused = true)]` does the same for a test function; this is for
/// several runs within one test, and for code outside of `#[test]`. Work on blocking threads takes real time. A wait for
/// a socket does not hold the clock: limits of time are over at once, so put a fake in the place of what has one.
///
/// # Panics
/// Inside of another runtime, when the process may open no more files, and when `test` panics.
///
/// ```
/// use std::time::Duration;
///
/// use init_graph::{BoxError, Graph, Retry, testing};
///
/// let error = testing::run(async {
///     let mut graph = Graph::new();
///     graph
///         .add(async || Err::<(), BoxError>("not today".into()))
///         .named("db")
///         .retry(Retry::fixed(2, Duration::from_secs(3600)));
///     graph.start().await.unwrap_err()
/// });
/// assert_eq!(error.failures()[0].node().name(), "db");
/// ```
pub fn run<F: Future>(test: F) -> F::Output {
    runtime().block_on(test)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a test may open as many files as a runtime takes")
}
