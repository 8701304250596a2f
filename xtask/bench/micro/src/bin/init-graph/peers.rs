//! The peers: what one would write by hand, and other crates that run graphs.

use std::sync::Arc;

use dagrs::async_trait::async_trait;
use dagrs::{
    Action, Content, DefaultNode, EnvVar, InChannels, Node, NodeTable, OutChannels, Output,
};
use dagx::{DagRunner, Task, TaskHandle, task};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::parts::Body;
use crate::shapes::{Shape, number};
use crate::ways::Took;

// === by hand ===

/// Nothing but the parts themselves, in an order that suits.
pub(crate) async fn one_after_another(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    for part in 0..shape.parts() {
        body.run(number(part)).await;
    }
    Took {
        run: began.elapsed(),
        ..Took::default()
    }
}

/// Counts down what each part still misses and spawns it when that is nothing.
pub(crate) async fn join_set(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let followers = shape.followers();
    let mut missing: Vec<usize> = (0..shape.parts())
        .map(|part| shape.needs(part).len())
        .collect();
    let build = began.elapsed();
    let mut tasks = JoinSet::new();
    let spawn = |tasks: &mut JoinSet<u32>, part: u32| {
        let body = body.clone();
        tasks.spawn(async move { body.run(part).await });
    };
    for part in (0..shape.parts()).filter(|part| missing[*part] == 0) {
        spawn(&mut tasks, number(part));
    }
    let mut parts = 0;
    while let Some(done) = tasks.join_next().await {
        parts += 1;
        for follower in &followers[done.expect("no panic") as usize] {
            let missing = &mut missing[*follower as usize];
            *missing -= 1;
            if *missing == 0 {
                spawn(&mut tasks, *follower);
            }
        }
    }
    let run = began.elapsed() - build;
    assert_eq!(parts, shape.parts());
    Took {
        build,
        run,
        ..Took::default()
    }
}

pub(crate) async fn join_set_by_layer(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let layers = shape.layers();
    let build = began.elapsed();
    for layer in layers {
        let tasks = layer.into_iter().map(|part| {
            let body = body.clone();
            async move { body.run(part).await }
        });
        tasks.collect::<JoinSet<_>>().join_all().await;
    }
    Took {
        build,
        run: began.elapsed() - build,
        ..Took::default()
    }
}

/// All in one task: no part runs in parallel with another one, they only wait together.
pub(crate) async fn petgraph(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let mut graph = DiGraph::<(), ()>::with_capacity(shape.parts(), shape.parts());
    for part in 0..shape.parts() {
        let node = graph.add_node(());
        for need in shape.needs(part) {
            graph.add_edge(NodeIndex::new(*need as usize), node, ());
        }
    }
    let built = began.elapsed();
    toposort(&graph, None).expect("no cycle");
    let checked = began.elapsed();
    let mut missing: Vec<usize> = (0..shape.parts())
        .map(|part| shape.needs(part).len())
        .collect();
    let free = (0..shape.parts()).filter(|part| missing[*part] == 0);
    let mut running: FuturesUnordered<_> = free.map(|part| body.run(number(part))).collect();
    let mut parts = 0;
    while let Some(done) = running.next().await {
        parts += 1;
        for follower in graph.neighbors(NodeIndex::new(done as usize)) {
            missing[follower.index()] -= 1;
            if missing[follower.index()] == 0 {
                running.push(body.run(number(follower.index())));
            }
        }
    }
    let run = began.elapsed() - checked;
    assert_eq!(parts, shape.parts());
    Took {
        build: built,
        check: Some(checked - built),
        run,
        ..Took::default()
    }
}

// === dagx ===

/// A part for each number of dependencies, as dagx has them in the type; its result stands for the order.
struct Needs0(Body, u32);
struct Needs1(Body, u32);
struct Needs2(Body, u32);
struct Needs3(Body, u32);

#[task]
impl Needs0 {
    async fn run(&self) -> u32 {
        self.0.run(self.1).await
    }
}

#[task]
impl Needs1 {
    async fn run(&self, _a: &u32) -> u32 {
        self.0.run(self.1).await
    }
}

#[task]
impl Needs2 {
    async fn run(&self, _a: &u32, _b: &u32) -> u32 {
        self.0.run(self.1).await
    }
}

#[task]
impl Needs3 {
    async fn run(&self, _a: &u32, _b: &u32, _c: &u32) -> u32 {
        self.0.run(self.1).await
    }
}

pub(crate) async fn dagx(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let dag = DagRunner::new();
    let mut handles: Vec<TaskHandle<u32>> = Vec::with_capacity(shape.parts());
    for part in 0..shape.parts() {
        let (body, number) = (body.clone(), number(part));
        let handle = |need: u32| &handles[need as usize];
        let made = match *shape.needs(part) {
            [] => dag.add_task(Needs0(body, number)).into(),
            [a] => dag.add_task(Needs1(body, number)).depends_on(handle(a)),
            [a, b] => {
                let task = dag.add_task(Needs2(body, number));
                task.depends_on((handle(a), handle(b)))
            }
            [a, b, c] => {
                let task = dag.add_task(Needs3(body, number));
                task.depends_on((handle(a), handle(b), handle(c)))
            }
            _ => panic!("more dependencies than there are tasks for"),
        };
        handles.push(made);
    }
    let build = began.elapsed();
    let spawn = |task| {
        tokio::spawn(task);
    };
    dag.run(spawn).await.expect("a run");
    Took {
        build,
        run: began.elapsed() - build,
        ..Took::default()
    }
}

// === dagrs ===

/// A part as dagrs has them: it is there from the beginning, waits for a message of each dependency and sends its own.
struct Waiting(Body, u32);

#[async_trait]
impl Action for Waiting {
    async fn run(
        &self,
        needs: &mut InChannels,
        followers: &mut OutChannels,
        _: Arc<EnvVar>,
    ) -> Output {
        needs.map(|message| message.expect("a message")).await;
        let part = self.0.run(self.1).await;
        followers.broadcast(Content::new(part)).await;
        Output::empty()
    }
}

/// By `async_start`: `start` would make a runtime of its own each time.
pub(crate) async fn dagrs(shape: &Shape, body: &Body) -> Took {
    let began = Instant::now();
    let mut table = NodeTable::default();
    let mut graph = dagrs::Graph::new();
    let mut ids = Vec::with_capacity(shape.parts());
    for (part, name) in shape.names.iter().enumerate() {
        let action = Waiting(body.clone(), number(part));
        let node = DefaultNode::with_action((*name).to_owned(), action, &mut table);
        ids.push(node.id());
        graph.add_node(node).expect("a new node");
    }
    for (part, followers) in shape.followers().into_iter().enumerate() {
        let followers = followers.iter().map(|follower| ids[*follower as usize]);
        graph.add_edge(ids[part], followers).expect("an edge");
    }
    graph.set_env(EnvVar::new(table));
    let build = began.elapsed();
    graph.async_start().await.expect("a run");
    Took {
        build,
        run: began.elapsed() - build,
        ..Took::default()
    }
}
