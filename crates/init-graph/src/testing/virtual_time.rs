//! Time that passes only when there is nothing else to do.

use std::future::Future;

/// Runs `test` on a runtime of its own with one thread and a paused clock, and returns what it returns.
///
/// Whenever every task waits, the clock jumps to the next timer, so that a retry after a minute costs no time and always
/// comes at the same moment. `#[tokio::test(start_paused = true)]` does the same for a test function; this is for
/// several runs within one test, and for code outside of `#[test]`. Work on blocking threads takes real time.
///
/// # Panics
/// Inside of another runtime, and when `test` panics.
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
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system but memory")
}
