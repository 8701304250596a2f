//! Allocations that are the operation's own.

use harness::Suite;

use crate::run;

fn counted(add: impl FnOnce(&mut Suite)) -> (f64, f64) {
    let metrics = run(add, "--block 2").metrics();
    let value = |metric: &str| {
        let found = metrics.iter().find(|candidate| candidate.metric == metric);
        found.map(|metric| metric.value).expect("a figure")
    };
    (value("allocations"), value("allocated"))
}

#[test]
fn each_allocation_of_an_operation_counts() {
    let two = |suite: &mut Suite| {
        suite
            .bench("two")
            .ours("boxes", || || (Box::new([0_u8; 100]), Box::new([0_u8; 28])));
    };
    assert_eq!(counted(two), (2.0, 128.0));
}

#[test]
fn what_the_harness_allocates_does_not_count() {
    let plain = |suite: &mut Suite| _ = suite.bench("none").ours("none", || || ());
    let shared = |suite: &mut Suite| _ = suite.bench("none").ours_shared("none", || |_| || ());
    let asynchronous = |suite: &mut Suite| {
        suite
            .bench("none")
            .ours_async("none", async || async || tokio::task::yield_now().await);
    };
    assert_eq!(counted(plain), (0.0, 0.0));
    assert_eq!(counted(shared), (0.0, 0.0));
    assert_eq!(counted(asynchronous), (0.0, 0.0));
}

#[test]
fn making_the_input_does_not_count() {
    let batched = |suite: &mut Suite| {
        suite.bench("input").ours_batched("copy", || {
            (|| vec![1_u8; 1000], |input: Vec<u8>| input[..10].to_vec())
        });
    };
    assert_eq!(counted(batched), (1.0, 10.0));
}
