//! Times and counts of a run: what is a response time, what is a service time, how many requests are sent and when.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadgen::{
    Arrivals, ErrorClass, Invalid, Load, Mix, Model, Outcome, RunError, Stop, Target, run,
};

use crate::scripted_server::{HELLO, ScriptedServer, Step};

/// Runs `GET /` against `target`.
pub(crate) fn load(target: &Target, load: &Load) -> Outcome {
    try_load(target, load, &Stop::new()).expect("a run")
}

pub(crate) fn try_load(target: &Target, load: &Load, stop: &Stop) -> Result<Outcome, RunError> {
    let mix = Mix::get("/")
        .prepare(target, Duration::from_secs(10))
        .expect("a mix without values");
    run(target, &mix, load, stop, &|_| {})
}

/// So many users for so many milliseconds, without a warm-up.
pub(crate) fn closed(users: usize, milliseconds: u64) -> Load {
    Load {
        model: Model::Closed { users },
        duration: Duration::from_millis(milliseconds),
        warmup: Duration::ZERO,
        ..Load::default()
    }
}

/// A constant rate over so many connections for so many milliseconds, without a warm-up.
pub(crate) fn open(rate: f64, connections: usize, milliseconds: u64) -> Load {
    Load {
        model: Model::Open(Arrivals::Constant { rate }),
        connections,
        ..closed(1, milliseconds)
    }
}

fn quantile(histogram: &hdrhistogram::Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_micros(histogram.value_at_quantile(quantile))
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn percentiles_are_those_of_the_server() {
    // Of ten requests, nine take 20 ms and one takes 100 ms.
    let server = ScriptedServer::start(|number, _| {
        let delay = if number % 10 == 9 { 100 } else { 20 };
        vec![Step::Wait(delay * MILLISECOND), Step::Send(HELLO)]
    });
    let outcome = load(
        &server.target(),
        &Load {
            requests: Some(60),
            ..closed(1, 60_000)
        },
    );
    assert_eq!((outcome.total.ended, outcome.total.succeeded), (60, 60));
    let response = &outcome.total.response;
    // The histogram errs by a thousandth at most; a busy machine adds to a sleep and never takes from it.
    assert!(response.min() >= 19_980, "{}", response.min());
    assert!(
        (20..60).contains(&quantile(response, 0.5).as_millis()),
        "{:?}",
        quantile(response, 0.5)
    );
    assert!(
        quantile(response, 0.85) < 90 * MILLISECOND,
        "{:?}",
        quantile(response, 0.85)
    );
    assert!(
        quantile(response, 0.92) >= 99 * MILLISECOND,
        "{:?}",
        quantile(response, 0.92)
    );
    assert_eq!(outcome.total.service, *response);
    assert_eq!(outcome.total.first_byte.len(), 60);
    assert_eq!(outcome.total.received_bytes, 60 * HELLO.len() as u64);
    assert!(
        outcome.elapsed < 30 * Duration::from_secs(1),
        "the count ends the run: {:?}",
        outcome.elapsed
    );
}

/// Answers at once, except that everything stands still for a second when `number` comes.
fn stalling_at(number: u64) -> ScriptedServer {
    let gate = Mutex::new(());
    ScriptedServer::start(move |present, _| {
        let guard = gate.lock().expect("no panic while locked");
        if present == number {
            std::thread::sleep(Duration::from_secs(1));
        }
        drop(guard);
        vec![Step::Send(HELLO)]
    })
}

#[test]
fn a_stall_shows_in_response_time_but_not_in_service_time() {
    let server = stalling_at(200);
    let outcome = load(&server.target(), &open(200.0, 2, 3000));
    assert_eq!(
        (outcome.total.ended, outcome.unsent),
        (600, 0),
        "{:?}",
        outcome.total.errors
    );
    // 200 of the 600 requests came due while the server stood still, and only two of them had been sent.
    let (response, service) = (&outcome.total.response, &outcome.total.service);
    assert!(
        quantile(response, 0.8) > 200 * MILLISECOND,
        "{:?}",
        quantile(response, 0.8)
    );
    assert!(
        quantile(service, 0.98) < 100 * MILLISECOND,
        "{:?}",
        quantile(service, 0.98)
    );
    assert!(
        quantile(service, 1.0) > 900 * MILLISECOND,
        "{:?}",
        quantile(service, 1.0)
    );
    let lag = &outcome.generator.send_lag;
    assert!(
        quantile(lag, 0.9) < 100 * MILLISECOND,
        "waiting is no lag: {:?}",
        quantile(lag, 0.9)
    );
    // The second of the stall shows it too. The last answers may come in a fourth one.
    assert!(
        (3..=4).contains(&outcome.seconds.len()),
        "{:?}",
        outcome.seconds
    );
    let ended: u64 = outcome.seconds.iter().map(|second| second.ended).sum();
    assert_eq!(ended, 600);
    let worst = outcome.seconds.iter().map(|second| second.p99_us).max();
    assert!(worst > Some(500_000), "{:?}", outcome.seconds);
}

#[test]
fn a_closed_model_waits_with_the_server_so_that_a_stall_is_one_slow_request_of_each_user() {
    let server = stalling_at(200);
    let outcome = load(&server.target(), &closed(2, 2000));
    let response = &outcome.total.response;
    assert_eq!(*response, outcome.total.service);
    assert!(outcome.total.ended > 400, "{}", outcome.total.ended);
    assert!(
        quantile(response, 1.0) > 900 * MILLISECOND,
        "{:?}",
        quantile(response, 1.0)
    );
    assert_eq!(response.count_between(900_000, 60_000_000), 2);
    assert!(outcome.generator.send_lag.is_empty());
}

#[test]
fn an_open_model_sends_exactly_what_was_asked_for_over_several_threads_too() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let load_two = Load {
        threads: 2,
        warmup: 200 * MILLISECOND,
        ..open(500.0, 8, 1000)
    };
    let outcome = load(&server.target(), &load_two);
    assert_eq!((outcome.total.ended, outcome.total.succeeded), (500, 500));
    assert_eq!(
        server.requests(),
        600,
        "the warm-up is sent and not counted"
    );
    assert_eq!(server.accepted(), 8, "connections are opened once");
    assert_eq!(outcome.generator.send_lag.len(), 500);
    assert_eq!(outcome.elapsed, Duration::from_secs(1));
    assert_eq!(outcome.generator.threads, 2);
}

