//! Several values of one type, trait objects, and components that are wanted only sometimes.
//!
//! Run it with `cargo run -p init-graph --example 06_choices`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use init_graph::{All, Dep, Graph, Result};

struct Config {
    search: bool,
}

struct Database(&'static str);

/// Tells the replica's database from the primary's.
struct Replica;

trait Repository: Send + Sync {
    fn source(&self) -> String;
}

struct Sql {
    database: &'static str,
}

impl Repository for Sql {
    fn source(&self) -> String {
        format!("rows of {}", self.database)
    }
}

struct Search;
struct Api(String);

/// A check that `/health` asks; any number of components may make one.
struct Check(&'static str);

async fn primary() -> Result<Database> {
    Ok(Database("primary"))
}

async fn replica() -> Result<Database> {
    Ok(Database("replica"))
}

async fn repository(database: Dep<Database, Replica>) -> Result<Sql> {
    Ok(Sql {
        database: database.0,
    })
}

async fn search(_: Dep<Database>) -> Result<Search> {
    Ok(Search)
}

async fn api(
    repository: Dep<dyn Repository>,
    search: Option<Dep<Search>>,
    checks: All<Check>,
) -> Result<Api> {
    let checks: Vec<_> = checks.iter().map(|check| check.0).collect();
    Ok(Api(format!(
        "{}, search: {}, checks: {}",
        repository.source(),
        search.is_some(),
        checks.join(" and ")
    )))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    graph.value(Config { search: false });
    graph.add(primary);
    graph.add(replica).tagged::<Replica>();
    graph
        .add(repository)
        .provide(|sql: Arc<Sql>| sql as Arc<dyn Repository>);
    graph.add(search).when(|config: Dep<Config>| config.search);
    graph.value(Check("disk")).named("disk check");
    graph.value(Check("memory")).named("memory check");
    graph.add(api);
    println!("{}\n", graph.plan()?);

    let running = graph.start().await?;
    let api = running.get::<Api>().ok_or("the api was added above")?;
    println!("{}\n\n{}", api.0, running.report());
    running.shutdown().await?;
    Ok(())
}
