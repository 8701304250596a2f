//! The figures of every kind of subject.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use harness::{Exit, Suite};

use crate::{run, run_until, two_cores};

fn every_kind(suite: &mut Suite) {
    suite
        .bench("plain")
        .ours("Cache", || || ())
        .peer("a peer", || || ());
    suite
        .bench("shared")
        .ours_shared("Cache", || {
            let shared = Arc::new(AtomicU64::new(0));
            move |_thread| {
                let shared = Arc::clone(&shared);
                move || shared.fetch_add(1, Ordering::Relaxed)
            }
        })
        .threads(&[1, 2]);
    suite
        .bench("async")
        .ours_async("Cache", async || {
            tokio::task::yield_now().await;
            let count = Cell::new(0);
            async move || {
                tokio::task::yield_now().await;
                count.set(count.get() + 1);
            }
        })
        .concurrency(&[1, 8]);
    suite
        .bench("batched")
        .ours_batched("Cache", || (|| vec![1_u8; 8], drop::<Vec<u8>>));
}

#[test]
fn every_row_has_a_time_within_its_interval() {
    let ran = run(every_kind, "--block 10");
    assert_eq!(ran.exit, Exit::Success, "{}", ran.log);
    let mut expected = vec![
        "plain cache",
        "shared cache",
        "shared-t2 cache",
        "async cache",
        "async-c8 cache",
        "batched cache",
    ];
    let left_out = "2 threads are left out: ";
    assert_eq!(ran.log.contains(left_out), !two_cores());
    // Something else may hold one of the cores most of the time.
    if !two_cores() || ran.log.contains("seldom ran at the same time") {
        expected.remove(2);
    }
    assert_eq!(ran.timed(), expected);
    for metric in ran.metrics() {
        assert_eq!(metric.suite, "cache");
        assert!(
            metric.low <= metric.value && metric.value <= metric.high,
            "{metric}"
        );
        if metric.metric == "time" {
            assert!(
                metric.unit == "ns" && metric.value > 0.0 && metric.samples >= 5,
                "{metric}"
            );
        }
    }
}

#[test]
fn peers_are_measured_beside_ours_and_left_out_of_a_block() {
    let ran = run(every_kind, "plain --quick");
    assert_eq!(ran.timed(), ["plain cache", "plain a-peer"]);
    assert!(ran.log.contains("a peer "), "{}", ran.log);
    let ran = run(every_kind, "plain --block 5");
    assert_eq!(ran.timed(), ["plain cache"]);
}

#[test]
fn twice_the_work_takes_about_twice_the_time() {
    let spin = |steps: u64| move || (0..steps).fold(1_u64, |x, y| std::hint::black_box(x ^ y));
    let ran = run(
        |suite| {
            suite
                .bench("spin")
                .ours("one", move || spin(500))
                .peer("two", move || spin(1_000));
        },
        "--quick",
    );
    let times: Vec<f64> = ran
        .metrics()
        .iter()
        .filter(|m| m.metric == "time")
        .map(|m| m.value)
        .collect();
    // Disturbances hit both alike, as they take turns.
    assert!((1.5..2.7).contains(&(times[1] / times[0])), "{times:?}");
}

#[test]
fn an_interrupt_prints_what_there_is() {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let ran = run_until(
        |suite| {
            suite.bench("first").ours("Cache", || || ());
            suite.bench("second").ours("Cache", || {
                let mut calls = 0;
                move || {
                    calls += 1;
                    seen.store(calls >= 2, Ordering::Relaxed);
                }
            });
            suite.bench("third").ours("Cache", || || ());
        },
        "--block 5",
        &stop,
    );
    assert_eq!((ran.exit, ran.exit.code()), (Exit::Interrupted, 130));
    assert_eq!(ran.timed(), ["first cache"]);
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    struct Closed(io::ErrorKind);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, expected) in [
        (io::ErrorKind::BrokenPipe, Exit::Success),
        (io::ErrorKind::StorageFull, Exit::Incomplete),
    ] {
        let mut log = Vec::new();
        let stop = AtomicBool::new(false);
        let arguments = ["--block", "1", "plain"];
        let exit = harness::run(
            "cache",
            every_kind,
            arguments,
            &mut Closed(kind),
            &mut log,
            &stop,
        );
        assert_eq!(exit, expected);
        let told = String::from_utf8_lossy(&log).contains("cannot write");
        assert_eq!(told, expected == Exit::Incomplete);
    }
}