#[test]
fn a_rate_that_the_server_cannot_take_makes_the_run_invalid() {
    let server = ScriptedServer::always(&[Step::Wait(20 * MILLISECOND), Step::Send(HELLO)]);
    let outcome = load(&server.target(), &open(500.0, 2, 500));
    // Two connections answer at most 100 requests a second.
    assert!(outcome.total.ended < 100, "{}", outcome.total.ended);
    assert_eq!(outcome.total.ended + outcome.unsent, 250);
    assert!(
        outcome.invalid.contains(&Invalid::Unsent {
            requests: outcome.unsent
        }),
        "{:?}",
        outcome.invalid
    );
}

#[test]
fn a_stop_ends_the_run_soon_and_keeps_what_was_measured() {
    let server = ScriptedServer::start(|number, _| {
        let delay = if number < 100 {
            Duration::ZERO
        } else {
            Duration::from_secs(20)
        };
        vec![Step::Wait(delay), Step::Send(HELLO)]
    });
    let (target, stop) = (server.target(), Stop::new());
    let mix = Mix::get("/")
        .prepare(&target, Duration::from_secs(10))
        .expect("a mix");
    let (told, asked_at) = (AtomicU64::new(0), Mutex::new(None));
    let progress = |share: f64| {
        told.fetch_max((share * 1e6) as u64, Ordering::Relaxed);
        if server.requests() >= 102 {
            asked_at
                .lock()
                .expect("no panic")
                .get_or_insert_with(Instant::now);
            stop.stop();
        }
    };
    let outcome = run(&target, &mix, &closed(2, 60_000), &stop, &progress).expect("a run");
    let asked_at = asked_at.lock().expect("no panic").expect("it was stopped");
    assert!(
        asked_at.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked_at.elapsed()
    );
    assert!(outcome.interrupted);
    assert_eq!((outcome.total.ended, outcome.total.succeeded), (100, 100));
    assert!(
        outcome.elapsed < Duration::from_secs(30),
        "{:?}",
        outcome.elapsed
    );
    assert!(told.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_stop_before_the_start_is_a_run_in_which_nothing_ended() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let stop = Stop::new();
    stop.stop();
    let outcome = try_load(&server.target(), &closed(2, 60_000), &stop).expect("a run");
    assert!(outcome.interrupted);
    assert_eq!(outcome.invalid, [Invalid::NothingSucceeded]);
    assert!(outcome.seconds.is_empty(), "{:?}", outcome.seconds);
    assert!(
        outcome.elapsed < Duration::from_secs(30),
        "{:?}",
        outcome.elapsed
    );
}

#[test]
fn where_nothing_listens_the_run_does_not_begin() {
    let server = ScriptedServer::always(&[]);
    // The port of a client: nobody listens on it, and nobody else can begin to.
    let client = TcpStream::connect(server.target().address).expect("a connection");
    let target = Target::at(client.local_addr().expect("an address"));
    let error = try_load(&target, &closed(2, 60_000), &Stop::new()).expect_err("no run");
    assert!(matches!(error, RunError::Unreachable { .. }), "{error}");
}

#[test]
fn an_impossible_load_is_refused_before_anything_is_sent() {
    let server = ScriptedServer::always(&[]);
    let error = try_load(&server.target(), &closed(0, 1000), &Stop::new()).expect_err("no run");
    assert!(matches!(error, RunError::Load(_)), "{error}");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_replay_is_sent_at_its_moments_over_all_threads() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let offsets = [0, 0, 0, 400, 400, 799].map(|moment| moment * MILLISECOND);
    let model = Model::Open(Arrivals::Replay {
        offsets: offsets.into(),
    });
    let outcome = load(
        &server.target(),
        &Load {
            model,
            threads: 4,
            ..open(1.0, 4, 800)
        },
    );
    assert_eq!((outcome.total.ended, outcome.total.succeeded), (6, 6));
    assert_eq!(outcome.elapsed, 800 * MILLISECOND);
}

#[test]
fn a_core_that_is_not_there_is_told() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let pinned = Load {
        cpus: vec![1_000_000],
        ..closed(1, 100)
    };
    let error = try_load(&server.target(), &pinned, &Stop::new()).expect_err("no such core");
    let RunError::System(source) = error else {
        panic!("{error}")
    };
    assert!(source.to_string().contains("core 1000000"), "{source}");
}

