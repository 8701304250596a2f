//! Limits with which nothing could ever run: times, numbers and attempts of zero.

use super::problem::{Problem, Problems};
use crate::component::Component;
use crate::settings::Settings;

pub(super) fn of_component(at: u32, component: &Component, problems: &mut Problems<'_>) {
    let options = component.options();
    let limits = [
        ("timeout", options.timeout),
        ("total_timeout", options.total_timeout),
        ("stall_timeout", options.stall_timeout),
        ("stop_timeout", options.stop_timeout),
    ];
    for (what, limit) in limits {
        if limit.is_some_and(|limit| limit.is_zero()) {
            problems.push((at, Problem::ZeroTimeout(what)));
        }
    }
    if options
        .retry
        .as_ref()
        .is_some_and(|retry| retry.attempts == 0)
    {
        problems.push((at, Problem::NoAttempt));
    }
}

/// Reported behind all components.
pub(super) fn of_graph(settings: &Settings, problems: &mut Problems<'_>) {
    let mut report = |is_time, what: String, help| {
        problems.push((u32::MAX, Problem::Setting(is_time, what, help)));
    };
    if settings.stop_timeout.is_zero() {
        let help = "give `Graph::stop_timeout` the time that hooks may take";
        report(true, "the stop timeout of the graph".into(), help);
    }
    if settings.timeout.is_some_and(|limit| limit.is_zero()) {
        let help = "leave out `Graph::timeout` for no limit";
        report(true, "the timeout of the graph".into(), help);
    }
    if settings.restart_budget.1.is_zero() {
        let help =
            "give `Graph::restart_budget` a window; no restarts at all are 0 within any window";
        report(true, "the window of the restart budget".into(), help);
    }
    let zero = settings
        .limits
        .iter()
        .enumerate()
        .filter(|(at, (class, limit))| {
            let mut later = settings.limits[at + 1..].iter();
            *limit == 0 && !later.any(|(other, _)| other == class)
        });
    for (_, (class, _)) in zero {
        let help = "nothing of the class could run: give `Graph::limit` at least 1";
        report(false, format!("the limit of class `{class}`"), help);
    }
    if settings.concurrency == Some(0) {
        let help = "nothing could run: leave out `Graph::concurrency` for no limit";
        report(false, "the concurrency of the graph".into(), help);
    }
}
