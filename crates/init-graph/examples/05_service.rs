//! A service of a dozen components, first one after another, then as a graph: what most back ends could save.
//!
//! Each component sleeps for a fifth of what its kind usually takes. Run it with
//! `cargo run -p init-graph --example 05_service`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use init_graph::{After, Dep, Graph, Report, Result};
use tokio::time::sleep;

struct Config;
struct Secrets;
struct Telemetry;
struct Database;
struct Migrated;
struct Redis;
struct WarmCache;
struct Search;
struct Broker;
struct Flags;
struct SigningKeys;
struct Model;
struct Templates;
struct Storage;
struct Routes;

/// What the real thing would take, a fifth of it.
async fn work(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds / 5)).await;
}

async fn secrets(_: Dep<Config>) -> Result<Secrets> {
    work(600).await;
    Ok(Secrets)
}

async fn telemetry(_: Dep<Config>) -> Result<Telemetry> {
    work(400).await;
    Ok(Telemetry)
}

async fn database(_: Dep<Config>, _: Dep<Secrets>) -> Result<Database> {
    work(2000).await;
    Ok(Database)
}

async fn migrations(_: Dep<Database>) -> Result<Migrated> {
    work(1500).await;
    Ok(Migrated)
}

async fn redis(_: Dep<Secrets>) -> Result<Redis> {
    work(1200).await;
    Ok(Redis)
}

async fn warm_cache(_: Dep<Redis>, _: Dep<Database>, _: After<Migrated>) -> Result<WarmCache> {
    work(1800).await;
    Ok(WarmCache)
}

async fn search(_: Dep<Secrets>) -> Result<Search> {
    work(3000).await;
    Ok(Search)
}

async fn broker(_: Dep<Secrets>) -> Result<Broker> {
    work(2200).await;
    Ok(Broker)
}

async fn feature_flags(_: Dep<Config>) -> Result<Flags> {
    work(1500).await;
    Ok(Flags)
}

async fn signing_keys(_: Dep<Config>) -> Result<SigningKeys> {
    work(1700).await;
    Ok(SigningKeys)
}

/// Reads and computes for long: it gets a thread of its own.
#[expect(clippy::disallowed_methods, reason = "it stands for work that blocks")]
fn model(_: Dep<Config>) -> Result<Model> {
    std::thread::sleep(Duration::from_millis(4500 / 5));
    Ok(Model)
}

async fn templates(_: Dep<Config>) -> Result<Templates> {
    work(800).await;
    Ok(Templates)
}

async fn storage(_: Dep<Secrets>) -> Result<Storage> {
    work(1400).await;
    Ok(Storage)
}

async fn routes(
    _data: (Dep<WarmCache>, Dep<Search>, Dep<Broker>, Dep<Storage>),
    _logic: (Dep<Flags>, Dep<SigningKeys>, Dep<Model>, Dep<Templates>),
    _telemetry: Dep<Telemetry>,
) -> Result<Routes> {
    work(100).await;
    Ok(Routes)
}

fn graph() -> Graph {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(secrets).stage("base");
    graph.add(telemetry).stage("base");
    graph.add(database).stage("storage");
    graph.add(migrations).stage("storage");
    graph.add(redis).stage("storage");
    graph.add(storage).stage("storage");
    graph.add(search).stage("clients");
    graph.add(broker).stage("clients");
    graph.add(feature_flags).stage("clients");
    graph.add(signing_keys).stage("clients");
    graph.add_blocking(model).stage("compute");
    graph.add(templates).stage("compute");
    graph.add(warm_cache).stage("serve");
    graph.add(routes).stage("serve");
    graph
}

async fn measured(graph: Graph) -> Result<Report> {
    let running = graph.start().await?;
    let report = running.report();
    running.shutdown().await?;
    Ok(report)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut serial = graph();
    serial.concurrency(1);
    let serial = measured(serial).await?;
    println!("One after another:\n{serial}\n");

    let parallel = measured(graph()).await?;
    println!("As soon as each can:\n{parallel}\n");

    let saved = 1.0 - parallel.took().as_secs_f64() / serial.took().as_secs_f64();
    println!("{:.0} % of the start is gone", saved * 100.0);
    Ok(())
}
