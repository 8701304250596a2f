//! Several providers of one type: names, wires, tags, views, and who gets which.

use std::sync::Arc;

use expect_test::{Expect, expect};
use init_graph::{
    After, All, BoxError, Dep, Graph, GraphError, Lazy, Live, Plan, Result, WiringErrorKind,
};

use crate::support::without_lines;

#[derive(Debug, PartialEq)]
struct Db(&'static str);
struct Replica;
struct Backup;
struct Seen(#[expect(dead_code, reason = "only its type matters")] String);

trait Repo: Send + Sync {}
struct PgRepo;
impl Repo for PgRepo {}

#[track_caller]
fn check(graph: &Graph, kind: WiringErrorKind, expected: &Expect) {
    let GraphError::Wiring(errors) = graph.check().unwrap_err() else {
        panic!("only the wiring can be wrong")
    };
    let kinds: Vec<_> = errors.iter().map(init_graph::WiringError::kind).collect();
    assert_eq!(kinds, [kind], "{errors}");
    expected.assert_eq(&without_lines(&errors.to_string()));
}

/// The names of what the node of this name depends on.
fn needs(plan: &Plan, name: &str) -> Vec<String> {
    let node = plan.nodes().iter().find(|node| node.name() == name);
    let own = plan.dependencies(node.unwrap().id()).iter();
    own.map(|id| plan.node(*id).name().to_owned()).collect()
}

async fn take(db: Dep<Db>) -> Result<Seen> {
    Ok(Seen(db.0.to_owned()))
}

#[test]
fn the_one_without_a_name_is_meant() {
    let mut graph = Graph::new();
    graph.value(Db("replica")).named("replica");
    graph.value(Db("tagged")).tagged::<Replica>();
    graph.value(Db("main"));
    graph.add(take);
    assert_eq!(needs(&graph.plan().unwrap(), "take"), ["Db-2"]);
}

#[test]
fn the_only_one_is_meant_whatever_it_is_called() {
    let mut graph = Graph::new();
    graph.value(Db("replica")).named("replica");
    graph.add(take);
    assert_eq!(needs(&graph.plan().unwrap(), "take"), ["replica"]);
    let mut graph = Graph::new();
    graph
        .value(Db("replica"))
        .tagged::<Replica>()
        .named("tagged");
    graph.add(take);
    assert_eq!(needs(&graph.plan().unwrap(), "take"), ["tagged"]);
}

#[test]
fn of_several_named_ones_nobody_can_tell() {
    let mut graph = Graph::new();
    graph.value(Db("one")).named("one");
    graph.value(Db("two")).named("two");
    graph.add(take);
    check(
        &graph,
        WiringErrorKind::DuplicateType,
        &expect![[r#"
        2 nodes provide what `take` wants one of
          `take` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Db>` as parameter 1
          `one` (added at crates/init-graph/tests/it/named.rs:N)
          `two` (added at crates/init-graph/tests/it/named.rs:N)
          help: choose with `.wire::<Db>("one")`, tell them apart with `tagged`, or take `All<Db>`"#]],
    );
}

#[test]
fn a_wire_chooses_for_every_kind_of_parameter_but_all_and_tags() {
    type Lots = (Dep<Db>, Option<Dep<Db>>, Live<Db>, Lazy<Db>, After<Db>);
    let mut graph = Graph::new();
    graph.value(Db("one")).named("one");
    graph.value(Db("two")).named("two");
    graph.value(Db("three")).named("three").tagged::<Replica>();
    graph
        .add(|_: Lots| async { Ok::<_, BoxError>(()) })
        .named("wired")
        .wire::<Db>("two");
    graph
        .add(|_: Dep<Db>, _: All<Db>| async { Ok::<_, BoxError>(()) })
        .named("all")
        .wire::<Db>("two");
    graph
        .add(|_: Dep<Db>, _: Dep<Db, Replica>| async { Ok::<_, BoxError>(()) })
        .named("both")
        .wire::<Db>("two");
    graph.node("needing").needs::<Db>().wire::<Db>("one");
    let plan = graph.plan().unwrap();
    assert_eq!(needs(&plan, "wired"), ["two"]);
    assert_eq!(needs(&plan, "all"), ["one", "two", "three"]);
    assert_eq!(needs(&plan, "both"), ["two", "three"]);
    assert_eq!(needs(&plan, "needing"), ["one"]);
}

#[test]
fn a_wire_to_nobody_to_the_wrong_one_or_for_nothing_is_an_error() {
    let graph = |name: &'static str| {
        let mut graph = Graph::new();
        graph.value(Db("one")).named("one");
        graph.value(Db("two")).named("second");
        graph.value(PgRepo);
        graph.add(take).wire::<Db>(name);
        graph
    };
    graph("one").check().unwrap();
    check(
        &graph("secnod"),
        WiringErrorKind::Missing,
        &expect![[r#"
        there is no node named `secnod`
          `take` (added at crates/init-graph/tests/it/named.rs:N) is wired to it for `Db`
          help: did you mean `second` (added at crates/init-graph/tests/it/named.rs:N)?"#]],
    );
    check(
        &graph("nobody at all"),
        WiringErrorKind::Missing,
        &expect![[r#"
        there is no node named `nobody at all`
          `take` (added at crates/init-graph/tests/it/named.rs:N) is wired to it for `Db`
          help: `Db` is provided by `one` and `second`"#]],
    );
    check(
        &graph("PgRepo"),
        WiringErrorKind::WrongWire,
        &expect![[r#"
        `PgRepo` does not provide `Db`
          `take` (added at crates/init-graph/tests/it/named.rs:N) is wired to it
          `PgRepo` (added at crates/init-graph/tests/it/named.rs:N)
          help: `Db` is provided by `one` and `second`"#]],
    );
    let mut unused = graph("one");
    unused.node("point").wire::<Db>("one");
    check(
        &unused,
        WiringErrorKind::WrongWire,
        &expect![[r#"
        no parameter goes by `wire::<Db>("one")`
          `point` (added at crates/init-graph/tests/it/named.rs:N)
          help: `wire` chooses for `Dep<Db>` and its like, not for tags and not for `All`; otherwise leave it out"#]],
    );
}

#[test]
fn two_of_one_type_and_tag_are_an_error_too() {
    let mut graph = Graph::new();
    graph.value(Db("one")).tagged::<Replica>();
    graph.value(Db("two")).tagged::<Backup>();
    graph.value(Db("three"));
    graph.check().unwrap();
    graph.value(Db("four")).tagged::<Replica>();
    check(
        &graph,
        WiringErrorKind::DuplicateType,
        &expect![[r#"
        two nodes provide `it::named::Db` tagged `Replica`
          `Db` (added at crates/init-graph/tests/it/named.rs:N)
          `Db-4` (added at crates/init-graph/tests/it/named.rs:N)
          help: give one of them a type of its own, such as `struct SecondDb(Db);`; or tell them apart with `named` and `wire`, or with `tagged`; or take `All<Db>`"#]],
    );
}

#[test]
fn who_collects_makes_it_fine_that_there_are_several() {
    let mut graph = Graph::new();
    graph.value(Db("one"));
    graph.value(Db("two"));
    graph.add(|_: All<Db>| async { Ok::<_, BoxError>(()) });
    graph.check().unwrap();
    graph.add(take);
    check(
        &graph,
        WiringErrorKind::DuplicateType,
        &expect![[r#"
        2 nodes provide what `take` wants one of
          `take` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Db>` as parameter 1
          `Db` (added at crates/init-graph/tests/it/named.rs:N)
          `Db-2` (added at crates/init-graph/tests/it/named.rs:N)
          help: choose with `.wire::<Db>("name")`, tell them apart with `tagged`, or take `All<Db>`"#]],
    );
}

#[test]
fn a_tag_that_nobody_has_is_missing_and_those_there_are_are_listed() {
    let mut graph = Graph::new();
    graph.add(|_: Dep<Db, Replica>| async { Ok::<_, BoxError>(()) });
    graph.value(Db("one"));
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        nothing provides `it::named::Db` tagged `Replica`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Db, Replica>` as parameter 1
          help: `Db` without a tag is provided by `Db` (added at crates/init-graph/tests/it/named.rs:N); add `.tagged::<Replica>()` there"#]],
    );
    graph.value(Db("two")).tagged::<Backup>();
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        nothing provides `it::named::Db` tagged `Replica`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Db, Replica>` as parameter 1
          help: there is `Dep<Db, Backup>`"#]],
    );
}

#[test]
fn a_trait_object_that_nobody_hands_out_suggests_who_could() {
    let mut graph = Graph::new();
    graph.add(|_: Dep<dyn Repo>| async { Ok::<_, BoxError>(()) });
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        nothing provides `dyn it::named::Repo`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<dyn Repo>` as parameter 1
          help: a trait object comes from `.provide(|it: Arc<Type>| it as Arc<dyn Repo>)` at a component, or from `value_arc`"#]],
    );
    graph.value(PgRepo);
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        nothing provides `dyn it::named::Repo`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<dyn Repo>` as parameter 1
          help: if `PgRepo` is one, hand it out as such: `.provide(|it: Arc<PgRepo>| it as Arc<dyn Repo>)` at `PgRepo` (added at crates/init-graph/tests/it/named.rs:N)"#]],
    );
}

#[test]
fn a_shared_value_needs_no_arc() {
    let mut graph = Graph::new();
    graph.value(PgRepo);
    graph.add(|_: Dep<Arc<PgRepo>>| async { Ok::<_, BoxError>(()) });
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        nothing provides `alloc::sync::Arc<it::named::PgRepo>`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Arc<PgRepo>>` as parameter 1
          help: take `Dep<PgRepo>`, which is shared already, provided by `PgRepo` (added at crates/init-graph/tests/it/named.rs:N)"#]],
    );
}

#[test]
fn two_views_as_one_type_are_two_providers() {
    let mut graph = Graph::new();
    for name in ["pg", "lite"] {
        let view = |repo: Arc<PgRepo>| repo as Arc<dyn Repo>;
        graph.value(PgRepo).named(name).provide(view).provide(view);
    }
    graph
        .add(|_: Dep<dyn Repo>| async { Ok::<_, BoxError>(()) })
        .named("user")
        .wire::<dyn Repo>("lite");
    assert_eq!(needs(&graph.plan().unwrap(), "user"), ["lite"]);
}

#[test]
fn a_view_of_what_the_component_does_not_make_is_an_error() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Ok::<_, BoxError>(Db("one")) })
        .provide(|repo: Arc<PgRepo>| repo as Arc<dyn Repo>);
    check(
        &graph,
        WiringErrorKind::WrongProvide,
        &expect![[r#"
        `provide` makes `dyn Repo` of `PgRepo`, but the component makes `Db`
          `Db` (added at crates/init-graph/tests/it/named.rs:N)
          help: the closure of `provide` takes the `Arc` of what the component returns"#]],
    );
}

#[test]
fn where_all_are_tagged_the_tag_is_the_way_out() {
    let mut graph = Graph::new();
    graph.value(Db("one")).tagged::<Replica>();
    graph.value(Db("two")).tagged::<Backup>();
    graph.add(take);
    check(
        &graph,
        WiringErrorKind::DuplicateType,
        &expect![[r#"
        2 nodes provide what `take` wants one of
          `take` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Db>` as parameter 1
          `Db` (added at crates/init-graph/tests/it/named.rs:N)
          `Db-2` (added at crates/init-graph/tests/it/named.rs:N)
          help: choose with `.wire::<Db>("name")`, by its tag as in `Dep<Db, Replica>`, or take `All<Db>`"#]],
    );
}

#[test]
fn a_wire_to_nobody_is_one_error_however_many_go_by_it() {
    let mut graph = Graph::new();
    graph.value(Db("one"));
    graph
        .add(|_: Dep<Db>, _: Option<Dep<Db>>| async { Ok::<_, BoxError>(()) })
        .when(|_: Dep<Db>| true)
        .wire::<Db>("nobody");
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        there is no node named `nobody`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) is wired to it for `Db`
          help: `Db` is provided by `Db`"#]],
    );
}

