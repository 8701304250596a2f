//! What the report of a start says.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use expect_test::expect;
use init_graph::{BoxError, Class, Component, Dep, Graph, Lazy, Outcome, Policy, Retry};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

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
        started 2 components and 1 value in 160ms (own times: 190ms in all, 1.2 times that)
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

/// A component of this name that takes so long.
fn work<'a>(graph: &'a mut Graph, name: &'static str, millis: u64) -> &'a mut Component {
    let component = graph.add(move || async move {
        sleep(ms(millis)).await;
        Ok::<_, BoxError>(())
    });
    component.named(name)
}

#[tokio::test(start_paused = true)]
async fn attempts_and_the_waits_between_them_are_told_apart_from_own_time() {
    let mut graph = Graph::new();
    let left = Arc::new(AtomicU32::new(2));
    let flaky = move || {
        let left = Arc::clone(&left);
        async move {
            sleep(ms(20)).await;
            match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err("not yet"),
                Err(_) => Ok(()),
            }
        }
    };
    graph
        .add(flaky)
        .named("flaky")
        .retry(Retry::fixed(3, ms(100)));
    graph.node("end").after("flaky");
    let running = graph.start().await.unwrap();
    let report = running.report();
    let flaky = report.node("flaky").unwrap();
    assert_eq!((flaky.attempts(), flaky.outcome()), (3, Outcome::Ready));
    assert_eq!(
        (flaky.own(), flaky.backoff(), flaky.took()),
        (ms(60), ms(200), ms(260))
    );
    assert_eq!((flaky.drag(), report.lower_bound()), (ms(260), ms(260)));
    let text = report.to_string();
    assert!(text.contains("3 attempts, 200ms between them"), "{text}");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_permit_are_told_with_the_class_that_was_full() {
    let mut graph = Graph::new();
    let db = Class::new("db");
    for name in ["one", "two", "three", "four"] {
        work(&mut graph, name, 50).class(db.clone());
    }
    graph.limit(db, 2);
    let running = graph.start().await.unwrap();
    expect![[r#"
        started 4 components in 100ms (own times: 200ms in all, 2.0 times that)
          one       50ms  ████████████████················
          two       50ms  ████████████████················
          three     50ms  ░░░░░░░░░░░░░░░░████████████████  queued 50ms for db
          four      50ms  ░░░░░░░░░░░░░░░░████████████████  queued 50ms for db
          critical chain: three 50ms (drag 0ms)
          efficiency: 100 %; no order could take less than 100ms (work of class `db` by its limit)"#]].assert_eq(&running.report().to_string());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_until_a_milestone_is_reported_up_to_it_and_the_rest_later() {
    let mut graph = Graph::new();
    work(&mut graph, "database", 50);
    work(&mut graph, "api", 20).after("database");
    work(&mut graph, "warm-up", 500).after("database");
    work(&mut graph, "metrics", 900).background();
    graph.milestone("ready").after("api");
    let running = graph.start_until("ready").await.unwrap();
    expect![[r#"
        started 2 components in 70ms, until `ready` (own times: 70ms in all, 1.0 times that)
          database     50ms  ███████████████████████·········
          api          20ms  ·······················█████████  after database
          warm-up      20ms  ·······················█████████  still starting, after database
          metrics      70ms  ████████████████████████████████  still starting, background
          ready         0ms  ·······························◆  milestone
          2 still to come
          critical chain: database 50ms > api 20ms > ready
          efficiency: 100 %; no order could take less than 70ms (critical path)"#]]
    .assert_eq(&running.report().to_string());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_failed_and_was_tolerated_is_told_with_its_reason() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Err::<Cache, _>("refused") })
        .named("cache");
    graph.add(|_: Dep<Cache>| async { Ok::<_, BoxError>(Warm) });
    work(&mut graph, "off", 10).when(|| false);
    work(&mut graph, "api", 10);
    graph.policy(Policy::KeepGoing);
    let running = graph.start().await.unwrap();
    let report = running.report();
    let [failure] = report.failures() else {
        panic!("{:?}", report.failures())
    };
    assert_eq!(failure.name(), "cache");
    expect![[r#"
        started 1 component in 10ms (own times: 10ms in all, 1.0 times that)
          cache      0ms  █·······························  failed
          Warm       0ms  ×·······························  skipped
          off        0ms  ×·······························  skipped
          api       10ms  ████████████████████████████████
          `cache` failed: refused
          critical chain: api 10ms"#]]
    .assert_eq(&report.to_string());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_lazy_component_is_not_the_own_time_of_the_one_that_asked() {
    let mut graph = Graph::new();
    let index = || async {
        sleep(ms(100)).await;
        Ok::<_, BoxError>(Cache)
    };
    graph.add(index).named("index");
    let search = |index: Lazy<Cache>| async move {
        sleep(ms(20)).await;
        index.get().await?;
        sleep(ms(5)).await;
        Ok::<_, BoxError>(Api)
    };
    graph.add(search).named("search");
    let unused = |_: Lazy<Database>| async { Ok::<_, BoxError>(Warm) };
    graph.add(|| async { Ok::<_, BoxError>(Database) });
    graph.add(unused).named("unused");
    let running = graph.start().await.unwrap();
    let report = running.report();
    let node = |name: &str| report.node(name).unwrap();
    assert_eq!(
        (node("search").own(), node("search").took()),
        (ms(25), ms(125))
    );
    assert_eq!(
        (node("index").waited(), node("index").drag()),
        (ms(20), ms(100))
    );
    assert_eq!(node("Database").outcome(), Outcome::Unasked);
    let chain: Vec<_> = report
        .critical_chain()
        .iter()
        .map(|node| node.name())
        .collect();
    assert_eq!(chain, ["index", "search"]);
    assert!(
        report.to_string().contains("\n  1 not asked for\n"),
        "{report}"
    );
    running.shutdown().await.unwrap();
}

/// What a lazy component has to wait for itself, a permit or another one, is not the time of the one that asked either.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_lazy_component_is_counted_from_the_question() {
    let mut graph = Graph::new();
    graph.concurrency(1);
    work(&mut graph, "table", 40);
    let index = || async {
        sleep(ms(30)).await;
        Ok::<_, BoxError>(Cache)
    };
    graph.add(index).named("index").after("table");
    let search = |index: Lazy<Cache>| async move {
        sleep(ms(10)).await;
        index.get().await?;
        sleep(ms(5)).await;
        Ok::<_, BoxError>(Api)
    };
    graph.add(search).named("search");
    work(&mut graph, "bystander", 20);
    let running = graph.start().await.unwrap();
    let report = running.report();
    let search = report.node("search").unwrap();
    assert_eq!((search.own(), search.took()), (ms(15), ms(105)), "{report}");
    assert_eq!((report.took(), report.work()), (ms(105), ms(105)));
    assert_eq!(report.parallelism(), 1.0);
    assert_eq!(
        search.drag(),
        ms(15),
        "all of it comes before or after the wait"
    );
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn components_that_ask_for_one_another_have_a_drag_each() {
    struct Inner;
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(30)).await;
        Ok::<_, BoxError>(Inner)
    });
    let middle = |inner: Lazy<Inner>| async move {
        sleep(ms(20)).await;
        inner.get().await?;
        sleep(ms(5)).await;
        Ok::<_, BoxError>(Cache)
    };
    graph.add(middle).named("middle");
    let outer = |middle: Lazy<Cache>| async move {
        sleep(ms(10)).await;
        middle.get().await?;
        sleep(ms(5)).await;
        Ok::<_, BoxError>(Api)
    };
    graph.add(outer).named("outer");
    work(&mut graph, "beside", 60);
    let running = graph.start().await.unwrap();
    let report = running.report();
    let of = |name: &str| {
        let node = report.node(name).unwrap();
        (node.own(), node.drag())
    };
    assert_eq!(report.took(), ms(70));
    assert_eq!(of("Inner"), (ms(30), ms(10)), "{report}");
    assert_eq!(of("middle"), (ms(25), ms(10)), "{report}");
    assert_eq!(of("outer"), (ms(15), ms(10)), "{report}");
    assert_eq!(report.lower_bound(), ms(70));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_what_is_ready_by_then_has_waited_for_nothing() {
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(30)).await;
        Ok::<_, BoxError>(Cache)
    });
    let first = |cache: Lazy<Cache>| async move {
        cache.get().await?;
        Ok::<_, BoxError>(())
    };
    graph.add(first).named("first");
    let late = |cache: Lazy<Cache>| async move {
        sleep(ms(80)).await;
        cache.get().await?;
        Ok::<_, BoxError>(())
    };
    graph.add(late).named("late");
    let running = graph.start().await.unwrap();
    let report = running.report();
    let own = |name: &str| report.node(name).unwrap().own();
    assert_eq!((own("first"), own("late")), (ms(0), ms(80)), "{report}");
    running.shutdown().await.unwrap();
}

