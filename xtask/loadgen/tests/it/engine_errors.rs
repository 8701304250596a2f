//! Each way in which a request fails: its class, its time, and that the run goes on.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use loadgen::{ErrorClass, Load, Mix, Outcome, Stop, Target, run};

use crate::engine::{closed, load, open};
use crate::scripted_server::{HELLO, ScriptedServer, Step};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Twenty requests by one user, of which each second one is answered by `steps`; all others are fine.
fn every_second(steps: &'static [Step], requests: Load) -> (ScriptedServer, Outcome) {
    let server = ScriptedServer::start(move |number, _| {
        if number % 2 == 1 {
            steps.to_vec()
        } else {
            vec![Step::Send(HELLO)]
        }
    });
    let outcome = load(
        &server.target(),
        &Load {
            requests: Some(20),
            ..requests
        },
    );
    (server, outcome)
}

fn check(outcome: &Outcome, class: ErrorClass) {
    assert_eq!(
        (outcome.total.ended, outcome.total.succeeded),
        (20, 10),
        "{:?}",
        outcome.total.errors
    );
    assert_eq!(outcome.total.errors, [(class, 10)].into());
    assert_eq!(
        outcome.total.response.len(),
        20,
        "failures have their time too"
    );
    let failed: u64 = outcome.seconds.iter().map(|second| second.failed).sum();
    assert_eq!(failed, 10);
}

#[test]
fn an_answer_cut_short_is_a_closed_connection_and_the_next_request_gets_a_new_one() {
    let cut = &[
        Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"),
        Step::Close,
    ];
    let (server, outcome) = every_second(cut, closed(1, 60_000));
    check(&outcome, ErrorClass::Closed);
    // The last answer is cut as well: what connects after it may find the run over before it is accepted.
    let accepted = server.accepted();
    assert!((10..=11).contains(&accepted), "{accepted}");
    assert_eq!(
        outcome.total.statuses,
        [(200, 10)].into(),
        "a cut answer has no status"
    );
    let (_, outcome) = every_second(&[Step::Close], closed(1, 60_000));
    check(&outcome, ErrorClass::Closed);
}

#[test]
fn nonsense_is_a_protocol_error() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    ] {
        let server = ScriptedServer::start(move |number, _| {
            vec![Step::Send(if number % 2 == 1 { nonsense } else { HELLO })]
        });
        let outcome = load(
            &server.target(),
            &Load {
                requests: Some(20),
                ..closed(1, 60_000)
            },
        );
        check(&outcome, ErrorClass::Protocol);
    }
}

#[test]
fn a_timeout_counts_at_the_time_it_took() {
    const LATE: &[Step] = &[Step::Wait(Duration::from_secs(20)), Step::Send(HELLO)];
    let timeout = 50 * MILLISECOND;
    for model in [closed(1, 60_000), open(100.0, 1, 60_000)] {
        let (_server, outcome) = every_second(LATE, Load { timeout, ..model });
        check(&outcome, ErrorClass::Timeout);
        let service = &outcome.total.service;
        assert_eq!(
            service.count_between(49_000, 60_000_000),
            10,
            "{:?}",
            service.max()
        );
        assert!(service.max() < 2_000_000, "{}", service.max());
    }
}

#[test]
fn another_status_and_another_body_are_errors_of_a_connection_that_stays() {
    let missing = &[Step::Send(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    )];
    let (server, outcome) = every_second(missing, closed(1, 60_000));
    check(&outcome, ErrorClass::Status);
    assert_eq!(outcome.total.statuses, [(200, 10), (404, 10)].into());
    assert_eq!(server.accepted(), 1);

    let server = ScriptedServer::start(|number, _| {
        let other = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n";
        vec![Step::Send(if number % 2 == 1 { other } else { HELLO })]
    });
    let text =
        "[[route]]\nname = \"a\"\nmethod = \"GET\"\npath = \"/\"\nexpect.contains = \"hell\"\n";
    let mix = Mix::parse(text, Path::new(".")).expect("a mix");
    let target = server.target();
    let mix = mix
        .prepare(&target, Duration::from_secs(10))
        .expect("no values to fetch");
    let twenty = Load {
        requests: Some(20),
        ..closed(1, 60_000)
    };
    let outcome = run(&target, &mix, &twenty, &Stop::new(), &|_| {}).expect("a run");
    check(&outcome, ErrorClass::Body);
    assert_eq!(outcome.routes.len(), 1);
    assert_eq!(outcome.routes[0].errors, outcome.total.errors);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn each_route_has_its_own_counts_and_the_total_is_their_sum() {
    let server = ScriptedServer::start(|_, head| {
        let fine = head.starts_with("GET /a ");
        vec![Step::Send(if fine {
            HELLO
        } else {
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        })]
    });
    let text = "[[route]]\nname = \"a\"\npath = \"/a\"\n[[route]]\nname = \"b\"\npath = \"/b\"\n";
    let target = server.target();
    let mix = Mix::parse(text, Path::new(".")).expect("a mix");
    let mix = mix
        .prepare(&target, Duration::from_secs(10))
        .expect("no values to fetch");
    let hundred = Load {
        requests: Some(100),
        threads: 2,
        ..closed(2, 60_000)
    };
    let outcome = run(&target, &mix, &hundred, &Stop::new(), &|_| {}).expect("a run");
    let [a, b] = &outcome.routes[..] else {
        panic!("{:?}", outcome.routes.len())
    };
    assert_eq!((&*a.name, &*b.name), ("a", "b"));
    assert!(a.ended > 10 && b.ended > 10, "{} {}", a.ended, b.ended);
    assert_eq!((a.succeeded, a.failed()), (a.ended, 0));
    assert_eq!((b.succeeded, b.failed()), (0, b.ended));
    assert_eq!(outcome.total.ended, 100);
    assert_eq!(
        outcome.total.statuses,
        [(200, a.ended), (503, b.ended)].into()
    );
    assert_eq!(
        outcome.total.response.len(),
        a.response.len() + b.response.len()
    );
}

#[test]
fn a_server_that_ends_each_connection_is_served_over_new_ones() {
    for (answer, last) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            Step::Wait(Duration::ZERO),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            Step::Close,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", Step::Close),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Step::Close,
        ),
    ] {
        for model in [closed(2, 60_000), open(1000.0, 2, 60_000)] {
            let server = ScriptedServer::always(&[Step::Send(answer), last.clone()]);
            let outcome = load(
                &server.target(),
                &Load {
                    requests: Some(40),
                    ..model
                },
            );
            assert_eq!(
                (outcome.total.ended, outcome.total.succeeded),
                (40, 40),
                "{:?}",
                outcome.total.errors
            );
            assert!(server.accepted() >= 40, "{}", server.accepted());
        }
    }
}

