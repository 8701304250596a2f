//! Agreement with wrk, where it is installed: the same server, the same connections, the same time.

use std::process::Command;
use std::time::Duration;

use loadgen::Outcome;

use crate::engine::{closed, load, open};
use crate::scripted_server::{HELLO, ScriptedServer, Step};

const USERS: usize = 4;

/// Requests per second of wrk in one second, or `None` where it is not installed.
fn wrk(url: &str) -> Option<f64> {
    let arguments = ["-t1", &format!("-c{USERS}"), "-d1s", url];
    let output = Command::new("wrk").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"))
        .expect(&text);
    Some(rate.trim().parse().expect("a number"))
}

/// Closed runs of both in turn, twice, so that a busy moment meets both. Says whether our better one reaches half of
/// wrk's better one: the server costs most of each request, so that only a client that is far slower fails. The
/// strict comparison is for a quiet machine and a release build.
#[test]
fn a_closed_model_is_not_far_slower_than_wrk() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let url = format!("http://{}/", server.target().host);
    let mut best: (f64, f64) = (0.0, 0.0);
    for _ in 0..2 {
        let Some(theirs) = wrk(&url) else {
            eprintln!("skipped: wrk is not installed");
            return;
        };
        let ours = load(&server.target(), &closed(USERS, 1000)).rate();
        best = (best.0.max(ours), best.1.max(theirs));
    }
    assert!(
        best.0 >= 0.5 * best.1,
        "ours {:.0}/s, wrk {:.0}/s",
        best.0,
        best.1
    );
}

#[test]
fn a_rate_far_below_what_wrk_reaches_is_met_exactly() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let Some(most) = wrk(&format!("http://{}/", server.target().host)) else {
        eprintln!("skipped: wrk is not installed");
        return;
    };
    let rate = (most / 10.0).min(2000.0).floor();
    let outcome: Outcome = load(&server.target(), &open(rate, 64, 1000));
    assert_eq!((outcome.total.ended + outcome.unsent) as f64, rate);
    assert_eq!(outcome.elapsed, Duration::from_secs(1));
    assert!(
        outcome.rate() >= 0.95 * rate,
        "{} of {rate}",
        outcome.rate()
    );
}
