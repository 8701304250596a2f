//! What does not fit together is said before anything runs, all of it at once.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use init_graph::{
    After, BoxError, Class, Dep, Graph, GraphError, Lazy, Policy, Result, Retry, WiringErrorKind,
};

use crate::support::{Log, without_lines};

struct Config;
struct Database;
struct Cache;
struct Metrics;
struct Api;

mod other {
    pub(super) struct Database;
}

async fn database(_: Dep<Config>, _: Dep<Cache>) -> Result<Database> {
    Ok(Database)
}

async fn cache(_: Dep<Metrics>) -> Result<Cache> {
    Ok(Cache)
}

async fn metrics(_: Option<Dep<Database>>) -> Result<Metrics> {
    Ok(Metrics)
}

async fn api(_: Dep<Config>, _: Dep<Database>) -> Result<Api> {
    Ok(Api)
}

#[track_caller]
fn check(graph: &Graph, expected: &Expect) -> Vec<WiringErrorKind> {
    let error = graph.check().unwrap_err();
    assert!(error.is_wiring());
    expected.assert_eq(&without_lines(&error.to_string()));
    let GraphError::Wiring(errors) = error else {
        panic!("{error}")
    };
    errors.iter().map(init_graph::WiringError::kind).collect()
}

#[test]
fn a_cycle_is_shown_as_a_path() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(api);
    graph.add(database);
    graph.add(cache);
    graph.add(metrics);
    let kinds = check(
        &graph,
        &expect![[r#"
            dependency cycle of 3 nodes
              `database` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Cache>` as parameter 2, made by `cache`
              `cache` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Metrics>` as parameter 1, made by `metrics`
              `metrics` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Option<Dep<Database>>` as parameter 1, made by `database`
              help: `metrics` can do without `database`: take `Lazy<Database>` there to break the cycle, and ask for it after the start"#]],
    );
    assert_eq!(kinds, [WiringErrorKind::Cycle]);
}

#[test]
fn a_component_that_needs_itself_is_a_cycle() {
    let mut graph = Graph::new();
    graph.add(|_: Dep<Api>| async { Ok::<_, BoxError>(Api) });
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
                `Api` depends on itself
                  `Api` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Api>` as parameter 1, made by `Api`
                  help: take the value of another provider of `Api`, chosen by `wire`, or leave it out"#]]
        ),
        [WiringErrorKind::Cycle]
    );
}

#[test]
fn the_shortest_of_several_cycles_is_shown() {
    let mut graph = Graph::new();
    for (name, after) in [("a", &["b"][..]), ("b", &["c", "a"]), ("c", &["a"])] {
        let component = graph.add(|| async { Ok::<_, BoxError>(()) });
        component.named(name);
        for other in after {
            component.after(*other);
        }
    }
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
                dependency cycle of 2 nodes (the shortest among 3 nodes that depend on each other)
                  `a` (added at crates/init-graph/tests/it/wiring.rs:N) is to begin after `b`
                  `b` (added at crates/init-graph/tests/it/wiring.rs:N) is to begin after `a`
                  help: `a` takes no value of `b`, only the order: leave out `after` there to break the cycle"#]]
        ),
        [WiringErrorKind::Cycle]
    );
}

