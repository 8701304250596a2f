//! What a start does when nothing goes wrong.

use init_graph::{After, BoxError, Context, Dep, Graph, Result};
use tokio::time::{Instant, sleep};

use crate::support::{Log, ms};

struct Config(&'static str);
struct Database(String);
struct Cache;
struct Api(String);

async fn database(config: Dep<Config>) -> Result<Database> {
    sleep(ms(100)).await;
    Ok(Database(format!("database at {}", config.0)))
}

async fn cache(config: Dep<Config>) -> Result<Cache> {
    assert_eq!(config.0, "here");
    sleep(ms(150)).await;
    Ok(Cache)
}

async fn api(database: Dep<Database>, _cache: Dep<Cache>) -> Result<Api> {
    sleep(ms(10)).await;
    Ok(Api(format!("api on {}", database.0)))
}

#[tokio::test(start_paused = true)]
async fn independent_components_start_in_parallel_and_dependents_after_them() {
    let mut graph = Graph::new();
    graph.add(api);
    graph.add(cache);
    graph.add(database);
    graph.value(Config("here"));
    let begun = Instant::now();
    let running = graph.start().await.unwrap();
    assert_eq!(begun.elapsed(), ms(160));
    assert_eq!(running.get::<Api>().unwrap().0, "api on database at here");
    assert_eq!(running.get::<Config>().unwrap().0, "here");
    assert!(running.get::<String>().is_none());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_component_waits_for_its_own_dependencies_only() {
    // Two chains of which each is slow where the other is fast: layers would take 20 + 20 ms.
    struct A1;
    struct A2;
    struct B1;
    struct B2;
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(20)).await;
        Ok::<_, BoxError>(A1)
    });
    graph.add(|_: Dep<A1>| async {
        sleep(ms(1)).await;
        Ok::<_, BoxError>(A2)
    });
    graph.add(|| async {
        sleep(ms(1)).await;
        Ok::<_, BoxError>(B1)
    });
    graph.add(|_: Dep<B1>| async {
        sleep(ms(20)).await;
        Ok::<_, BoxError>(B2)
    });
    let running = graph.start().await.unwrap();
    assert_eq!(running.report().took(), ms(21));
    assert!(running.get::<A2>().is_some() && running.get::<B2>().is_some());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_dependents_share_one_value() {
    struct First(Dep<Config>);
    struct Second(Dep<Config>);
    let mut graph = Graph::new();
    graph.value(Config("shared"));
    graph.add(|config: Dep<Config>| async { Ok::<_, BoxError>(First(config)) });
    graph.add(|config: Dep<Config>| async { Ok::<_, BoxError>(Second(config)) });
    let running = graph.start().await.unwrap();
    let (first, second) = (
        running.get::<First>().unwrap(),
        running.get::<Second>().unwrap(),
    );
    assert!(std::ptr::eq(&raw const *first.0, &raw const *second.0));
    let shared = Dep::into_inner(first.0.clone());
    assert_eq!(shared.0, "shared");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_optional_parameter_without_provider_is_none() {
    struct Seen(bool, bool);
    let mut graph = Graph::new();
    graph.value(Config("there"));
    graph.add(
        |config: Option<Dep<Config>>, cache: Option<Dep<Cache>>| async move {
            Ok::<_, BoxError>(Seen(config.is_some(), cache.is_some()))
        },
    );
    let running = graph.start().await.unwrap();
    let seen = running.get::<Seen>().unwrap();
    assert_eq!((seen.0, seen.1), (true, false));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_orders_without_passing_a_value() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(
        |_: After<Database>, absent: Option<After<Cache>>| async move {
            assert!(absent.is_none());
            Ok::<_, BoxError>(Api(String::new()))
        },
    );
    graph.add(|_: Dep<Config>| async {
        sleep(ms(30)).await;
        Ok::<_, BoxError>(Database(String::new()))
    });
    graph.value(Config(""));
    let running = graph.start().await.unwrap();
    assert!(log.at("ready Database") < log.at("starting Api 1"));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_by_name_orders_components_that_make_nothing() {
    async fn migrate() -> Result<()> {
        sleep(ms(10)).await;
        Ok(())
    }
    async fn warm_up() -> Result<()> {
        Ok(())
    }
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(warm_up).after("migrate");
    graph.add(migrate);
    let running = graph.start().await.unwrap();
    assert!(log.at("ready migrate") < log.at("starting warm_up 1"));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_component_may_have_sixteen_parameters() {
    #[derive(Clone, Copy)]
    struct N<const I: usize>;
    macro_rules! add_all {
        ($($index:literal)*) => {{
            let mut graph = Graph::new();
            $(graph.value(N::<$index>);)*
            graph.add(|$(_: Dep<N<$index>>),*| async { Ok::<_, BoxError>(Cache) });
            graph
        }};
    }
    let graph = add_all!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    let plan = graph.plan().unwrap();
    let last = plan.nodes().last().unwrap().id();
    assert_eq!(plan.dependencies(last).len(), 16);
    let running = graph.start().await.unwrap();
    assert!(running.get::<Cache>().is_some());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_context_knows_its_component_and_attempt() {
    struct Seen(String, u32);
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move { Ok::<_, BoxError>(Seen(cx.name().to_owned(), cx.attempt())) }).named("look");
    let running = graph.start().await.unwrap();
    let seen = running.get::<Seen>().unwrap();
    assert_eq!((seen.0.as_str(), seen.1), ("look", 1));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_graph_starts_and_stops() {
    let running = Graph::new().start().await.unwrap();
    assert_eq!(running.report().nodes().len(), 0);
    assert_eq!(running.shutdown().await.unwrap().stopped(), 0);
}

#[test]
fn a_start_outside_a_runtime_is_an_error() {
    let waker = std::task::Waker::noop();
    let mut start = Box::pin(Graph::new().start());
    let polled = start
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Err(error)) = polled else {
        panic!("it cannot start")
    };
    assert!(error.to_string().contains("no tokio runtime"), "{error}");
}

#[test]
fn a_start_on_a_runtime_without_time_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = runtime.block_on(Graph::new().start()).unwrap_err();
    assert!(error.to_string().contains("with time enabled"), "{error}");
}

#[test]
fn the_futures_of_start_and_shutdown_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let start = is_send(Graph::new().start());
    drop(is_send(
        async move { start.await.unwrap().shutdown().await },
    ));
}