/// A failure that somebody copes with is no less a wait.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_lazy_component_that_fails_is_not_own_time_either() {
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(30)).await;
        Err::<Cache, _>("refused")
    });
    let copes = |cache: Lazy<Cache>| async move {
        sleep(ms(10)).await;
        Ok::<_, BoxError>(cache.get().await.is_ok())
    };
    graph.add(copes).named("copes");
    let running = graph.start().await.unwrap();
    let report = running.report();
    let copes = report.node("copes").unwrap();
    assert_eq!((copes.own(), copes.took()), (ms(10), ms(40)), "{report}");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_hands_its_report_out_with_the_error() {
    let mut graph = Graph::new();
    work(&mut graph, "database", 30);
    work(&mut graph, "model", 500);
    graph
        .add(|| async {
            sleep(ms(40)).await;
            Err::<(), _>("refused")
        })
        .named("cache")
        .after("database");
    work(&mut graph, "api", 10).after("cache");
    let error = graph.start().await.unwrap_err();
    let report = error.report().unwrap();
    let outcome = |name: &str| report.node(name).unwrap().outcome();
    assert_eq!(
        ["database", "model", "cache", "api"].map(outcome),
        [
            Outcome::Ready,
            Outcome::Cancelled,
            Outcome::Failed,
            Outcome::Skipped
        ]
    );
    expect![[r#"
        start given up after 70ms (own times: 140ms in all, 2.0 times that)
          database     30ms  ██████████████··················
          model        70ms  ████████████████████████████████  cancelled
          cache        40ms  ··············██████████████████  failed, after database
          api           0ms  ·······························×  skipped
          `cache` failed: refused
          critical chain: database 30ms > cache 40ms"#]]
    .assert_eq(&report.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_cancelled_or_too_late_tells_how_far_it_came() {
    let stuck = || {
        let mut graph = Graph::new();
        work(&mut graph, "database", 30);
        work(&mut graph, "migrations", 3_600_000).after("database");
        graph
    };
    let mut late = stuck();
    late.timeout(ms(100));
    let token = CancellationToken::new();
    let mut cancelled = stuck();
    cancelled.cancel_on(token.clone());
    let cancel = async {
        sleep(ms(100)).await;
        token.cancel();
    };
    let (late, (cancelled, ())) = (late.start().await, tokio::join!(cancelled.start(), cancel));
    for error in [late.unwrap_err(), cancelled.unwrap_err()] {
        let report = error.report().unwrap();
        assert_eq!(report.took(), ms(100));
        let chain: Vec<_> = report
            .critical_chain()
            .iter()
            .map(|node| node.name())
            .collect();
        assert_eq!(chain, ["database", "migrations"]);
        let stuck = report.node("migrations").unwrap();
        assert_eq!(
            (stuck.outcome(), stuck.own()),
            (Outcome::Cancelled, ms(70)),
            "{error}"
        );
    }
    let mut wrong = Graph::new();
    wrong.node("a").after("b");
    assert!(wrong.start().await.unwrap_err().report().is_none());
}

#[tokio::test(start_paused = true)]
async fn words_of_others_break_no_line_of_a_report_and_steer_no_terminal() {
    let hostile = "\u{1b}[2J\r\n\u{202e}";
    let mut graph = Graph::new();
    let class = Class::new(format!("class{hostile}"));
    graph.limit(class.clone(), 1);
    for name in ["a", "b"] {
        let fails = move || async move {
            sleep(ms(10)).await;
            Err::<(), BoxError>(format!("<html>{hostile}{}", "x".repeat(100_000)).into())
        };
        graph
            .add(fails)
            .named(format!("{name}{hostile}"))
            .stage(format!("stage{hostile}"))
            .class(class.clone())
            .optional();
    }
    let stops_badly = move |cx: init_graph::Context| async move {
        cx.on_stop(move || async move {
            sleep(ms(1)).await;
            Err(format!("stop{hostile}").into())
        });
        sleep(ms(1)).await;
        Ok::<_, BoxError>(())
    };
    for name in ["c", "d"] {
        graph
            .add(stops_badly)
            .named(format!("{name}{hostile}"))
            .after(format!("b{hostile}"));
    }
    let plan = graph.plan().unwrap().to_string();
    let running = graph.start().await.unwrap();
    let report = running.report().to_string();
    let stopped = running.shutdown().await.unwrap_err().report().to_string();
    for (text, lines) in [(plan, 5), (report, 9), (stopped, 3)] {
        let steers = |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
        assert!(text.contains(r"\u{1b}[2J\r\n"), "{text}");
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(text.len() < 3_000, "{}", text.len());
    }
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
