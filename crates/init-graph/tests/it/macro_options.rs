//! Each option of `#[component]`: the call of the builder that it stands for, and what it does.

use std::sync::Arc;
use std::time::Duration;

use init_graph::{Cause, Class, Component, Context, Dep, Graph, Result, Retry, component};

use crate::support::{Log, ms};

struct Config(&'static str);
struct Database(String);
struct Api;

trait Repo: Send + Sync {
    fn rows(&self) -> usize;
}

struct Table(usize);

impl Repo for Table {
    fn rows(&self) -> usize {
        self.0
    }
}

trait Named: Send + Sync {}

impl Named for Table {}

struct Main;
const HEAVY: Class = Class::CPU;

fn wanted(_: Dep<Config>) -> bool {
    true
}

fn transient(_: &Cause) -> bool {
    true
}

/// Every option, said by the attribute and by the builder.
mod twice {
    pub(super) mod by_attribute {
        use super::super::*;

        #[component(
            name = "table",
            stage = "storage",
            timeout = "5s",
            total_timeout = "1m",
            stall_timeout = "250ms",
            stop_timeout = "10s",
            retry(attempts = 3, initial = "50ms", max_delay = "2s", jitter = 0.25, when = transient),
            optional,
            background,
            when = wanted,
            class = "cpu",
            priority = -10,
            expected = "200ms",
            after = ["one", "two"],
            needs = [Api, dyn Repo],
            provide = [dyn Repo, dyn Named],
            tag = Main,
            wire(Config = "file", Database = "primary")
        )]
        pub(in super::super) async fn table(_: Dep<Config>, _: Dep<Database>) -> Result<Table> {
            Ok(Table(3))
        }

        #[component(retry = 2, when = |cx: Context| cx.attempt() > 0, class = HEAVY, after = "one", needs = Api, priority = 1 + 1)]
        pub(in super::super) async fn small() -> Result<()> {
            Ok(())
        }

        #[component(retry = Retry::fixed(2, ms(5)), class = "own", provide = dyn Repo)]
        pub(in super::super) async fn fixed() -> Result<Table> {
            Ok(Table(1))
        }

        #[component(blocking, class = "blocking", name = "model")]
        pub(in super::super) fn blocking(_: Dep<Config>) -> Result<Table> {
            Ok(Table(1))
        }
    }

    pub(super) mod by_builder {
        use super::super::*;

        pub(in super::super) async fn table(_: Dep<Config>, _: Dep<Database>) -> Result<Table> {
            Ok(Table(3))
        }

        pub(in super::super) async fn small() -> Result<()> {
            Ok(())
        }

        pub(in super::super) async fn fixed() -> Result<Table> {
            Ok(Table(1))
        }

        pub(in super::super) fn blocking(_: Dep<Config>) -> Result<Table> {
            Ok(Table(1))
        }
    }
}

#[test]
fn every_option_is_the_call_of_the_builder() {
    let mut attribute = Graph::new();
    attribute.add(twice::by_attribute::table);
    attribute.add(twice::by_attribute::small);
    attribute.add(twice::by_attribute::fixed);
    attribute.add_blocking(twice::by_attribute::blocking);

    let mut builder = Graph::new();
    builder
        .add(twice::by_builder::table)
        .named("table")
        .stage("storage")
        .timeout(Duration::from_secs(5))
        .total_timeout(Duration::from_secs(60))
        .stall_timeout(ms(250))
        .stop_timeout(Duration::from_secs(10))
        .retry(
            Retry::exponential(3)
                .initial(ms(50))
                .max_delay(Duration::from_secs(2))
                .jitter(0.25)
                .when(transient),
        )
        .optional()
        .background()
        .when(wanted)
        .class(Class::CPU)
        .priority(-10)
        .expected(ms(200))
        .after("one")
        .after("two")
        .needs::<Api>()
        .needs::<dyn Repo>()
        .provide(|table: Arc<Table>| table as Arc<dyn Repo>)
        .provide(|table: Arc<Table>| table as Arc<dyn Named>)
        .tagged::<Main>()
        .wire::<Config>("file")
        .wire::<Database>("primary");
    builder
        .add(twice::by_builder::small)
        .retry(Retry::exponential(2))
        .when(|cx: Context| cx.attempt() > 0)
        .class(HEAVY)
        .after("one")
        .needs::<Api>()
        .priority(2);
    builder
        .add(twice::by_builder::fixed)
        .retry(Retry::fixed(2, ms(5)))
        .class(Class::new("own"))
        .provide(|table: Arc<Table>| table as Arc<dyn Repo>);
    builder
        .add_blocking(twice::by_builder::blocking)
        .named("model")
        .class(Class::BLOCKING);

    let (attribute, builder) = (format!("{attribute:#?}"), format!("{builder:#?}"));
    for option in [
        "stage",
        "timeout",
        "total_timeout",
        "stall_timeout",
        "stop_timeout",
        "expected",
        "retry",
        "optional",
        "background",
        "when",
        "class",
        "priority",
        "tagged",
        "provide",
        "wire",
    ] {
        assert!(
            builder.contains(&format!("{option}: ")),
            "{option} is not shown"
        );
    }
    assert_eq!(attribute, builder);
}

