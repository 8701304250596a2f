//! Components that start when they are asked for: once, shared, never in a circle, and stopped in the right place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use init_graph::{BoxError, Class, Context, Dep, Graph, Lazy, LazyError, Result, Running};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Log, ms};

struct Base;
#[derive(Debug)]
struct Model(u32);
struct Owner {
    model: Lazy<Model>,
}

async fn owner(model: Lazy<Model>) -> Result<Owner> {
    Ok(Owner { model })
}

/// `Model`, which counts its starts and takes 10 ms, and an `Owner` that may ask for it.
fn counted(starts: &Arc<AtomicU32>) -> Graph {
    let starts = Arc::clone(starts);
    let mut graph = Graph::new();
    graph.add(move || {
        let starts = Arc::clone(&starts);
        async move {
            let number = starts.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(ms(10)).await;
            Ok::<_, BoxError>(Model(number))
        }
    });
    graph.add(owner);
    graph
}

fn lazy(running: &Running) -> Lazy<Model> {
    running.get::<Owner>().unwrap().model.clone()
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_before_somebody_asks_and_everybody_shares_one_start() {
    let starts = Arc::default();
    let begun = Instant::now();
    let running = counted(&starts).start().await.unwrap();
    assert_eq!((begun.elapsed(), starts.load(Ordering::SeqCst)), (ms(0), 0));
    let model = lazy(&running);
    assert!(model.try_get().is_none());
    let (first, second) = tokio::join!(model.get(), model.get());
    assert_eq!(
        (begun.elapsed(), starts.load(Ordering::SeqCst)),
        (ms(10), 1)
    );
    let third = model.get().await.unwrap();
    assert!(std::ptr::eq(&*first.unwrap(), &*third));
    assert!(std::ptr::eq(&*second.unwrap(), &*third));
    assert!(std::ptr::eq(&*model.try_get().unwrap(), &*third));
    assert!(running.get::<Model>().is_some());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_get_does_not_cancel_the_start() {
    let starts = Arc::default();
    let running = counted(&starts).start().await.unwrap();
    let model = lazy(&running);
    assert!(timeout(ms(5), model.get()).await.is_err());
    sleep(ms(6)).await;
    assert_eq!(model.try_get().unwrap().0, 1);
    assert_eq!(model.get().await.unwrap().0, 1);
}

#[tokio::test(start_paused = true)]
async fn what_it_depends_on_starts_with_it_in_order_and_only_then() {
    struct Weights;
    struct Tokens;
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|| async { Ok::<_, BoxError>(Weights) });
    graph.add(|_: Dep<Weights>| async { Ok::<_, BoxError>(Tokens) });
    graph.add(|_: Dep<Tokens>, _: Dep<Base>| async { Ok::<_, BoxError>(Model(1)) });
    graph.add(|| async { Ok::<_, BoxError>(Base) });
    graph.add(|_: Dep<Base>, model: Lazy<Model>| owner(model));
    let running = graph.start().await.unwrap();
    assert_eq!(log.count("starting Base 1"), 1);
    assert_eq!(log.count("starting Weights 1"), 0);
    lazy(&running).get().await.unwrap();
    assert!(log.at("ready Weights") < log.at("starting Tokens 1"));
    assert!(log.at("ready Tokens") < log.at("starting Model 1"));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_others_depend_on_starts_by_itself_and_get_waits_for_it() {
    let starts = Arc::default();
    let mut graph = counted(&starts);
    graph.add(|_: Dep<Model>| async { Ok::<_, BoxError>(Base) });
    graph.add(|model: Lazy<Model>| async move { Ok::<_, BoxError>(model.get().await?.0) });
    let running = graph.start().await.unwrap();
    assert_eq!(running.get::<u32>().as_deref(), Some(&1));
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_goes_to_whoever_asked_and_to_nobody_else() {
    struct Weights;
    let mut graph = Graph::new();
    graph.add(|| async { Err::<Weights, BoxError>("no file".into()) });
    graph.add(|_: Dep<Weights>| async { Ok::<_, BoxError>(Model(1)) });
    graph.add(owner);
    let running = graph.start().await.unwrap();
    let model = lazy(&running);
    for _ in 0..2 {
        let error = model.get().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`Model` was skipped because `Weights` failed"
        );
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "no file"
        );
    }
    assert!(running.failures().is_empty());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_for_what_waits_for_oneself_is_an_error_with_the_path() {
    struct Middle;
    let mut graph = Graph::new();
    graph
        .add(|model: Lazy<Model>| async move {
            let error = model.get().await.unwrap_err();
            assert!(error.is_circle());
            assert_eq!(
                error.to_string(),
                "waiting would never end: first > Model > Middle > first; ask after the initialiser has returned"
            );
            Ok::<_, BoxError>(Owner { model })
        })
        .named("first");
    graph.add(|_: Dep<Owner>| async { Ok::<_, BoxError>(Middle) });
    graph.add(|_: Dep<Middle>| async { Ok::<_, BoxError>(Model(7)) });
    let running = graph.start().await.unwrap();
    // Once the owner is ready there is no circle any more.
    assert_eq!(lazy(&running).get().await.unwrap().0, 7);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_gets_that_close_a_circle_together_exactly_one_gets_the_error() {
    struct Left(Option<LazyError>);
    struct Right(Option<LazyError>);
    let mut graph = Graph::new();
    graph.add(|other: Lazy<Right>| async move { Ok::<_, BoxError>(Left(other.get().await.err())) });
    graph.add(|other: Lazy<Left>| async move { Ok::<_, BoxError>(Right(other.get().await.err())) });
    graph.add(|_: Dep<Left>, _: Dep<Right>| async { Ok::<_, BoxError>(Base) });
    let running = timeout(ms(1_000), graph.start()).await.unwrap().unwrap();
    let errors = [
        running.get::<Left>().unwrap().0.clone(),
        running.get::<Right>().unwrap().0.clone(),
    ];
    let errors: Vec<_> = errors.into_iter().flatten().collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].is_circle());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_closes_no_circle() {
    struct Left;
    struct Right;
    let mut graph = Graph::new();
    graph.add(|other: Lazy<Right>| async move {
        assert!(timeout(ms(5), other.get()).await.is_err());
        sleep(ms(10)).await;
        Ok::<_, BoxError>(Left)
    });
    graph.add(|other: Lazy<Left>| async move {
        sleep(ms(7)).await;
        other.get().await?;
        Ok::<_, BoxError>(Right)
    });
    graph.add(|_: Dep<Left>, _: Dep<Right>| async { Ok::<_, BoxError>(Base) });
    graph.start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_began_it_is_stopped_also_for_those_who_wait() {
    let starts = Arc::default();
    let running = counted(&starts).start().await.unwrap();
    let model = lazy(&running);
    let waiting = tokio::spawn({
        let model = model.clone();
        async move { model.get().await }
    });
    sleep(ms(5)).await;
    let begun = Instant::now();
    running.shutdown().await.unwrap();
    assert!(waiting.await.unwrap().unwrap_err().is_stopped());
    assert!(model.get().await.unwrap_err().is_stopped());
    assert!(model.try_get().is_none());
    assert_eq!(begun.elapsed(), ms(0), "what was starting was dropped");
}

#[tokio::test(start_paused = true)]
async fn when_the_start_is_given_up_those_who_wait_are_told_at_once() {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let told = Arc::clone(&answers);
    let mut graph = Graph::new();
    graph.cancel_grace(ms(50));
    graph.add(|| async {
        sleep(ms(1_000)).await;
        Ok::<_, BoxError>(Model(1))
    });
    graph.add(move |model: Lazy<Model>| {
        let told = Arc::clone(&told);
        async move {
            let stopped = model.get().await.is_err_and(|error| error.is_stopped());
            told.lock().await.push((stopped, begun.elapsed()));
            Ok::<_, BoxError>(Owner { model })
        }
    });
    graph.add(|| async {
        sleep(ms(10)).await;
        Err::<Base, BoxError>("no".into())
    });
    graph.start().await.unwrap_err();
    assert_eq!(*answers.lock().await, [(true, ms(10))]);
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_before_its_owner_stops_after_it_and_what_was_ready_later_before() {
    struct Early;
    struct Late;
    struct Both {
        late: Lazy<Late>,
    }
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|early: Lazy<Early>, late: Lazy<Late>| async move {
        early.get().await?;
        Ok::<_, BoxError>(Both { late })
    });
    graph.add(|| async { Ok::<_, BoxError>(Early) });
    graph.add(|| async { Ok::<_, BoxError>(Late) });
    let running = graph.start().await.unwrap();
    running.get::<Both>().unwrap().late.get().await.unwrap();
    running.shutdown().await.unwrap();
    assert!(log.at("stopped Late") < log.at("stopping Both"));
    assert!(log.at("stopped Both") < log.at("stopping Early"));
}

#[tokio::test(start_paused = true)]
async fn an_initialiser_can_be_called_by_hand_with_a_value() {
    let made = owner(Lazy::from(Model(3))).await.unwrap();
    assert_eq!(made.model.get().await.unwrap().0, 3);
    assert_eq!(made.model.try_get().unwrap().0, 3);
}

#[tokio::test(start_paused = true)]
async fn a_lazy_that_outlives_its_graph_says_that_it_has_stopped() {
    let starts = Arc::default();
    let running = counted(&starts).start().await.unwrap();
    let model = lazy(&running);
    drop(running);
    assert!(model.get().await.unwrap_err().is_stopped());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_one_of_the_same_full_class_is_no_deadlock() {
    for concurrency in [None, Some(1)] {
        let mut graph = Graph::new();
        let one = Class::new("one");
        graph.limit(one.clone(), 1);
        if let Some(count) = concurrency {
            graph.concurrency(count);
        }
        graph
            .add(|_: Dep<Base>| async { Ok::<_, BoxError>(Model(1)) })
            .class(one.clone());
        graph
            .add(|| async {
                sleep(ms(10)).await;
                Ok::<_, BoxError>(Base)
            })
            .class(one.clone());
        graph
            .add(|model: Lazy<Model>| async move {
                model.get().await?;
                Ok::<_, BoxError>(Owner { model })
            })
            .class(one.clone());
        let running = timeout(ms(1_000), graph.start()).await;
        running.unwrap().unwrap().shutdown().await.unwrap();
    }
}

/// Owners that ask for each other at random, from many threads: everybody gets an answer, and all stops in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_circles_from_many_threads_always_end_with_an_answer() {
    struct Node<const N: usize>;
    type Answers = Arc<AtomicU32>;
    async fn ask<const N: usize, A, B>(
        a: Lazy<A>,
        b: Lazy<B>,
        cx: Context,
        answers: Answers,
        seed: u64,
    ) -> Result<Node<N>>
    where
        A: Send + Sync + 'static,
        B: Send + Sync + 'static,
    {
        for turn in 0..seed % 4 {
            tokio::task::yield_now().await;
            if turn % 2 == 0 {
                let _ = a.try_get();
            }
        }
        cx.on_stop(|| async { Ok(()) });
        if !seed.is_multiple_of(3) {
            answers.fetch_add(u32::from(a.get().await.is_err()), Ordering::SeqCst);
        }
        if !seed.is_multiple_of(5) {
            answers.fetch_add(u32::from(b.get().await.is_err()), Ordering::SeqCst);
        }
        Ok(Node)
    }
    macro_rules! node {
        ($graph:ident, $answers:ident, $random:ident, $own:literal, $a:literal, $b:literal) => {{
            let (answers, seed) = (Arc::clone(&$answers), $random.u64(..));
            $graph.add(move |a: Lazy<Node<$a>>, b: Lazy<Node<$b>>, cx: Context| {
                ask::<$own, _, _>(a, b, cx, Arc::clone(&answers), seed)
            });
        }};
    }
    let mut random = fastrand::Rng::with_seed(7);
    let mut circles = 0;
    for _ in 0..300 {
        let answers = Answers::default();
        let mut graph = Graph::new();
        node!(graph, answers, random, 0, 1, 2);
        node!(graph, answers, random, 1, 2, 3);
        node!(graph, answers, random, 2, 3, 4);
        node!(graph, answers, random, 3, 4, 0);
        node!(graph, answers, random, 4, 0, 1);
        node!(graph, answers, random, 5, 0, 3);
        graph.add(|_: Dep<Node<0>>, _: Dep<Node<2>>, _: Dep<Node<4>>| async {
            Ok::<_, BoxError>(Base)
        });
        let running = graph.start().await.unwrap();
        let report = running.shutdown().await.unwrap();
        assert!(report.is_clean());
        circles += answers.load(Ordering::SeqCst);
    }
    assert!(circles > 0, "the test provokes circles");
}
