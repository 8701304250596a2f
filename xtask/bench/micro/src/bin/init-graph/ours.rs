//! Our subject: the parts as components of a graph.

use init_graph::{BoxError, Component, Graph};
use tokio::time::Instant;

use crate::parts::{Body, tick};
use crate::shapes::{Shape, number};
use crate::ways::Took;

/// A component that does nothing, as a plain function.
async fn nothing() -> Result<(), BoxError> {
    tick();
    Ok(())
}

/// The parts of `shape`, of which `add` adds one.
pub(crate) fn graph_of(
    shape: &Shape,
    add: impl for<'a> Fn(&'a mut Graph, usize) -> &'a mut Component,
) -> Graph {
    let mut graph = Graph::new();
    let mut ids = Vec::with_capacity(shape.parts());
    for (part, name) in shape.names.iter().enumerate() {
        let component = add(&mut graph, part).named(*name);
        for need in shape.needs(part) {
            component.after(ids[*need as usize]);
        }
        ids.push(component.id());
    }
    graph
}

pub(crate) fn graph(shape: &Shape, body: &Body) -> Graph {
    match body {
        Body::Nothing => graph_of(shape, |graph, _| graph.add(nothing)),
        Body::Sleep(_) => graph_of(shape, |graph, part| {
            let (body, part) = (body.clone(), number(part));
            graph.add(move || {
                let body = body.clone();
                async move {
                    body.run(part).await;
                    Ok::<(), BoxError>(())
                }
            })
        }),
    }
}

/// Builds, checks, starts, reports and stops.
pub(crate) async fn start(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let graph = graph(shape, body);
    let built = began.elapsed();
    graph.check().expect("it fits");
    let checked = began.elapsed();
    let running = graph.start().await.expect("a start");
    let started = began.elapsed();
    std::hint::black_box(running.report());
    let reported = began.elapsed();
    running.shutdown().await.expect("a stop");
    Took {
        build: built,
        check: Some(checked - built),
        run: started - checked,
        report: Some(reported - started),
        stop: Some(began.elapsed() - reported),
    }
}

/// Builds and starts: the phases that every subject has.
pub(crate) async fn only_start(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let graph = graph(shape, body);
    let build = began.elapsed();
    let running = graph.start().await.expect("a start");
    let run = began.elapsed() - build;
    drop(running);
    Took {
        build,
        run,
        ..Took::default()
    }
}
