//! One outcome from what the threads measured.

use std::time::{Duration, Instant};

use super::judge::judge;
use super::timeline::Timeline;
use super::worker::Finished;
use crate::outcome::histogram;
use crate::{Generator, Outcome, RouteOutcome};

/// Adds up the threads, and judges the whole as an `open` model or a closed one.
pub(super) fn merge(
    routes: &[String],
    threads: &[Finished],
    timeline: Timeline,
    began: Instant,
    open: bool,
) -> Outcome {
    let mut outcome = Outcome {
        began,
        elapsed: Duration::ZERO,
        total: RouteOutcome::empty("total"),
        routes: routes
            .iter()
            .map(|name| RouteOutcome::empty(name))
            .collect(),
        seconds: Vec::new(),
        generator: Generator {
            threads: threads.len(),
            cpu_share: 0.0,
            send_lag: histogram(),
        },
        unsent: 0,
        invalid: Vec::new(),
        interrupted: false,
    };
    for thread in threads {
        outcome.elapsed = outcome.elapsed.max(Duration::from_nanos(thread.elapsed));
        outcome.unsent += thread.unsent;
        outcome.interrupted |= thread.interrupted;
        let generator = &mut outcome.generator;
        generator.cpu_share = generator.cpu_share.max(thread.cpu_share);
        generator.send_lag += &thread.lag;
        for (sum, route) in outcome.routes.iter_mut().zip(&thread.routes) {
            sum.add(route);
            outcome.total.add(route);
        }
    }
    outcome.seconds = timeline.finish(outcome.elapsed.as_secs());
    outcome.invalid = judge(&outcome, open);
    outcome
}
