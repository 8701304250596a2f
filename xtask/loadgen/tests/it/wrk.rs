//! Agreement with wrk, where it is installed: the same server, the same connections, the same time.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::engine::{closed, load, open};
use crate::scripted_server::{HELLO, ScriptedServer, Step};

const USERS: usize = 4;

/// What is promised holds for builds with optimisation on a quiet machine: `cargo test --release -p loadgen wrk`. Other
/// builds keep wide bounds, which a client that waits where it need not does not keep either.
const STRICT: bool = !cfg!(debug_assertions);

/// Starts one second of wrk, or says that it is not installed.
fn start_wrk(server: &ScriptedServer) -> Option<Child> {
    let url = format!("http://{}/", server.target().host);
    let arguments = ["-t1", &format!("-c{USERS}"), "-d1s", &url];
    let child = Command::new("wrk")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn();
    if child.is_err() {
        eprintln!("skipped: wrk is not installed");
    }
    child.ok()
}

/// Its requests per second.
fn rate_of(wrk: Child) -> f64 {
    let output = wrk.wait_with_output().expect("wrk ends by itself");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.expect(&text).trim().parse().expect("a number")
}

/// Both run at the same time, so that whatever else the machine does meets both.
#[test]
fn a_closed_model_keeps_up_with_wrk() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let Some(wrk) = start_wrk(&server) else {
        return;
    };
    let ours = load(&server.target(), &closed(USERS, 1000)).rate();
    let theirs = rate_of(wrk);
    let share = if STRICT { 0.85 } else { 0.33 };
    assert!(
        ours >= share * theirs,
        "ours {ours:.0}/s, wrk {theirs:.0}/s"
    );
}

#[test]
fn a_rate_that_wrk_exceeds_is_met() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let Some(wrk) = start_wrk(&server) else {
        return;
    };
    let highest = rate_of(wrk);
    let rate = match STRICT {
        true => (highest / 2.0).floor(),
        false => (highest / 10.0).clamp(50.0, 1000.0).floor(),
    };
    let outcome = load(&server.target(), &open(rate, 64, 1000));
    assert_eq!((outcome.total.ended + outcome.unsent) as f64, rate);
    assert_eq!(outcome.elapsed, Duration::from_secs(1));
    assert!(
        outcome.rate() >= 0.95 * rate,
        "{} of {rate}",
        outcome.rate()
    );
}