#[tokio::test(start_paused = true)]
async fn a_provided_trait_object_is_taken_by_its_trait() {
    #[component]
    async fn count(repo: Dep<dyn Repo>) -> Result<usize> {
        Ok(repo.rows())
    }
    #[component(provide = dyn Repo)]
    async fn table() -> Result<Table> {
        Ok(Table(3))
    }
    let mut graph = Graph::new();
    graph.add(count);
    graph.add(table);
    let running = graph.start().await.unwrap();
    assert_eq!(*running.get::<usize>().unwrap(), 3);
    running.shutdown().await.unwrap();
}

/// Two databases and those who choose between them.
mod chosen {
    use super::{Component, Database, Dep, Graph, Main, Result, component};

    struct Seen(String);

    #[component(tag = Main)]
    async fn first() -> Result<Database> {
        Ok(Database("first".to_owned()))
    }

    #[component(name = "replica", needs = u8, after = "late")]
    async fn second() -> Result<Database> {
        Ok(Database("second".to_owned()))
    }

    #[component(wire(Database = "replica"))]
    async fn wired(database: Dep<Database>) -> Result<Seen> {
        Ok(Seen(database.0.clone()))
    }

    #[component(name = "by tag")]
    async fn tagged(database: Dep<Database, Main>, wired: Dep<Seen>) -> Result<String> {
        Ok(format!("{} {}", database.0, wired.0))
    }

    pub(super) fn add(graph: &mut Graph) {
        let _: &mut Component = graph.add(first);
        graph.add(second);
        graph.add(wired);
        graph.add(tagged);
        graph.value(8_u8);
        graph.node("late");
    }
}

#[tokio::test(start_paused = true)]
async fn tags_wires_and_orders_of_the_attribute_reach_the_graph() {
    let mut graph = Graph::new();
    chosen::add(&mut graph);
    let plan = graph.plan().unwrap();
    let replica = plan.nodes().iter().find(|node| node.name() == "replica");
    let before = plan.dependencies(replica.unwrap().id());
    let mut before: Vec<_> = before.iter().map(|id| plan.node(*id).name()).collect();
    before.sort_unstable();
    assert_eq!(before, ["late", "u8"]);
    let running = graph.start().await.unwrap();
    assert_eq!(*running.get::<String>().unwrap(), "first second");
    running.shutdown().await.unwrap();
}

/// What the attribute asks for happens.
mod carried_out {
    use std::thread::{self, ThreadId};

    use super::{Config, Context, Dep, Result, Table, component, ms};

    pub(super) struct Third(pub(super) u32);
    pub(super) struct Model(pub(super) ThreadId);
    pub(super) struct Slow;

    #[component(retry(attempts = 3, initial = "10ms", jitter = 0))]
    pub(super) async fn third_time(cx: Context) -> Result<Third> {
        match cx.attempt() {
            3 => Ok(Third(3)),
            attempt => Err(format!("attempt {attempt}").into()),
        }
    }

    #[component(when = |config: Dep<Config>| config.0 == "wanted", optional)]
    pub(super) async fn conditional() -> Result<Table> {
        Ok(Table(1))
    }

    #[component(blocking)]
    pub(super) fn model(_: Dep<Config>) -> Result<Model> {
        Ok(Model(thread::current().id()))
    }

    #[component(background)]
    pub(super) async fn slow() -> Result<Slow> {
        tokio::time::sleep(ms(1_000)).await;
        Ok(Slow)
    }

    #[component(optional, stall_timeout = "20ms", total_timeout = "1s")]
    pub(super) async fn silent(cx: Context) -> Result<u64> {
        tokio::time::sleep(ms(15)).await;
        cx.keep_alive();
        tokio::time::sleep(ms(900)).await;
        Ok(1)
    }

