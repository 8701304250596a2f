//! What it costs a service to say how far its start is, and a reader to look, beside a progress bar and bare memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use harness::{Exit, Suite};
use indicatif::{ProgressBar, ProgressDrawTarget};
use startup_progress::Progress;

fn main() -> Exit {
    harness::main("startup-progress", |suite: &mut Suite| {
        advance(suite);
        snapshot(suite);
    })
}

/// Never reached.
const TOTAL: u64 = 1 << 40;

fn advance(suite: &mut Suite) {
    suite
        .bench("advance")
        .about("one more unit of a step is done; nobody watches")
        .threads(&[1, 2])
        .ours_shared("Step::advance", || {
            let progress = Progress::new("bench");
            let step = Arc::new(progress.step("warm cache").total(TOTAL));
            step.advance(1);
            assert_eq!(progress.snapshot().steps[0].current, 1);
            move |_| {
                let step = Arc::clone(&step);
                move || step.advance(1)
            }
        })
        .peer_shared("indicatif inc", || {
            let bar = ProgressBar::with_draw_target(Some(TOTAL), ProgressDrawTarget::hidden());
            bar.inc(1);
            assert_eq!(bar.position(), 1);
            move |_| {
                let bar = bar.clone();
                move || bar.inc(1)
            }
        })
        .peer_shared("floor:AtomicU64", || {
            let count = Arc::new(AtomicU64::new(0));
            move |_| {
                let count = Arc::clone(&count);
                move || count.fetch_add(1, Ordering::Relaxed)
            }
        });
}

const STEPS: usize = 50;

fn snapshot(suite: &mut Suite) {
    suite
        .bench("snapshot")
        .about("a copy of everything there is to show of 50 steps with messages")
        .ours("Progress::snapshot", || {
            let progress = Progress::new("bench");
            let begin = |number| {
                let step = progress.step(format!("step {number}")).total(100);
                step.advance(number as u64);
                step.message("records of the last month");
                step
            };
            let steps: Vec<_> = (0..STEPS).map(begin).collect();
            let shown = progress.snapshot().steps;
            assert_eq!((shown.len(), shown[49].current), (STEPS, 49));
            move || (steps.len(), progress.snapshot()).1
        })
        .peer("Mutex Vec clone", || {
            // Name, message, done and total: as much as one would keep by hand.
            let step = |number| {
                let message = "records of the last month".to_owned();
                (
                    format!("step {number}"),
                    Some(message),
                    number as u64,
                    Some(100_u64),
                )
            };
            let steps: Mutex<Vec<_>> = Mutex::new((0..STEPS).map(step).collect());
            move || steps.lock().expect("no poison").clone()
        });
}
