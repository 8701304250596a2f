//! What an observer costs: the same start with none, with one that counts and with one that does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use harness::{Effort, Suite};
use init_graph::Event;
use tokio::runtime::{Builder, Runtime};

use crate::ours;
use crate::parts::Body;
use crate::shapes::{Family, Shape};

pub(crate) fn add(suite: &mut Suite) {
    let about = "what an observer adds to a start of 10,000 nodes, each after three others, for each event it hears; \
                 one thread, differences of neighbouring runs";
    suite.figures("observer-10000", about, |figures| {
        let (parts, rounds) = match figures.effort() {
            Effort::Smoke => (100, 1),
            Effort::Quick => (10_000, 31),
            Effort::Normal | Effort::Full => (10_000, 101),
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime needs no more than a few file descriptors");
        let shape = Family::Random.of(parts);
        let events = events(&runtime, &shape);
        let mut without = Vec::new();
        let mut one = Vec::new();
        let mut ten = Vec::new();
        start(&runtime, &shape, 0);
        for _ in 0..rounds {
            let floor = start(&runtime, &shape, 0);
            let each = |observers: usize| {
                let more = start(&runtime, &shape, observers) - floor;
                more / (events * observers as f64)
            };
            without.push(floor / events);
            one.push(each(1));
            ten.push(each(10));
        }
        figures.ours("start_without", "ns", &without);
        figures.ours("one_observer", "ns", &one);
        figures.ours("each_of_ten", "ns", &ten);
        figures.goal("one_observer", "ns", 100.0);
        figures.goal("each_of_ten", "ns", 100.0);
        figures.remark(format!("{events} events"));
    });
}

/// How many an observer hears in a start.
fn events(runtime: &Runtime, shape: &Shape) -> f64 {
    let count = Arc::new(AtomicUsize::new(0));
    let mut graph = ours::graph(shape, &Body::Nothing);
    let counting = Arc::clone(&count);
    graph.observe(move |_: &Event<'_>| {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    runtime.block_on(async { drop(graph.start().await.expect("a start")) });
    count.load(Ordering::Relaxed) as f64
}

/// The time of a start with so many observers that do nothing.
fn start(runtime: &Runtime, shape: &Shape, observers: usize) -> f64 {
    let mut graph = ours::graph(shape, &Body::Nothing);
    for _ in 0..observers {
        graph.observe(|event: &Event<'_>| {
            std::hint::black_box(event);
        });
    }
    let began = Instant::now();
    let running = runtime.block_on(graph.start()).expect("a start");
    let took = began.elapsed().as_secs_f64() * 1e9;
    drop(running);
    took
}