#[test]
fn the_answer_to_a_head_request_has_no_body_and_the_connection_stays() {
    let server =
        ScriptedServer::always(&[Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")]);
    let text = "[[route]]\nname = \"a\"\nmethod = \"HEAD\"\npath = \"/\"\n";
    let target = server.target();
    let mix = Mix::parse(text, Path::new(".")).expect("a mix");
    let mix = mix
        .prepare(&target, Duration::from_secs(10))
        .expect("no values to fetch");
    let twenty = Load {
        requests: Some(20),
        ..closed(1, 60_000)
    };
    let outcome = run(&target, &mix, &twenty, &Stop::new(), &|_| {}).expect("a run");
    assert_eq!(
        (outcome.total.ended, outcome.total.succeeded),
        (20, 20),
        "{:?}",
        outcome.total.errors
    );
    assert_eq!(server.accepted(), 1);
}

#[test]
fn an_answer_in_small_pieces_is_one_answer_and_its_first_byte_has_its_own_time() {
    let server = ScriptedServer::always(&[
        Step::Send("HTTP/1.1 200 OK\r\nTransfer-En"),
        Step::Wait(30 * MILLISECOND),
        Step::Send("coding: chunked\r\n\r\n5\r\nhel"),
        Step::Wait(30 * MILLISECOND),
        Step::Send("lo\r\n0\r\n\r\n"),
    ]);
    let outcome = load(
        &server.target(),
        &Load {
            requests: Some(10),
            ..closed(1, 60_000)
        },
    );
    assert_eq!(
        (outcome.total.ended, outcome.total.succeeded),
        (10, 10),
        "{:?}",
        outcome.total.errors
    );
    let (response, first_byte) = (&outcome.total.response, &outcome.total.first_byte);
    assert!(response.min() >= 59_900, "{}", response.min());
    assert!(first_byte.min() < 30_000, "{}", first_byte.min());
}

#[test]
fn connections_that_nobody_takes_delay_the_start_only_once() {
    // Nobody accepts: the system takes some 130 connections and lets the others wait.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::at(listener.local_addr().expect("an address"));
    let before = Instant::now();
    let outcome = load(
        &target,
        &Load {
            timeout: Duration::from_secs(1),
            ..closed(1000, 10)
        },
    );
    assert_eq!(outcome.total.succeeded, 0);
    // One second of opening and one for the last answer; one for each 64 connections would be 14.
    let took = before.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// A load during which the server goes away for good, once it has answered 50 requests.
fn dying(model: &Load) -> Outcome {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let target = server.target();
    let mix = Mix::get("/")
        .prepare(&target, Duration::from_secs(10))
        .expect("a mix");
    let server = Mutex::new(Some(server));
    let progress = |_| {
        let mut server = server.lock().expect("no panic while locked");
        if server
            .as_ref()
            .is_some_and(|server| server.requests() >= 50)
        {
            *server = None;
        }
    };
    run(&target, &mix, model, &Stop::new(), &progress).expect("a run that began")
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_what_was_measured_and_errors_of_connecting() {
    let outcome = dying(&closed(2, 1500));
    assert!(outcome.total.succeeded >= 50, "{}", outcome.total.succeeded);
    let refused = outcome.total.errors.get(&ErrorClass::Connect).copied();
    // Pauses of up to 0.1 s for each of two users bound how often it is tried.
    assert!(
        (1..400).contains(&refused.unwrap_or_default()),
        "{:?}",
        outcome.total.errors
    );
    assert_eq!(
        outcome.total.ended,
        outcome.total.succeeded + outcome.total.failed()
    );
    assert!(!outcome.interrupted);
}

#[test]
fn requests_that_come_due_at_a_dead_server_fail_instead_of_waiting_for_it() {
    let outcome = dying(&open(400.0, 4, 1500));
    assert!(outcome.total.succeeded >= 50, "{}", outcome.total.succeeded);
    assert_eq!(outcome.total.ended + outcome.unsent, 600);
    let refused = outcome.total.errors.get(&ErrorClass::Connect).copied();
    assert!(refused > Some(100), "{:?}", outcome.total.errors);
    assert!(outcome.unsent < 100, "{}", outcome.unsent);
}
