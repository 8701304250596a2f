//! A subject that panics is told and left out; the others are measured.

use harness::Exit;

use crate::{run, two_cores};

#[test]
fn a_set_up_that_panics_costs_only_its_own_figures() {
    let ran = run(
        |suite| {
            suite
                .bench("hit")
                .ours("Cache", || || ())
                .peer("no-server", || -> fn() {
                    panic!("cannot connect to {}", "port 1")
                })
                .peer("fine", || || ());
        },
        "--quick",
    );
    assert_eq!((ran.exit, ran.exit.code()), (Exit::Incomplete, 3));
    assert_eq!(ran.timed(), ["hit cache", "hit fine"]);
    assert!(
        ran.log
            .contains("no-server is left out, it panicked: cannot connect to port 1")
    );
}

#[test]
fn an_operation_that_panics_while_it_warms_up_or_later_has_no_figures() {
    for calls in [1, 100_000] {
        let ran = run(
            |suite| {
                suite
                    .bench("hit")
                    .ours("Cache", || || ())
                    .peer("fragile", move || {
                        let mut left = calls;
                        move || {
                            left -= 1;
                            assert!(left > 0, "worn out");
                        }
                    });
            },
            "--quick",
        );
        assert_eq!(ran.exit, Exit::Incomplete);
        assert_eq!(ran.timed(), ["hit cache"]);
        assert!(ran.log.contains("worn out"), "{}", ran.log);
    }
}

#[test]
fn a_panic_on_another_thread_ends_the_subject_and_not_the_program() {
    let ran = run(
        |suite| {
            suite
                .bench("hit")
                .threads(&[1, 2])
                .ours_shared("Cache", || |_thread| || ())
                .peer_shared("makes-none", || {
                    |thread| {
                        assert!(thread == 0, "no second one");
                        || ()
                    }
                })
                .peer_shared("breaks", || |thread| move || assert!(thread == 0, "broken"));
        },
        "--quick",
    );
    if !two_cores() {
        assert_eq!(ran.exit, Exit::Success, "there is no other thread");
        return;
    }
    assert_eq!(ran.exit, Exit::Incomplete);
    // Where others keep the machine busy, ours on two threads may have no figures, and then says so.
    match ran.log.contains("ache on 2 threads is left out") {
        false => assert_eq!(ran.timed(), ["hit cache", "hit-t2 cache"]),
        true => assert_eq!(ran.timed(), ["hit cache"]),
    }
    assert!(
        ran.log.contains("no second one") && ran.log.contains("broken"),
        "{}",
        ran.log
    );
}

#[test]
fn allocations_are_still_counted_after_a_panic_in_an_input() {
    let ran = run(
        |suite| {
            suite
                .bench("bad")
                .ours_batched("Cache", || (|| -> u8 { panic!("no input") }, |_input| ()));
            suite.bench("good").ours("Cache", || || Box::new(1_u64));
        },
        "--block 2",
    );
    let metrics = ran.metrics();
    let counted = metrics.iter().find(|metric| metric.metric == "allocations");
    assert_eq!(counted.map(|metric| metric.value), Some(1.0));
}
