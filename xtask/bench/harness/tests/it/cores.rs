//! Who runs on which core, and how many are under way at once.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::{run, two_cores};

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_subject_does_and_starts_stays_on_one_core_which_is_given_back() {
    let (before, seen) = (cores(), Rc::new(Cell::new([0; 2])));
    let told = Rc::clone(&seen);
    run(
        |suite| {
            suite.bench("plain").ours("Cache", move || {
                let started = std::thread::spawn(cores).join().expect("no panic");
                move || told.set([cores(), started])
            });
        },
        "--block 1",
    );
    assert_eq!(seen.get(), [1, 1]);
    assert_eq!(cores(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn threads_have_a_core_each_and_share_what_was_set_up_for_all_cores() {
    let seen: Arc<Mutex<BTreeSet<(usize, String)>>> = Arc::default();
    let (told, set_up_with) = (Arc::clone(&seen), Rc::new(Cell::new(0)));
    let set_up = Rc::clone(&set_up_with);
    run(
        |suite| {
            let shared = move || {
                set_up.set(cores());
                move |thread| {
                    told.lock().expect("no panic").insert((thread, allowed()));
                    || ()
                }
            };
            let bench = suite.bench("shared");
            bench.ours_shared("Cache", shared).threads(&[1, 2]);
        },
        "--block 1",
    );
    assert_eq!(set_up_with.get(), cores());
    let seen = seen.lock().expect("no panic");
    let cores: BTreeSet<_> = seen.iter().map(|(_, cores)| cores).collect();
    assert_eq!(cores.len(), seen.len(), "{seen:?}");
    assert_eq!(seen.len(), if two_cores() { 2 } else { 1 });
}

/// The cores of this thread, as the kernel writes them.
#[cfg(target_os = "linux")]
fn allowed() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("our own thread");
    let list = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list:"));
    list.expect("a list").to_owned()
}

#[test]
fn most_of_the_time_all_futures_are_under_way_also_if_an_operation_takes_long() {
    let counts = Rc::new(Cell::new([0_u32; 2]));
    let told = Rc::clone(&counts);
    run(
        |suite| {
            let bench = suite.bench("async").concurrency(&[32]);
            bench.ours_async("Cache", async move || {
                let under_way = Rc::new(Cell::new(0_u32));
                async move || {
                    under_way.set(under_way.get() + 1);
                    // Ten of them would fill a sample.
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_micros(100) {}
                    tokio::task::yield_now().await;
                    let [all, few] = told.get();
                    let is_few = u32::from(under_way.get() < 30);
                    told.set([all + 1, few + is_few]);
                    under_way.set(under_way.get() - 1);
                }
            });
        },
        "--block 1",
    );
    let [all, few] = counts.get();
    assert!(few * 4 < all, "{few} of {all}");
}