#[test]
fn a_missing_provider_is_named_with_its_consumer() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(api);
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
        nothing provides `it::wiring::Database`
          `api` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Database>` as parameter 2
          help: add a component that returns `Database`, or a value of it"#]]
        ),
        [WiringErrorKind::Missing]
    );
}

#[test]
fn a_near_miss_is_suggested() {
    let mut graph = Graph::new();
    graph.value(Arc::new(Config));
    graph.value(other::Database);
    graph.add(api);
    graph
        .add(|_: After<Api>| async { Ok::<_, BoxError>(()) })
        .named("last")
        .after("appi");
    let kinds = check(
        &graph,
        &expect![[r#"
        3 wiring errors
        nothing provides `it::wiring::Config`
          `api` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Config>` as parameter 1
          help: `Arc<Config>` is provided by `Arc<Config>` (added at crates/init-graph/tests/it/wiring.rs:N); make it `Config`, which `Dep` shares already, and add a value in an `Arc` by `value_arc`
        nothing provides `it::wiring::Database`
          `api` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Database>` as parameter 2
          help: did you mean `it::wiring::other::Database`, provided by `Database` (added at crates/init-graph/tests/it/wiring.rs:N)?
        there is no node named `appi`
          `last` (added at crates/init-graph/tests/it/wiring.rs:N) is to begin after `appi`
          help: did you mean `api` (added at crates/init-graph/tests/it/wiring.rs:N)?"#]],
    );
    assert_eq!(kinds, [WiringErrorKind::Missing; 3]);
}

#[test]
fn two_providers_of_a_type_are_shown_with_both_places() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(|| async { Ok::<_, BoxError>(Config) });
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
                two nodes provide `it::wiring::Config`
                  `Config` (added at crates/init-graph/tests/it/wiring.rs:N)
                  `Config-2` (added at crates/init-graph/tests/it/wiring.rs:N)
                  help: give one of them a type of its own, such as `struct SecondConfig(Config);`; or tell them apart with `named` and `wire`, or with `tagged`; or take `All<Config>`"#]]
        ),
        [WiringErrorKind::DuplicateType]
    );
}

#[test]
fn two_components_of_one_given_name_are_an_error_and_default_names_get_a_number() {
    let nothing = || async { Ok::<_, BoxError>(()) };
    let mut graph = Graph::new();
    graph.add(nothing);
    graph.add(nothing);
    graph.add(nothing).named("closure-2");
    let names: Vec<_> = graph
        .plan()
        .unwrap()
        .nodes()
        .iter()
        .map(|node| node.name().to_owned())
        .collect();
    assert_eq!(names, ["closure", "closure-3", "closure-2"]);
    graph.add(nothing).named("closure-2");
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
            two nodes are named `closure-2`
              `closure-2` (added at crates/init-graph/tests/it/wiring.rs:N)
              `closure-2` (added at crates/init-graph/tests/it/wiring.rs:N)
              help: rename one with `named`"#]]
        ),
        [WiringErrorKind::DuplicateName]
    );
}

#[test]
fn a_required_component_cannot_need_an_optional_one() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph
        .add(|| async { Ok::<_, BoxError>(Database) })
        .optional();
    graph.add(api);
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
            `api` must start but needs `Database`, which may fail
              `api` (added at crates/init-graph/tests/it/wiring.rs:N) takes `Dep<Database>` as parameter 2
              `Database` (added at crates/init-graph/tests/it/wiring.rs:N) as optional
              help: take `Option<Dep<Database>>`, or make `api` optional too"#]]
        ),
        [WiringErrorKind::NeedsOptional]
    );
}

#[test]
fn a_time_limit_of_zero_is_an_error() {
    let mut graph = Graph::new();
    graph.stop_timeout(Duration::ZERO);
    graph
        .add(|| async { Ok::<_, BoxError>(Api) })
        .timeout(Duration::ZERO)
        .stop_timeout(Duration::ZERO);
    assert_eq!(
        check(
            &graph,
            &expect![[r#"
            3 wiring errors
            the timeout of `Api` is zero
              `Api` (added at crates/init-graph/tests/it/wiring.rs:N)
              help: leave out `timeout` for no limit of its own
            the stop_timeout of `Api` is zero
              `Api` (added at crates/init-graph/tests/it/wiring.rs:N)
              help: leave out `stop_timeout` for no limit of its own
            the stop timeout of the graph is zero
              help: give `Graph::stop_timeout` the time that hooks may take"#]]
        ),
        [WiringErrorKind::ZeroTimeout; 3]
    );
}

#[test]
fn limits_and_attempts_with_which_nothing_runs_are_errors() {
    let mut graph = Graph::new();
    graph.limit(Class::new("db"), 0);
    graph.concurrency(0);
    graph.timeout(Duration::ZERO);
    graph.restart_budget(3, Duration::ZERO);
    graph
        .add(|| async { Ok::<_, BoxError>(Api) })
        .retry(Retry::exponential(0))
        .total_timeout(Duration::ZERO)
        .stall_timeout(Duration::ZERO);
    let kinds = check(
        &graph,
        &expect![[r#"
        7 wiring errors
        the total_timeout of `Api` is zero
          `Api` (added at crates/init-graph/tests/it/wiring.rs:N)
          help: leave out `total_timeout` for no limit of its own
        the stall_timeout of `Api` is zero
          `Api` (added at crates/init-graph/tests/it/wiring.rs:N)
          help: leave out `stall_timeout` for no limit of its own
        the retry of `Api` has no attempts
          `Api` (added at crates/init-graph/tests/it/wiring.rs:N)
          help: the first attempt counts as well: leave out `retry` for that one alone
        the timeout of the graph is zero
          help: leave out `Graph::timeout` for no limit
        the window of the restart budget is zero
          help: give `Graph::restart_budget` a window; no restarts at all are 0 within any window
        the limit of class `db` is zero
          help: nothing of the class could run: give `Graph::limit` at least 1
        the concurrency of the graph is zero
          help: nothing could run: leave out `Graph::concurrency` for no limit"#]],
    );
    use WiringErrorKind::{ZeroLimit, ZeroTimeout};
    let graphs = [ZeroTimeout, ZeroTimeout, ZeroLimit, ZeroLimit];
    assert_eq!(
        kinds,
        [[ZeroTimeout, ZeroTimeout, ZeroLimit].as_slice(), &graphs].concat()
    );
}

#[test]
fn a_handle_of_another_graph_is_an_error_and_not_another_component() {
    let id = Graph::new().node("elsewhere").id();
    let mut graph = Graph::new();
    graph.node("own").after(id);
    let kinds = check(
        &graph,
        &expect![[r#"
        a handle of another graph
          `own` (added at crates/init-graph/tests/it/wiring.rs:N) is to begin after it
          help: handles are valid in the graph that made them"#]],
    );
    assert_eq!(kinds, [WiringErrorKind::ForeignHandle]);
}

#[test]
fn an_empty_name_is_an_error() {
    let mut graph = Graph::new();
    graph.node("");
    let kinds = check(
        &graph,
        &expect![[r#"
            a name is empty
              `` (added at crates/init-graph/tests/it/wiring.rs:N)
              help: give it one, or leave out `named` for the function's own"#]],
    );
    assert_eq!(kinds, [WiringErrorKind::EmptyName]);
}

#[test]
fn what_is_said_twice_or_of_nothing_is_fine() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.milestone("nothing");
    graph.node("point");
    let point = graph.node("twice").needs::<Config>().needs::<Config>();
    point.after("point").after("point");
    let plan = graph.plan().unwrap();
    let twice = plan.nodes().last().unwrap();
    assert_eq!(plan.dependencies(twice.id()).len(), 2);
}

#[test]
fn to_need_an_optional_one_is_fine_where_failures_are_tolerated_or_asked_for() {
    let graph = || {
        let mut graph = Graph::new();
        graph.add(|| async { Ok::<_, BoxError>(Config) }).optional();
        graph
    };
    let mut needing = graph();
    needing.milestone("ready").needs::<Config>();
    let kinds = check(
        &needing,
        &expect![[r#"
        `ready` must start but needs `Config`, which may fail
          `ready` (added at crates/init-graph/tests/it/wiring.rs:N) needs `Config`
          `Config` (added at crates/init-graph/tests/it/wiring.rs:N) as optional
          help: come `after` it, or make `ready` optional too"#]],
    );
    assert_eq!(kinds, [WiringErrorKind::NeedsOptional]);
    needing.policy(Policy::KeepGoing);
    needing.check().unwrap();

    let mut conditional = graph();
    conditional.node("own").when(|_: Dep<Config>| true);
    conditional.check().unwrap();

    let mut lazy = graph();
    lazy.add(|_: Dep<Config>| async { Ok::<_, BoxError>(Cache) });
    lazy.add(|_: Lazy<Cache>| async { Ok::<_, BoxError>(()) });
    lazy.check().unwrap();
}

#[tokio::test]
async fn every_error_is_reported_at_once_and_nothing_runs() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    let spy = log.clone();
    graph.add(move || {
        spy.say("ran");
        async { Ok::<_, BoxError>(Config) }
    });
    graph.value(Config);
    graph.add(database);
    graph.add(cache).timeout(Duration::ZERO);
    graph.add(|_: Dep<Database>, _: Dep<String>| async { Ok::<_, BoxError>(Metrics) });
    let GraphError::Wiring(errors) = graph.start().await.unwrap_err() else {
        panic!("it cannot start")
    };
    let kinds: Vec<_> = errors.into_iter().map(|error| error.kind()).collect();
    let expected = [
        WiringErrorKind::DuplicateType,
        WiringErrorKind::Cycle,
        WiringErrorKind::ZeroTimeout,
        WiringErrorKind::Missing,
    ];
    assert_eq!(kinds, expected);
    assert!(
        errors.to_string().starts_with("4 wiring errors\n"),
        "{errors}"
    );
    assert_eq!(log.count("ran"), 0);
}

#[test]
fn unwrap_shows_the_text_of_an_error() {
    let mut graph = Graph::new();
    graph.add(api);
    let error = graph.check().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}
