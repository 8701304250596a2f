//! New credentials without a new process: one part of the graph restarts, and `Live` follows it.
//!
//! Run it with `cargo run -p init-graph --example 10_restart`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::atomic::{AtomicU32, Ordering};

use init_graph::{Context, Dep, Graph, Live, Result};

/// Stands for what a vault hands out.
static PASSWORDS: AtomicU32 = AtomicU32::new(1);

struct Credentials(u32);
struct Database(u32);
struct Api(Live<Database>);

async fn credentials() -> Result<Credentials> {
    Ok(Credentials(PASSWORDS.fetch_add(1, Ordering::Relaxed)))
}

async fn database(credentials: Dep<Credentials>, cx: Context) -> Result<Database> {
    let password = credentials.0;
    cx.on_stop(async move || {
        println!("  connections with password {password} are closed");
        Ok(())
    });
    Ok(Database(password))
}

/// Keeps running: it takes the database as `Live`.
async fn api(database: Live<Database>) -> Result<Api> {
    println!("  the api starts, once");
    Ok(Api(database))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    graph.add(credentials);
    graph.add(database);
    graph.add(api);
    let running = graph.start().await?;
    let api = running.get::<Api>().ok_or("the api was added above")?;
    println!("the api uses password {}", api.0.load().0);

    running.restart::<Credentials>().await?;
    println!("the api uses password {}", api.0.load().0);
    running.shutdown().await?;
    Ok(())
}