#[test]
fn requests_end_the_run_when_they_are_all_answered() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    for load_of in [closed(7, 60_000), open(2000.0, 7, 60_000)] {
        let before = server.requests();
        let load_of = Load {
            requests: Some(100),
            threads: 3,
            ..load_of
        };
        let outcome = load(&server.target(), &load_of);
        assert_eq!(outcome.total.ended, 100);
        assert_eq!(server.requests() - before, 100);
        assert!(!outcome.interrupted);
        assert!(
            outcome.elapsed < Duration::from_secs(30),
            "{:?}",
            outcome.elapsed
        );
    }
}

#[test]
fn an_answer_after_the_end_counts_for_the_second_in_which_it_came() {
    let served = Arc::new(AtomicBool::new(false));
    let server = ScriptedServer::start(move |_, _| {
        let delay = if served.swap(true, Ordering::Relaxed) {
            0
        } else {
            1200
        };
        vec![Step::Wait(delay * MILLISECOND), Step::Send(HELLO)]
    });
    let outcome = load(&server.target(), &closed(1, 100));
    assert_eq!(outcome.total.ended, 1);
    assert_eq!(outcome.elapsed, 100 * MILLISECOND);
    let ended: Vec<_> = outcome
        .seconds
        .iter()
        .map(|second| (second.t, second.ended))
        .collect();
    assert_eq!(ended, [(0, 0), (1, 1)]);
    assert!(!outcome.interrupted);
    assert_eq!(outcome.total.errors.get(&ErrorClass::Timeout), None);
}
