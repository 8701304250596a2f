//! A plan as text and as drawings, and what it says of each node.

use expect_test::{Expect, expect};
use init_graph::{Class, Dep, EdgeKind, Graph, GraphError, Lazy, Live, Plan, Result};

use crate::support::without_lines;

struct Config;
struct Database;
struct Cache;
struct Model;
struct Api;

async fn database(_: Dep<Config>) -> Result<Database> {
    Ok(Database)
}

async fn cache(_: Dep<Config>, _: Live<Database>) -> Result<Cache> {
    Ok(Cache)
}

async fn model(_: Dep<Config>) -> Result<Model> {
    Ok(Model)
}

async fn api(_: Dep<Database>, _: Option<Dep<Cache>>, _: Lazy<Model>) -> Result<Api> {
    Ok(Api)
}

async fn warm(_: Dep<Cache>) -> Result<()> {
    Ok(())
}

fn graph() -> Graph {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(database).stage("storage");
    graph
        .add(cache)
        .stage("storage")
        .optional()
        .when(|_: Dep<Config>| true);
    graph.add(model).class(Class::CPU);
    graph.add(api).after("cache");
    graph.add(warm).optional().background();
    graph.milestone("ready").needs::<Api>();
    graph
}

#[test]
fn the_text_has_a_line_for_each_node_in_columns() {
    expect![[r#"
        7 nodes, 8 dependencies
          Config               value
          database  [storage]                         after Config
          cache     [storage]  optional, conditional  after Config, database
          model                lazy, class cpu        after Config
          api                                         after database, cache (optional)  may ask for model
          warm                 background, optional   after cache
          ready                milestone              after api"#]].assert_eq(&graph().plan().unwrap().to_string());
}

#[test]
fn dot_draws_stages_as_clusters_and_edges_by_kind() {
    expect![[r#"
        digraph plan {
          rankdir=LR;
          node [shape=box, fontname="sans-serif"];
          n0 [label="Config\nvalue", shape=ellipse];
          n3 [label="model\nlazy, class cpu", style=dashed];
          n4 [label="api"];
          n5 [label="warm\nbackground, optional"];
          n6 [label="ready\nmilestone", shape=diamond];
          subgraph cluster_1 {
            label="storage";
            n1 [label="database"];
            n2 [label="cache\noptional, conditional"];
          }
          n0 -> n1;
          n0 -> n2;
          n1 -> n2 [label="live"];
          n0 -> n3;
          n1 -> n4;
          n2 -> n4 [style=dashed];
          n2 -> n5;
          n4 -> n6;
          n3 -> n4 [style=dashed, color=gray50, label="lazy", constraint=false];
        }
    "#]]
    .assert_eq(&graph().plan().unwrap().to_dot());
}

#[test]
fn mermaid_draws_stages_as_subgraphs_and_edges_by_kind() {
    expect![[r#"
        flowchart LR
          n0("Config<br/>value")
          n3["model<br/>lazy, class cpu"]
          n4["api"]
          n5["warm<br/>background, optional"]
          n6{{"ready<br/>milestone"}}
          subgraph s1["storage"]
            n1["database"]
            n2["cache<br/>optional, conditional"]
          end
          n0 --> n1
          n0 --> n2
          n1 -- live --> n2
          n0 --> n3
          n1 --> n4
          n2 -.-> n4
          n2 --> n5
          n4 --> n6
          n3 -. lazy .-> n4
    "#]]
    .assert_eq(&graph().plan().unwrap().to_mermaid());
}

#[cfg(feature = "json")]
#[test]
fn json_has_a_version_and_positions() {
    expect![[r#"{"version":1,"nodes":[{"name":"Config","stage":null,"class":"io","value":true,"optional":false,"background":false,"milestone":false,"lazy":false,"conditional":false,"added_at":"crates/init-graph/tests/it/plan.rs:N"},{"name":"database","stage":"storage","class":"io","value":false,"optional":false,"background":false,"milestone":false,"lazy":false,"conditional":false,"added_at":"crates/init-graph/tests/it/plan.rs:N"},{"name":"cache","stage":"storage","class":"io","value":false,"optional":true,"background":false,"milestone":false,"lazy":false,"conditional":true,"added_at":"crates/init-graph/tests/it/plan.rs:N"},{"name":"model","stage":null,"class":"cpu","value":false,"optional":false,"background":false,"milestone":false,"lazy":true,"conditional":false,"added_at":"crates/init-graph/tests/it/plan.rs:N"},{"name":"api","stage":null,"class":"io","value":false,"optional":false,"background":false,"milestone":false,"lazy":false,"conditional":false,"added_at":"crates/init-graph/tests/it/plan.rs:N"},{"name":"warm","stage":null,"class":"io","value":false,"optional":true,"background":true,"milestone":false,"lazy":false,"conditional":false,"added_at":"crates/init-graph/tests/it/plan.rs:N"},{"name":"ready","stage":null,"class":"io","value":false,"optional":false,"background":false,"milestone":true,"lazy":false,"conditional":false,"added_at":"crates/init-graph/tests/it/plan.rs:N"}],"edges":[{"from":0,"to":1,"kind":"hard"},{"from":0,"to":2,"kind":"hard"},{"from":1,"to":2,"kind":"live"},{"from":0,"to":3,"kind":"hard"},{"from":1,"to":4,"kind":"hard"},{"from":2,"to":4,"kind":"soft"},{"from":2,"to":5,"kind":"hard"},{"from":4,"to":6,"kind":"hard"},{"from":3,"to":4,"kind":"lazy"}],"unused":[]}"#]].assert_eq(&without_lines(&graph().plan().unwrap().to_json()));
}

#[test]
fn edges_tell_what_is_wanted_by_the_strongest_need() {
    let plan = graph().plan().unwrap();
    let kind = |from: &str, to: &str| {
        let mut edges = plan.edges();
        let name = |id| plan.node(id).name();
        let edge = edges.find(|edge| name(edge.from) == from && name(edge.to) == to);
        edge.map(|edge| edge.kind)
    };
    assert_eq!(kind("database", "cache"), Some(EdgeKind::Live));
    assert_eq!(kind("cache", "api"), Some(EdgeKind::Soft));
    assert_eq!(kind("model", "api"), Some(EdgeKind::Lazy));
    assert_eq!(kind("api", "ready"), Some(EdgeKind::Hard));
    assert_eq!(kind("Config", "api"), None);
}

#[test]
fn hostile_names_stay_inside_of_their_quotes() {
    let mut graph = Graph::new();
    let hostile = "a\"] --> b;\n}\\ %%{init}%% `c` <b>#quot;&lt; \u{7} \u{1f980} \u{e4}";
    graph.node(hostile).stage("end\"\n");
    graph.node("end").after(hostile);
    let plan = graph.plan().unwrap();
    expect![[r#"
        digraph plan {
          rankdir=LR;
          node [shape=box, fontname="sans-serif"];
          n1 [label="end"];
          subgraph cluster_1 {
            label="end\"\n";
            n0 [label="a\"] --> b;\n}\\ %%{init}%% `c` <b>#quot;&amp;lt;   🦀 ä"];
          }
          n0 -> n1 [style=dotted, arrowhead=empty];
        }
    "#]]
    .assert_eq(&plan.to_dot());
    expect![[r#"
        flowchart LR
          n1["end"]
          subgraph s1["end#34;<br/>"]
            n0["a#34;#93; --#62; b#59;<br/>#125;#92; #37;#37;#123;init#125;#37;#37; #96;c#96; #60;b#62;#35;quot#59;#38;lt#59;   🦀 ä"]
          end
          n0 --o n1
    "#]].assert_eq(&plan.to_mermaid());
    expect![[r#"
        2 nodes, 1 dependency
          a"] --> b;\n}\ %%{init}%% `c` <b>#quot;&lt; \u{7} 🦀 ä  [end"\n]
          end                                                              after a"] --> b;\n}\ %%{init}%% `c` <b>#quot;&lt; \u{7} 🦀 ä"#]].assert_eq(&plan.to_string());
}

#[test]
fn a_large_plan_is_one_box_for_each_stage_in_mermaid() {
    let mut graph = Graph::new();
    for stage in ["storage", "service", "edge"] {
        for number in 0..20 {
            let node = graph.node(format!("{stage}-{number}"));
            node.stage(stage);
            for other in 0..20 {
                match stage {
                    "service" => _ = node.after(format!("storage-{other}")),
                    "edge" => _ = node.after(format!("service-{other}")),
                    _ => {}
                }
            }
        }
    }
    expect![[r#"
        flowchart LR
          s1["storage<br/>20 nodes"]
          s2["service<br/>20 nodes"]
          s3["edge<br/>20 nodes"]
          s1 -->|400| s2
          s2 -->|400| s3
    "#]]
    .assert_eq(&graph.plan().unwrap().to_mermaid());
}

#[test]
fn what_depends_on_a_background_node_is_in_the_background() {
    let mut graph = Graph::new();
    graph.node("slow").background();
    graph.node("behind").after("slow");
    graph.milestone("all").after("behind");
    graph.node("other");
    graph.milestone("ready").after("other");
    let background = flagged(&graph, init_graph::Node::is_background);
    assert_eq!(background, ["slow", "behind", "all"]);
}

fn flagged(graph: &Graph, flag: impl Fn(&init_graph::Node) -> bool) -> Vec<String> {
    let plan: Plan = graph.plan().unwrap();
    let nodes = plan.nodes().iter().filter(|node| flag(node));
    nodes.map(|node| node.name().to_owned()).collect()
}

// === who waits until somebody asks ===

#[test]
fn what_only_a_lazy_reaches_waits_with_all_that_only_it_needs() {
    struct Private;
    let mut graph = Graph::new();
    graph.value(Config);
    graph
        .add(|| async { Ok::<_, init_graph::BoxError>(Private) })
        .named("private");
    graph
        .add(|_: Dep<Private>, _: Dep<Config>| async { Ok::<_, init_graph::BoxError>(Model) })
        .named("model");
    graph
        .add(|_: Lazy<Model>, _: Dep<Config>| async { Ok::<_, init_graph::BoxError>(Api) })
        .named("api");
    assert_eq!(
        flagged(&graph, init_graph::Node::is_lazy),
        ["private", "model"]
    );
    // One who takes it at once is enough.
    graph.node("eager").needs::<Private>();
    assert_eq!(flagged(&graph, init_graph::Node::is_lazy), ["model"]);
    graph.node("too").needs::<Model>();
    assert_eq!(flagged(&graph, init_graph::Node::is_lazy), [""; 0]);
}

#[test]
fn who_asks_first_of_two_that_reach_each_other_starts() {
    let mut graph = Graph::new();
    graph
        .add(|_: Lazy<Model>| async { Ok::<_, init_graph::BoxError>(Cache) })
        .named("cache");
    graph
        .add(|_: Dep<Cache>| async { Ok::<_, init_graph::BoxError>(Model) })
        .named("model");
    assert_eq!(flagged(&graph, init_graph::Node::is_lazy), ["model"]);
}

#[test]
fn a_lazy_of_ones_own_value_makes_nobody_wait() {
    let mut graph = Graph::new();
    graph
        .add(|_: Lazy<Model>| async { Ok::<_, init_graph::BoxError>(Model) })
        .named("model");
    assert_eq!(flagged(&graph, init_graph::Node::is_lazy), [""; 0]);
}

#[test]
fn what_nobody_can_use_is_listed() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.value(Api);
    graph.node("reader").needs::<Api>();
    graph
        .add(|_: Lazy<Model>| async { Ok::<_, init_graph::BoxError>(Cache) })
        .named("cache");
    graph
        .add(|_: Lazy<Cache>| async { Ok::<_, init_graph::BoxError>(Model) })
        .named("model");
    let plan = graph.plan().unwrap();
    let unused: Vec<_> = plan.unused().iter().map(|node| node.name()).collect();
    assert_eq!(unused, ["Config", "cache", "model"]);
    assert!(plan.to_string().ends_with("\nunused: Config, cache, model"));
}

// === the goal of a start ===

#[tokio::test]
async fn a_start_until_what_is_no_milestone_is_refused() {
    let refused = async |name: &str, expected: Expect| {
        let error = graph().start_until(name).await.unwrap_err();
        let GraphError::Wiring(errors) = error else {
            panic!("{error}")
        };
        expected.assert_eq(&without_lines(&errors.to_string()));
    };
    refused(
        "redy",
        expect![[r#"
        there is no milestone named `redy`
          help: did you mean `ready`?"#]],
    )
    .await;
    refused("database", expect![[r#"
        `database` is no milestone
          `database` (added at crates/init-graph/tests/it/plan.rs:N)
          help: add a point that comes after it, by `graph.milestone("ready").after("database")`"#]]).await;
    refused(
        "nothing",
        expect![[r#"
        there is no milestone named `nothing`
          help: there is `ready`"#]],
    )
    .await;
}
