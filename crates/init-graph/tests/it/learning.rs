//! What a graph that keeps a history does with it, and that nothing about the file ever fails a start.

use std::fs;
use std::path::Path;

use init_graph::{BoxError, Graph, History, Running};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::{Log, ms};
use crate::telemetry::Logged;

/// Three short components before a long one, two at a time, in a graph that keeps its history in `file`.
fn graph(file: &Path, log: &Log, a: u64) -> Graph {
    let mut graph = Graph::new();
    for (name, millis) in [("a", a), ("b", 10), ("c", 10), ("long", 80)] {
        let work = move || async move {
            sleep(ms(millis)).await;
            Ok::<_, BoxError>(())
        };
        graph.add(work).named(name);
    }
    graph.concurrency(2);
    graph.history(file);
    graph.observe(log.clone());
    graph
}

async fn start(file: &Path) -> (Running, Log) {
    let log = Log::default();
    let running = graph(file, &log, 10).start().await.unwrap();
    (running, log)
}

#[tokio::test(start_paused = true)]
async fn after_one_start_what_took_longest_begins_first() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state/start.json");
    let (running, log) = start(&file).await;
    assert_eq!(running.report().took(), ms(90));
    assert!(log.at("starting a 1") < log.at("starting long 1"));
    running.shutdown().await.unwrap();

    let (running, log) = start(&file).await;
    assert_eq!(running.report().took(), ms(80));
    assert!(log.at("starting long 1") < log.at("starting a 1"));
    running.shutdown().await.unwrap();
    let (history, error) = History::load(&file);
    assert!(error.is_none() && history.runs().len() == 2, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_report_tells_what_was_slower_than_usual() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("start.json");
    for _ in 0..2 {
        start(&file).await.0.shutdown().await.unwrap();
    }
    let running = graph(&file, &Log::default(), 50).start().await.unwrap();
    let text = running.report().to_string();
    assert!(
        text.contains("slower than usual: a 50ms, usually 10ms"),
        "{text}"
    );
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn starts_that_fail_over_and_over_do_not_push_out_the_good_ones() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("start.json");
    start(&file).await.0.shutdown().await.unwrap();
    for _ in 0..30 {
        let mut graph = graph(&file, &Log::default(), 10);
        graph.add(|| async {
            sleep(ms(5)).await;
            Err::<(), _>("refused")
        });
        graph.start().await.unwrap_err();
    }
    let (history, error) = History::load(&file);
    assert!(error.is_none(), "{error:?}");
    let started: Vec<_> = history.runs().map(|run| run.started).collect();
    assert_eq!(started, [true, false, false, false, false, false]);
    assert_eq!(history.expected("long"), Some(ms(80)));
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_history_is_named_in_the_log_and_replaced() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("start.json");
    fs::write(&file, "{\"version\":1,\n").unwrap();
    let logged = Logged::default();
    let _guard = logged.install();
    start(&file).await.0.shutdown().await.unwrap();
    let text = logged.text();
    assert!(
        text.contains("WARN") && text.contains("start.json`: line 1 is ignored"),
        "{text}"
    );
    let (history, error) = History::load(&file);
    assert!(error.is_none() && history.runs().len() == 1, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_folder_in_its_place_costs_two_warnings_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let logged = Logged::default();
    let _guard = logged.install();
    start(folder.path()).await.0.shutdown().await.unwrap();
    let text = logged.text();
    assert!(text.contains("cannot be read: it is not a file"), "{text}");
    assert!(text.contains("cannot be written"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_says_for_what_every_few_seconds_until_it_is_over() {
    let mut graph = Graph::new();
    let database = |cx: init_graph::Context| async move {
        cx.message("connecting");
        sleep(ms(12_000)).await;
        Ok::<_, BoxError>(())
    };
    graph.add(database).named("database");
    graph.node("api").after("database");
    graph
        .add(|| async { std::future::pending::<Result<(), BoxError>>().await })
        .named("metrics")
        .background();
    let logged = Logged::default();
    let _guard = logged.install();
    let running = graph.start().await.unwrap();
    sleep(ms(60_000)).await;
    let lines = logged.text();
    let lines: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split_once("waiting for "))
        .map(|(_, line)| line)
        .collect();
    expect_test::expect![[r#"
        `database` (5000ms, "connecting"); 1 waits behind it
        `database` (10.0s, "connecting"); 1 waits behind it"#]]
    .assert_eq(&lines.join("\n"));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_period_of_zero_says_nothing() {
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(60_000)).await;
        Ok::<_, BoxError>(())
    });
    graph.waiting_every(ms(0));
    let logged = Logged::default();
    let _guard = logged.install();
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert!(!logged.text().contains("waiting for"), "{}", logged.text());
}

/// Twelve components of random times and orders, two at a time.
fn random(seed: u64, file: &Path) -> Graph {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut graph = Graph::new();
    let mut added = Vec::new();
    for number in 0..12 {
        let millis = random.u64(1..100);
        let component = graph.add(move || async move {
            sleep(ms(millis)).await;
            Ok::<_, BoxError>(())
        });
        component.named(format!("n{number}"));
        for _ in 0..random.usize(0..3) {
            if let Some(earlier) = random.choice(&added) {
                component.after(*earlier);
            }
        }
        added.push(component.id());
    }
    graph.concurrency(2);
    graph.history(file);
    graph
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_never_makes_a_start_longer() {
    let folder = TempDir::new().unwrap();
    let mut shorter = 0;
    for seed in 0..100 {
        let file = folder.path().join(seed.to_string());
        let mut took = Vec::new();
        for _ in 0..2 {
            let running = random(seed, &file).start().await.unwrap();
            took.push(running.report().took());
            running.shutdown().await.unwrap();
        }
        assert!(took[1] <= took[0], "seed {seed}: {took:?}");
        shorter += usize::from(took[1] < took[0]);
    }
    assert!(shorter > 10, "{shorter}");
}
