//! A database that refuses twice, one that hangs, and a cache one can do without: retries and time limits.
//!
//! Run it with `cargo run -p init-graph --example 04_retries`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use init_graph::{Context, Dep, Event, Failure, Graph, Result, Retry};
use tokio::time::sleep;

struct Database;
struct Cache;
struct Api {
    cached: bool,
}

async fn database(cx: Context) -> Result<Database> {
    sleep(Duration::from_millis(20)).await;
    if cx.attempt() < 3 {
        return Err("connection refused".into());
    }
    Ok(Database)
}

async fn cache() -> Result<Cache> {
    std::future::pending().await
}

async fn api(_: Dep<Database>, cache: Result<Dep<Cache>, Failure>) -> Result<Api> {
    if let Err(failure) = &cache {
        println!("  api goes without a cache: {failure}");
    }
    Ok(Api {
        cached: cache.is_ok(),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    let retry = Retry::exponential(4).initial(Duration::from_millis(50));
    graph
        .add(database)
        .retry(retry)
        .timeout(Duration::from_secs(1))
        .total_timeout(Duration::from_secs(5));
    graph
        .add(cache)
        .timeout(Duration::from_millis(100))
        .optional();
    graph.add(api);
    graph.observe(|event: &Event<'_>| match event {
        Event::Starting { node, attempt } => println!("  {}, attempt {attempt}", node.name()),
        Event::Failed { node, error, .. } => println!("  {} failed: {error}", node.name()),
        _ => {}
    });

    match graph.start().await {
        Ok(running) => {
            println!("{}", running.report());
            let api = running.get::<Api>().ok_or("the api was added above")?;
            println!("cached: {}", api.cached);
            running.shutdown().await?;
        }
        Err(error) => println!("{error}: {:?}", error.source()),
    }
    Ok(())
}
