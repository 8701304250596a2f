//! Names, numbers and graphs beyond all reason: answered in a moment, by an error or by doing it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use init_graph::{
    All, BoxError, Cause, Class, Context, Dep, Graph, GraphError, Retry, WiringError,
    WiringErrorKind,
};

struct Db;
struct Replica;
struct Nobody;

#[track_caller]
fn errors(graph: &Graph) -> Vec<WiringError> {
    let GraphError::Wiring(errors) = graph.check().unwrap_err() else {
        panic!("only the wiring can be wrong")
    };
    let mut text = String::new();
    write!(text, "{errors}").unwrap();
    assert!(!text.is_empty());
    errors.iter().cloned().collect()
}

fn consumer(graph: &mut Graph) -> &mut init_graph::Component {
    graph.add(|_: Dep<Db>| async { Ok::<_, BoxError>(()) })
}

#[test]
fn a_point_may_come_after_any_number_of_names() {
    let mut graph = Graph::new();
    for number in 0..70_000 {
        graph.node(format!("n{number}"));
    }
    let ready = graph.milestone("ready");
    for number in 0..70_000 {
        ready.after(format!("n{number}"));
    }
    let plan = graph.plan().unwrap();
    let ready = plan.nodes().last().unwrap();
    assert_eq!(plan.dependencies(ready.id()).len(), 70_000);
}

#[test]
fn a_value_may_be_handed_out_any_number_of_times() {
    let mut graph = Graph::new();
    let value = graph.value(Db);
    for _ in 0..70_000 {
        value.provide(|db: Arc<Db>| db as Arc<dyn Send + Sync>);
    }
    graph.add(|_: Dep<dyn Send + Sync>| async { Ok::<_, BoxError>(()) });
    graph.check().unwrap();
}

#[test]
fn a_plan_with_a_name_of_any_length_is_shown() {
    let mut graph = Graph::new();
    let name = "x".repeat(100_000);
    graph.node(name.clone()).stage(name.clone());
    graph.node("y").after(name.clone()).class(Class::new(name));
    let shown = graph.plan().unwrap().to_string();
    assert!(shown.len() < 2_000, "{} letters", shown.len());
}

#[test]
fn names_of_any_length_are_not_compared_letter_by_letter() {
    let mut graph = Graph::new();
    graph.node("x".repeat(300_000));
    graph.node("y").after("x".repeat(300_001));
    assert_eq!(errors(&graph)[0].kind(), WiringErrorKind::Missing);
}

#[test]
fn of_a_type_that_is_doubled_a_thousandfold_there_is_one_error() {
    let mut graph = Graph::new();
    for _ in 0..20_000 {
        graph.value(Db);
        consumer(&mut graph);
    }
    let errors = errors(&graph);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].nodes().len(), 20_000);
}

#[test]
fn thousands_that_cannot_tell_among_thousands_are_told_each_by_the_first_few() {
    let mut graph = Graph::new();
    for number in 0..3_000 {
        graph.value(Db).named(format!("db-{number}"));
        consumer(&mut graph);
    }
    let errors = errors(&graph);
    assert_eq!(errors.len(), 3_000);
    assert!(errors.iter().all(|error| error.nodes().len() == 9));
}

#[test]
fn thousands_of_wrong_choices_are_each_an_error() {
    let mut graph = Graph::new();
    for number in 0..20_000 {
        graph
            .value(Db)
            .named(format!("db-{number}"))
            .tagged::<Replica>();
        consumer(&mut graph).wire::<Db>("db-");
        graph.add(|_: Dep<Db, Nobody>| async { Ok::<_, BoxError>(()) });
    }
    let errors = errors(&graph);
    assert_eq!(errors.len(), 40_000);
}

#[test]
fn thousands_that_choose_among_thousands_are_no_error() {
    let mut graph = Graph::new();
    graph.value(Db);
    for number in 0..100_000 {
        graph.value(Db).named(format!("db-{number}"));
        consumer(&mut graph).wire::<Db>(format!("db-{number}"));
        consumer(&mut graph);
    }
    graph.check().unwrap();
}

#[test]
fn control_characters_do_not_reach_the_text_of_an_error() {
    let mut graph = Graph::new();
    let name = "a\n  help: \u{1b}[31mred";
    graph.node(name).after("b\rc");
    consumer(&mut graph).named("d\te").wire::<Db>("f\ng");
    graph.node("h\n").after("h\n");
    let errors = errors(&graph);
    assert_eq!(errors[0].nodes(), [name]);
    for error in errors {
        for line in error.to_string().lines() {
            assert!(!line.contains(char::is_control), "{error}");
        }
        assert!(error.to_string().lines().count() <= 3, "{error}");
    }
}

/// On a thread with little stack, where recursion over the nodes would end the process.
#[test]
fn a_failure_takes_any_number_of_components_with_it() {
    let work = || {
        let mut graph = Graph::new();
        graph
            .add(|| async { Err::<Db, _>(BoxError::from("refused")) })
            .named("n0")
            .optional();
        for number in 1..50_000 {
            graph
                .add(|_: Dep<Db>| async { Ok::<_, BoxError>(Db) })
                .named(format!("n{number}"))
                .wire::<Db>(format!("n{}", number - 1))
                .optional();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let running = graph.start().await.unwrap();
            let last = running.reached("n49999").await.unwrap_err();
            assert_eq!(last.root().name(), "n0");
            assert_eq!(last.to_string(), "`n49999` was skipped because `n0` failed");
            running.shutdown().await.unwrap();
        });
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_before_another_attempt_is_no_panic() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Err::<Db, _>(BoxError::from("refused")) })
        .retry(Retry::fixed(3, Duration::MAX))
        .total_timeout(Duration::from_secs(5));
    let error = graph.start().await.unwrap_err();
    let failure = &error.failures()[0];
    assert!(matches!(failure.cause(), Cause::Failed(_)), "{error}");
    assert_eq!(failure.attempts(), 1);

    let mut graph = Graph::new();
    graph.timeout(Duration::from_secs(5));
    graph
        .add(|| async { Err::<Db, _>(BoxError::from("refused")) })
        .retry(Retry::fixed(3, Duration::MAX));
    let error = graph.start().await.unwrap_err();
    let cause = error.failures()[0].cause();
    assert!(matches!(cause, Cause::Deadline(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_collects_what_it_makes_itself_gets_the_others() {
    let mut graph = Graph::new();
    graph.value(7_u32);
    graph
        .add(|all: All<u32>, cx: Context| async move {
            cx.keep_alive();
            Ok::<_, BoxError>(all.iter().map(|one| **one).sum::<u32>() + 1)
        })
        .named("sum");
    let running = graph.start().await.unwrap();
    assert_eq!(running.get_named::<u32>("sum").as_deref(), Some(&8));
    running.shutdown().await.unwrap();
}

#[test]
fn letters_that_end_lines_or_turn_the_text_round_are_in_no_drawing() {
    let mut graph = Graph::new();
    graph.node("a\u{2028}b\u{202e}c\0d").stage("e\u{2066}f");
    let plan = graph.plan().unwrap();
    for drawing in [plan.to_string(), plan.to_dot(), plan.to_mermaid()] {
        assert!(drawing.contains('a') && drawing.contains('f'), "{drawing}");
        let steering = ['\u{2028}', '\u{202e}', '\u{2066}', '\0'];
        assert!(!drawing.contains(steering), "{drawing}");
    }
}
