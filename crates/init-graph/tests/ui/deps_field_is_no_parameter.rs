//! A struct of parameters has nothing else in it.

use init_graph::{Dep, Deps, Graph, Result};

struct Config;
struct Api;

#[derive(Deps)]
struct ApiDeps {
    config: Dep<Config>,
    port: u16,
    name: &'static str,
}

#[derive(Deps)]
struct Pair(Dep<Config>, String);

async fn api(deps: ApiDeps, _: Pair) -> Result<Api> {
    let _ = deps.config;
    Ok(Api)
}

fn main() {
    Graph::new().add(api);
}
