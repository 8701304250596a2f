//! Components that are wanted only under a condition.

use expect_test::expect;
use init_graph::{After, All, BoxError, Cause, Context, Dep, Failure, Graph, Result, Retry};
use tokio::time::sleep;

use crate::support::{Log, ms};

struct Config {
    feature: bool,
}
struct Feature;
struct Behind;
struct Aside(bool, bool);

async fn feature(_: Dep<Config>) -> Result<Feature> {
    sleep(ms(10)).await;
    Ok(Feature)
}

async fn behind(_: Dep<Feature>) -> Result<Behind> {
    Ok(Behind)
}

async fn aside(
    feature: Option<Dep<Feature>>,
    behind: Result<Dep<Behind>, Failure>,
    _: After<Behind>,
) -> Result<Aside> {
    Ok(Aside(
        feature.is_some(),
        behind.is_err_and(|failure| failure.is_condition() && failure.cause().is_none()),
    ))
}

fn graph(wanted: bool, log: &Log) -> Graph {
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Config { feature: wanted });
    graph
        .add(feature)
        .when(|config: Dep<Config>| config.feature);
    graph.add(behind);
    graph.add(aside);
    graph
}

#[tokio::test(start_paused = true)]
async fn a_component_whose_condition_holds_starts() {
    let log = Log::default();
    let running = graph(true, &log).start().await.unwrap();
    assert!(running.get::<Behind>().is_some());
    assert!(running.get::<Aside>().unwrap().0);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_false_condition_skips_the_component_and_those_that_need_it_and_fails_nothing() {
    let log = Log::default();
    let running = graph(false, &log).start().await.unwrap();
    assert!(running.get::<Feature>().is_none() && running.get::<Behind>().is_none());
    let aside = running.get::<Aside>().unwrap();
    assert!(!aside.0 && aside.1);
    expect![[r#"
        planned 4
        starting Config 1
        ready Config
        skipped feature because its condition is false
        skipped behind because the condition of `feature` is false
        starting aside 1
        ready aside
        started in 0ns
        settled in 0ns"#]]
    .assert_eq(&log.text());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_asked_once_and_only_when_what_it_needs_is_ready() {
    struct Settings(bool);
    let log = Log::default();
    let asked = log.clone();
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(50)).await;
        Ok::<_, BoxError>(Settings(true))
    });
    graph
        .add(|cx: Context| async move {
            match cx.attempt() {
                3 => Ok(Feature),
                _ => Err(BoxError::from("not yet")),
            }
        })
        .when(move |settings: Dep<Settings>| {
            asked.say("asked");
            settings.0
        })
        .retry(Retry::fixed(3, ms(1)));
    let running = graph.start().await.unwrap();
    assert_eq!(log.lines(), ["asked"]);
    assert!(running.get::<Feature>().is_some());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_condition_whose_provider_fell_away_is_not_asked() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(|| async { Err::<Config, _>("unreadable") })
        .optional();
    graph
        .add(|| async { Ok::<_, BoxError>(Feature) })
        .when(|_: Dep<Config>| panic!("must not be asked"))
        .optional();
    let running = graph.start().await.unwrap();
    log.at("skipped Feature because `Config` failed");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_panics_fails_its_component_without_an_attempt() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(|| async { Ok::<_, BoxError>(Feature) })
        .when(|| panic!("undecided"))
        .retry(Retry::fixed(3, ms(1)).when(|_| true));
    let error = graph.start().await.unwrap_err();
    let failure = &error.failures()[0];
    assert_eq!(failure.attempts(), 0);
    assert!(matches!(failure.cause(), Cause::Panicked(message) if message == "undecided"));
    assert_eq!(log.count("starting Feature 1"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_condition_is_false_is_not_handed_out() {
    struct Seen(bool, usize);
    for wanted in [true, false] {
        let mut graph = Graph::new();
        graph.value(Feature).when(move || wanted);
        graph.add(|one: Option<Dep<Feature>>, all: All<Feature>| async move {
            Ok::<_, BoxError>(Seen(one.is_some(), all.len()))
        });
        graph.add(|_: Dep<Feature>| async { Ok::<_, BoxError>(Behind) });
        let running = graph.start().await.unwrap();
        let seen = running.get::<Seen>().unwrap();
        assert_eq!((seen.0, seen.1), (wanted, usize::from(wanted)));
        assert_eq!(running.get::<Feature>().is_some(), wanted);
        assert_eq!(running.get::<Behind>().is_some(), wanted);
        running.shutdown().await.unwrap();
    }
}
