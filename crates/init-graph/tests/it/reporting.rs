//! What the report of a start says.

use expect_test::expect;
use init_graph::{BoxError, Dep, Graph, Outcome};
use tokio::time::sleep;

use crate::support::ms;

struct Config;
struct Database;
struct Cache;
struct Warm;
struct Api;

fn graph() -> Graph {
    let mut graph = Graph::new();
    graph.value(Config);
    graph
        .add(|_: Dep<Config>| async {
            sleep(ms(100)).await;
            Ok::<_, BoxError>(Database)
        })
        .stage("storage");
    graph
        .add(|_: Dep<Config>| async {
            sleep(ms(30)).await;
            Err::<Cache, _>("refused")
        })
        .stage("storage")
        .optional();
    graph
        .add(|_: Dep<Cache>| async { Ok::<_, BoxError>(Warm) })
        .optional();
    graph.add(|_: Dep<Database>, _: Option<Dep<Cache>>| async {
        sleep(ms(60)).await;
        Ok::<_, BoxError>(Api)
    });
    graph
}

#[tokio::test(start_paused = true)]
async fn the_report_draws_when_each_component_ran() {
    let running = graph().start().await.unwrap();
    expect![[r#"
        started 4 components and 1 value in 160ms (own times: 190ms in all, 1.2 times that)
          Database  storage    100ms  ████████████████████············
          Cache     storage     30ms  ██████··························  failed, optional
          Warm                   0ms  ······×·························  skipped
          Api                   60ms  ····················████████████  after Database
          `Cache` failed: refused
          critical chain: Database 100ms (drag 70ms) > Api 60ms
          efficiency: 100 %; no order could take less than 160ms (critical path)"#]]
    .assert_eq(&running.report().to_string());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_report_tells_waiting_from_own_time() {
    let running = graph().start().await.unwrap();
    let report = running.report();
    assert_eq!(report.took(), ms(160));
    let chain: Vec<_> = report
        .critical_chain()
        .iter()
        .map(|node| node.name())
        .collect();
    assert_eq!(chain, ["Database", "Api"]);
    let node = |name: &str| report.node(name).unwrap();
    let api = node("Api");
    assert_eq!(
        (api.waited(), api.started_at(), api.own()),
        (ms(100), ms(100), ms(60))
    );
    assert_eq!(
        (api.waited_for().map(|last| last.name()), api.outcome()),
        (Some("Database"), Outcome::Ready)
    );
    let database = node("Database");
    assert_eq!(
        (database.waited(), database.started_at(), database.own()),
        (ms(0), ms(0), ms(100))
    );
    assert_eq!(database.stage(), Some("storage"));
    assert_eq!(node("Config").outcome(), Outcome::Value);
    assert_eq!(
        (node("Cache").outcome(), node("Cache").own()),
        (Outcome::Failed, ms(30))
    );
    assert_eq!(
        (node("Warm").outcome(), node("Warm").waited()),
        (Outcome::Skipped, ms(30))
    );
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_large_graph_shows_the_slowest() {
    let mut graph = Graph::new();
    for number in 0..100_u64 {
        let component = graph.add(move || async move {
            sleep(ms(number)).await;
            Ok::<_, BoxError>(())
        });
        component.named(format!("n{number}"));
        if number > 0 {
            component.after(format!("n{}", number - 1));
        }
    }
    let running = graph.start().await.unwrap();
    let text = running.report().to_string();
    assert!(text.contains("\n  ... and 60 that took less\n"), "{text}");
    assert!(
        !text.contains("\n  n59 ") && text.contains("\n  n60 ") && text.contains("\n  n99 "),
        "{text}"
    );
    assert!(
        text.contains(" > n99 99ms\n  efficiency: 100 %")
            && text.contains("chain: ... 88 more ... > n88 88ms"),
        "{text}"
    );
    running.shutdown().await.unwrap();
}

#[test]
fn the_plan_lists_the_nodes_in_start_order() {
    expect![[r#"
        5 nodes, 5 dependencies
          Config               value
          Database  [storage]            after Config
          Cache     [storage]  optional  after Config
          Warm                 optional  after Cache
          Api                            after Database, Cache (optional)"#]]
    .assert_eq(&graph().plan().unwrap().to_string());
}
