//! `#[derive(Deps)]`: a struct of parameters is a parameter.

use expect_test::expect;
use init_graph::{After, All, Context, Dep, Deps, Graph, Result, component};

use crate::support::without_lines;

struct Config(u16);
struct Check(&'static str);
struct Database;
struct Api(String);

#[derive(Deps)]
struct Storage {
    _order: After<Config>,
    database: Option<Dep<Database>>,
}

#[derive(Deps)]
struct ApiDeps {
    config: Dep<Config>,
    checks: All<Check>,
    storage: Storage,
    r#type: Context,
}

#[derive(Deps)]
struct Pair(Dep<Config>, (Option<Dep<Database>>, Context));

#[derive(Deps)]
struct Nothing;

async fn api(deps: ApiDeps, Pair(config, (database, cx)): Pair, _: Nothing) -> Result<Api> {
    assert_eq!(deps.config.0, config.0);
    assert_eq!(deps.storage.database.is_some(), database.is_some());
    assert_eq!(deps.r#type.name(), cx.name());
    let checks: Vec<_> = deps.checks.iter().map(|check| check.0).collect();
    Ok(Api(format!("{} {}", config.0, checks.join(" "))))
}

#[tokio::test(start_paused = true)]
async fn a_struct_takes_what_its_fields_take() {
    let mut graph = Graph::new();
    graph.value(Config(80));
    graph.value(Check("disk")).named("disk");
    graph.value(Check("memory")).named("memory");
    graph.value(Database);
    graph.add(api);
    let running = graph.start().await.unwrap();
    assert_eq!(running.get::<Api>().unwrap().0, "80 disk memory");
    running.shutdown().await.unwrap();
}

#[test]
fn errors_of_the_graph_name_the_field() {
    let mut graph = Graph::new();
    graph.add(api);
    let error = graph.check().unwrap_err();
    expect![[r#"
        3 wiring errors
        nothing provides `it::deps::Config`
          `api` (added at crates/init-graph/tests/it/deps.rs:N) takes `Dep<Config>` as `config` of parameter 1
          help: add a component that returns `Config`, or a value of it
        nothing provides `it::deps::Config`
          `api` (added at crates/init-graph/tests/it/deps.rs:N) takes `After<Config>` as `_order` of parameter 1
          help: add a component that returns `Config`, or a value of it
        nothing provides `it::deps::Config`
          `api` (added at crates/init-graph/tests/it/deps.rs:N) takes `Dep<Config>` as `0` of parameter 2
          help: add a component that returns `Config`, or a value of it"#]].assert_eq(&without_lines(&error.to_string()));
}

/// More than the sixteen parameters of a function.
#[derive(Deps)]
struct Many {
    _1: After<Config>,
    _2: After<Config>,
    _3: After<Config>,
    _4: After<Config>,
    _5: After<Config>,
    _6: After<Config>,
    _7: After<Config>,
    _8: After<Config>,
    _9: After<Config>,
    _10: After<Config>,
    _11: After<Config>,
    _12: After<Config>,
    _13: After<Config>,
    _14: After<Config>,
    _15: After<Config>,
    _16: After<Config>,
    last: Dep<Config>,
}

#[component]
async fn many(deps: Many) -> Result<u16> {
    Ok(deps.last.0)
}

#[tokio::test(start_paused = true)]
async fn a_struct_may_have_more_fields_than_a_function_parameters() {
    let mut graph = Graph::new();
    graph.value(Config(7));
    graph.add(many);
    let running = graph.start().await.unwrap();
    assert_eq!(*running.get::<u16>().unwrap(), 7);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_function_that_takes_a_struct_can_be_called_by_hand() {
    let last = Dep::from(Config(5));
    let order = After::new();
    #[rustfmt::skip]
    let deps = Many {
        _1: order, _2: order, _3: order, _4: order, _5: order, _6: order, _7: order, _8: order,
        _9: order, _10: order, _11: order, _12: order, _13: order, _14: order, _15: order,
        _16: order, last,
    };
    assert_eq!(many(deps).await.unwrap(), 5);
}

/// The crate under another name.
mod renamed {
    pub(super) use init_graph as graph;

    #[derive(graph::Deps)]
    #[deps(crate = "crate::deps::renamed::graph")]
    pub(super) struct Own(pub(super) graph::Dep<super::Config>);

    #[graph::component(crate = "crate::deps::renamed::graph", name = "own")]
    pub(super) async fn own(own: Own) -> graph::Result<u16> {
        Ok(own.0.0)
    }
}

#[tokio::test(start_paused = true)]
async fn the_crate_may_go_by_another_name() {
    let mut graph = Graph::new();
    graph.value(Config(9));
    graph.add(renamed::own);
    let running = graph.start().await.unwrap();
    assert_eq!(*running.get::<u16>().unwrap(), 9);
    running.shutdown().await.unwrap();
}
