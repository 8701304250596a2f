//! Graphs far larger than any service: nothing recurses, nothing is quadratic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use init_graph::{BoxError, Graph, GraphError, WiringErrorKind};
use tokio::time::Instant;

fn add(
    graph: &mut Graph,
    count: &Arc<AtomicU32>,
    number: u32,
    after: impl IntoIterator<Item = u32>,
) {
    let count = Arc::clone(count);
    let component = graph.add(move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok::<_, BoxError>(()))
    });
    component.named(format!("n{number}"));
    for other in after {
        component.after(format!("n{other}"));
    }
}

/// Runs on a thread with little stack, where recursion over the nodes would end the process.
fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn run(graph: Graph) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let running = graph.start().await.unwrap();
        assert!(running.report().to_string().len() < 10_000);
        running.shutdown().await.unwrap();
    });
}

#[test]
fn a_ring_of_ten_thousand_is_one_short_error_and_quick() {
    on_a_small_stack(|| {
        let (nodes, count) = (10_000, Arc::default());
        let mut graph = Graph::new();
        for number in 0..nodes {
            add(&mut graph, &count, number, [(number + 1) % nodes]);
        }
        let begun = Instant::now();
        let GraphError::Wiring(errors) = graph.check().unwrap_err() else {
            panic!("a ring cannot start")
        };
        // Two orders of magnitude above what it takes without optimisation.
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        let kinds: Vec<_> = errors.iter().map(|error| error.kind()).collect();
        assert_eq!(kinds, [WiringErrorKind::Cycle]);
        let text = errors.to_string();
        assert!(
            text.starts_with("dependency cycle of 10000 nodes\n"),
            "{text}"
        );
        assert!(
            text.contains("... 9988 more ...") && text.lines().count() == 15,
            "{text}"
        );
    });
}

#[test]
fn a_chain_of_a_hundred_thousand_starts_and_stops() {
    on_a_small_stack(|| {
        let count = Arc::default();
        let mut graph = Graph::new();
        for number in 0..100_000 {
            add(&mut graph, &count, number, number.checked_sub(1));
        }
        run(graph);
        assert_eq!(count.load(Ordering::Relaxed), 100_000);
    });
}

#[test]
fn ten_thousand_nodes_between_one_first_and_one_last_start_and_stop() {
    on_a_small_stack(|| {
        let count = Arc::default();
        let mut graph = Graph::new();
        add(&mut graph, &count, 0, []);
        for number in 1..=10_000 {
            add(&mut graph, &count, number, [0]);
        }
        add(&mut graph, &count, 10_001, 1..=10_000);
        run(graph);
        assert_eq!(count.load(Ordering::Relaxed), 10_002);
    });
}

#[test]
fn a_hundred_thousand_that_wait_at_once_start_and_stop() {
    on_a_small_stack(|| {
        let count = Arc::new(AtomicU32::new(0));
        let mut graph = Graph::new();
        for number in 0..100_000 {
            let count = Arc::clone(&count);
            graph
                .add(move || {
                    let count = Arc::clone(&count);
                    async move {
                        tokio::task::yield_now().await;
                        count.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, BoxError>(())
                    }
                })
                .named(format!("n{number}"));
        }
        run(graph);
        assert_eq!(count.load(Ordering::Relaxed), 100_000);
    });
}
