//! Filters, `--list` and `--only`.

use std::cell::Cell;
use std::rc::Rc;

use expect_test::expect;
use harness::{Exit, Suite};

use crate::run;

fn two_benches(suite: &mut Suite) {
    suite
        .bench("hit")
        .about("a present key")
        .ours("Cache::get", || || ())
        .peer("a peer", || || ());
    suite
        .bench("miss")
        .about("an absent key")
        .ours("Cache::get", || || ());
}

#[test]
fn list_names_every_subject_and_measures_nothing() {
    let ran = run(two_benches, "--list");
    assert_eq!(ran.exit, Exit::Success);
    expect![[r#"
        BENCH cache hit cache Cache::get: a present key
        BENCH cache hit a-peer a present key
        BENCH cache miss cache Cache::get: an absent key
    "#]]
    .assert_eq(&ran.out);
}

#[test]
fn a_word_that_matches_nothing_is_told_with_the_names() {
    let ran = run(two_benches, "hti");
    assert_eq!((ran.exit, ran.exit.code()), (Exit::Usage, 2));
    assert_eq!(
        ran.log,
        "cache: no bench has \"hti\" in its name; there are hit, miss\n"
    );
    assert_eq!(ran.out, "");
}

#[test]
fn only_what_is_selected_is_set_up() {
    let set_up = Rc::new(Cell::new(0));
    let seen = Rc::clone(&set_up);
    let ran = run(
        |suite| {
            suite
                .bench("hit")
                .ours("Cache", || || ())
                .peer("dear", move || {
                    seen.set(seen.get() + 1);
                    || ()
                });
        },
        "--block 1",
    );
    assert_eq!((ran.exit, set_up.get()), (Exit::Success, 0));
}

#[test]
fn only_does_that_many_operations_and_prints_nothing() {
    let calls = Rc::new(Cell::new(0));
    let seen = Rc::clone(&calls);
    let ran = run(
        |suite| {
            suite
                .bench("hit")
                .ours("Cache", move || move || seen.set(seen.get() + 1));
        },
        "--only hit cache --iterations 1234",
    );
    assert_eq!(
        (ran.exit, ran.out.as_str(), ran.log.as_str()),
        (Exit::Success, "", "")
    );
    assert_eq!(calls.get(), 1234);
}

#[test]
fn only_needs_full_names() {
    let ran = run(two_benches, "--only hit moka --iterations 1");
    assert_eq!(ran.exit, Exit::Usage);
    assert_eq!(
        ran.log,
        "cache: bench hit has no subject moka; --list lists all\n"
    );
}

#[test]
fn a_suite_that_makes_no_sense_is_refused() {
    let ran = run(|suite| _ = suite.bench("Hit").ours("Cache", || || ()), "");
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.log.contains("\"Hit\" is no name"), "{}", ran.log);
}