    #[component(
        optional,
        retry(attempts = 100, initial = "30ms", max_delay = "30ms", jitter = 0),
        total_timeout = "80ms"
    )]
    pub(super) async fn hopeless() -> Result<i64> {
        Err("no".into())
    }
}

#[tokio::test(start_paused = true)]
async fn retries_of_the_attribute_are_made() {
    let mut graph = Graph::new();
    graph.add(carried_out::third_time);
    let running = graph.start().await.unwrap();
    assert_eq!(running.get::<carried_out::Third>().unwrap().0, 3);
    assert_eq!(running.report().took(), ms(30));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_condition_of_the_attribute_decides() {
    for (config, there) in [("wanted", true), ("not wanted", false)] {
        let mut graph = Graph::new();
        graph.value(Config(config));
        graph.add(carried_out::conditional);
        let running = graph.start().await.unwrap();
        assert_eq!(running.get::<Table>().is_some(), there, "{config}");
        running.shutdown().await.unwrap();
    }
}

/// Four that share one permit.
mod limited {
    use super::{Result, component, ms};

    macro_rules! limited {
        ($($name:ident($($option:tt)*))*) => {$(
            #[component(class = "own", $($option)*)]
            pub(super) async fn $name() -> Result<()> {
                tokio::time::sleep(ms(10)).await;
                Ok(())
            }
        )*};
    }

    limited! {
        last(priority = -1)
        quick(expected = "10ms")
        long(expected = "5s")
        first(priority = 10)
    }
}

#[tokio::test(start_paused = true)]
async fn classes_priorities_and_expected_times_of_the_attribute_make_the_order() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.limit(Class::new("own"), 1);
    graph.add(limited::last);
    graph.add(limited::quick);
    graph.add(limited::long);
    graph.add(limited::first);
    let running = graph.start().await.unwrap();
    assert_eq!(running.report().took(), ms(40));
    let begun = log.lines();
    let begun: Vec<_> = begun
        .iter()
        .filter_map(|line| line.strip_prefix("starting "))
        .collect();
    assert_eq!(begun, ["first 1", "long 1", "quick 1", "last 1"]);
    running.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_blocking_function_runs_on_a_thread_of_its_own() {
    let mut graph = Graph::new();
    graph.value(Config(""));
    graph.add_blocking(carried_out::model);
    let running = graph.start().await.unwrap();
    let thread = running.get::<carried_out::Model>().unwrap().0;
    assert_ne!(thread, std::thread::current().id());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_background_of_the_attribute_is_not_waited_for() {
    let mut graph = Graph::new();
    graph.add(carried_out::slow);
    let running = graph.start().await.unwrap();
    assert!(running.get::<carried_out::Slow>().is_none());
    tokio::time::sleep(ms(1_001)).await;
    assert!(running.get::<carried_out::Slow>().is_some());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn time_limits_of_the_attribute_end_what_takes_too_long() {
    let mut graph = Graph::new();
    graph.add(carried_out::silent);
    let running = graph.start().await.unwrap();
    assert_eq!(running.report().took(), ms(35));
    running.shutdown().await.unwrap();

    let mut graph = Graph::new();
    graph.add(carried_out::hopeless);
    let running = graph.start().await.unwrap();
    assert!(running.report().took() <= ms(80));
    assert!(running.get::<i64>().is_none());
    running.shutdown().await.unwrap();
}

#[test]
fn a_blocking_function_can_be_called_by_hand() {
    let table = twice::by_attribute::blocking(Dep::from(Config("")));
    assert_eq!(table.into_inner().unwrap().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_with_the_attribute_may_be_what_a_node_runs() {
    #[component(timeout = "50ms", optional)]
    async fn database(config: Dep<Config>) -> Result<Database> {
        Ok(Database(config.0.to_owned()))
    }
    let mut graph = Graph::new();
    graph.value(Config("wanted"));
    graph.node("third").run(carried_out::third_time);
    graph
        .node("table")
        .after("third")
        .run(carried_out::conditional);
    graph
        .node("slow")
        .stage("storage")
        .timeout(ms(5))
        .run(database);
    let running = graph.start().await.unwrap();
    assert_eq!(
        running.get_named::<carried_out::Third>("third").unwrap().0,
        3
    );
    assert!(running.get_named::<Table>("table").is_some());
    let slow = running
        .plan()
        .nodes()
        .iter()
        .find(|node| node.name() == "slow");
    assert!(slow.unwrap().is_optional());
    running.shutdown().await.unwrap();
}