#[test]
fn a_name_of_white_space_is_empty() {
    let mut graph = Graph::new();
    graph.node(" \t");
    check(
        &graph,
        WiringErrorKind::EmptyName,
        &expect![[r#"
            a name is empty
              ` \t` (added at crates/init-graph/tests/it/named.rs:N)
              help: give it one, or leave out `named` for the function's own"#]],
    );
}

#[test]
fn a_boxed_trait_object_that_is_handed_out_as_a_view_is_suggested() {
    let mut graph = Graph::new();
    graph
        .value(PgRepo)
        .provide(|repo: Arc<PgRepo>| repo as Arc<dyn Repo>);
    graph.add(|_: Dep<Arc<dyn Repo>>| async { Ok::<_, BoxError>(()) });
    check(
        &graph,
        WiringErrorKind::Missing,
        &expect![[r#"
        nothing provides `alloc::sync::Arc<dyn it::named::Repo>`
          `closure` (added at crates/init-graph/tests/it/named.rs:N) takes `Dep<Arc<dyn Repo>>` as parameter 1
          help: take `Dep<dyn Repo>`, which is shared already, provided by `PgRepo` (added at crates/init-graph/tests/it/named.rs:N)"#]],
    );
}

#[test]
fn what_is_called_twice_counts_as_called_last() {
    let mut graph = Graph::new();
    graph.limit(init_graph::Class::CPU, 0);
    graph.limit(init_graph::Class::CPU, 2);
    graph.value(Db("one")).named("first").named("db");
    graph
        .node("point")
        .run(|_: Dep<PgRepo>| async { Ok::<_, BoxError>(()) })
        .run(take);
    let plan = graph.plan().unwrap();
    assert_eq!(needs(&plan, "point"), ["db"]);
    assert_eq!(plan.nodes().len(), 2);
}

#[tokio::test]
async fn an_initialiser_that_takes_a_trait_object_can_be_called_by_hand() {
    async fn own(repo: Dep<dyn Repo>) -> Result<Dep<dyn Repo>> {
        Ok(repo)
    }
    let repo: Arc<dyn Repo> = Arc::new(PgRepo);
    let returned = own(Dep::from_arc(Arc::clone(&repo))).await.unwrap();
    assert!(Arc::ptr_eq(&Dep::into_inner(returned), &repo));
}
