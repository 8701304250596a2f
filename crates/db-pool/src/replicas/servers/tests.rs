//! Choosing a server, lag, failover and bans as decisions, on answers made by hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::super::answer::tests::{primary, standby};
use super::*;

const RULES: Rules = Rules {
    max_lag: Some(Duration::from_secs(5)),
    max_lag_bytes: Some(1000),
    primary_reads: PrimaryReads::Fallback,
    ban: Terms {
        least: Duration::from_secs(1),
        most: Duration::from_secs(60),
    },
    probe_interval: Duration::from_secs(1),
};

/// Server 0 is the primary at position 1000, the others are replicas that have all of it.
fn set(count: usize, rules: Rules, now: Instant) -> Servers {
    let mut servers = Servers::new(count, rules, fastrand::Rng::with_seed(7));
    for server in 0..count {
        servers.all[server].opened = true;
        let answer = match server {
            0 => primary(now, 1, 1000),
            _ => standby(now, 1000),
        };
        servers.answered(server, named(server, answer), now);
    }
    servers
}

fn named(server: usize, mut answer: Answer) -> Answer {
    answer.started = server.to_string();
    answer
}

/// Everybody who may be chosen.
fn candidates(servers: &Servers, need: Option<u64>) -> Vec<usize> {
    let set = servers.candidates(need.map(Lsn::new), 0);
    (0..64).filter(|server| set & bit(*server) != 0).collect()
}

fn later(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn reads_go_to_replicas_and_to_the_primary_only_as_configured() {
    let now = Instant::now();
    for (primary_reads, all, alone) in [
        (PrimaryReads::Never, vec![1, 2], vec![]),
        (PrimaryReads::Fallback, vec![1, 2], vec![0]),
        (PrimaryReads::Balanced, vec![0, 1, 2], vec![0]),
    ] {
        let rules = Rules {
            primary_reads,
            ..RULES
        };
        let mut servers = set(3, rules, now);
        assert_eq!(candidates(&servers, None), all);
        for server in [1, 2] {
            servers.silent(server, "refused".into(), true);
        }
        assert_eq!(candidates(&servers, None), alone);
        // What the request has to see is nowhere else.
        assert_eq!(candidates(&servers, Some(2000)), [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_too_far_behind_is_left_out_until_it_has_caught_up() {
    let now = Instant::now();
    let mut servers = set(3, RULES, now);
    servers.answered(0, named(0, primary(later(now, 1), 1, 2000)), later(now, 1));
    assert_eq!(candidates(&servers, None), [1, 2], "within the bounds");
    servers.answered(0, named(0, primary(later(now, 2), 1, 2001)), later(now, 2));
    assert_eq!(
        candidates(&servers, None),
        [0],
        "more than 1000 bytes behind"
    );
    servers.answered(1, named(1, standby(later(now, 2), 1500)), later(now, 2));
    assert_eq!(candidates(&servers, None), [1]);
    servers.answered(0, named(0, primary(later(now, 7), 1, 2002)), later(now, 7));
    assert_eq!(candidates(&servers, None), [0], "more than 5 s behind");
    // Nobody knows what the primary has written since: a replica ages no further.
    servers.answered(1, named(1, standby(later(now, 8), 2002)), later(now, 8));
    servers.silent(0, "refused".into(), true);
    assert_eq!(candidates(&servers, None), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_read_sees_what_its_request_wrote() {
    let now = Instant::now();
    let mut servers = set(3, RULES, now);
    assert_eq!(candidates(&servers, Some(1000)), [1, 2]);
    assert_eq!(candidates(&servers, Some(1001)), [0]);
    servers.answered(2, named(2, standby(now, 1001)), now);
    assert!(servers.has_seen(Lsn::new(1001)));
    assert_eq!(candidates(&servers, Some(1001)), [2]);
}

#[tokio::test(start_paused = true)]
async fn banned_replicas_serve_only_when_all_are_banned_and_they_answer() {
    let now = Instant::now();
    let mut servers = set(3, RULES, now);
    assert!(servers.failed(1, "gone".into(), now));
    assert_eq!(candidates(&servers, None), [2]);
    servers.failed(2, "gone".into(), now);
    assert_eq!(
        candidates(&servers, None),
        [0],
        "neither has answered since"
    );
    let soon = now + Duration::from_millis(100);
    servers.answered(1, named(1, standby(soon, 1000)), soon);
    assert_eq!(
        candidates(&servers, None),
        [1],
        "banned, and better than none"
    );
    let over = later(now, 2);
    servers.answered(2, named(2, standby(over, 1000)), over);
    assert_eq!(candidates(&servers, None), [2], "no longer banned");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_does_not_unseat_a_primary_and_a_refusal_does() {
    let now = Instant::now();
    let mut servers = set(2, RULES, now);
    servers.silent(0, "late".into(), false);
    servers.silent(0, "late".into(), false);
    assert_eq!(servers.writer(), Some(0));
    servers.silent(0, "late".into(), false);
    assert_eq!(servers.writer(), None);
    servers.answered(0, named(0, primary(now, 1, 1000)), now);
    assert_eq!((servers.writer(), servers.failovers), (Some(0), 0));
    servers.silent(0, "refused".into(), true);
    assert_eq!(servers.writer(), None);
}

#[tokio::test(start_paused = true)]
async fn a_promoted_replica_takes_over_and_the_old_primary_is_never_taken_back() {
    let now = Instant::now();
    let mut servers = set(3, RULES, now);
    servers.silent(0, "refused".into(), true);
    let change = servers.answered(1, named(1, primary(now, 2, 1100)), now);
    assert_eq!(change.promoted, Some(1));
    assert_eq!((servers.writer(), servers.failovers), (Some(1), 1));
    // It comes back and still takes itself for the primary.
    servers.answered(0, named(0, primary(now, 1, 5000)), now);
    assert_eq!(servers.writer(), Some(1));
    assert!(servers.is_left_behind(0));
    servers.silent(1, "refused".into(), true);
    assert_eq!(
        servers.writer(),
        None,
        "rather none than the one left behind"
    );
    servers.answered(1, named(1, primary(now, 2, 1200)), now);
    let change = servers.answered(0, named(0, standby(now, 1200)), now);
    assert_eq!((change.demoted, servers.writer()), (Some(0), Some(1)));
    assert_eq!(candidates(&servers, None), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn two_primaries_of_one_timeline_get_no_writes() {
    let now = Instant::now();
    let mut servers = set(3, RULES, now);
    servers.answered(1, named(1, primary(now, 1, 9000)), now);
    assert_eq!((servers.writer(), servers.is_split()), (None, true));
    for _ in 0..10 {
        servers.silent(1, "late".into(), false);
    }
    assert_eq!(servers.writer(), None, "others may reach it");
    servers.answered(1, named(1, standby(now, 1000)), now);
    assert_eq!((servers.writer(), servers.is_split()), (Some(0), false));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_database_is_a_stranger() {
    let now = Instant::now();
    let mut servers = set(3, RULES, now);
    let mut other = named(2, standby(now, 1000));
    other.system = "8".into();
    servers.answered(2, other, now);
    assert_eq!(servers.stranger(), Some(2));
    assert_eq!(candidates(&servers, None), [1]);
}

/// Clients that send their next statement when the last one is answered. Servers work on one after another.
///
/// Returns how many statements each replica has served.
fn simulate(service: &[Duration], clients: usize, statements: u64) -> Vec<u64> {
    let start = Instant::now();
    let mut servers = set(service.len() + 1, RULES, start);
    let mut free = vec![start; service.len() + 1];
    let mut under_way = BinaryHeap::new();
    let mut served = vec![0; service.len()];
    let mut now = start;
    for number in 0..statements {
        if number >= clients as u64 {
            let Reverse((done, server, sent)) = under_way.pop().expect("clients wait");
            now = done;
            servers.ended(server);
            servers.served(server, now - sent, now);
            served[server - 1] += 1;
        }
        let server = servers.choose(None, 0).expect("a replica");
        let done = free[server].max(now) + service[server - 1];
        free[server] = done;
        under_way.push(Reverse((done, server, now)));
    }
    served
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_gets_the_share_that_it_can_serve() {
    let millis = Duration::from_millis;
    let served = simulate(&[millis(1), millis(1), millis(10)], 16, 20_000);
    let share = |server: usize| served[server] as f64 / 20_000.0;
    // Capacities are as 10 to 10 to 1.
    assert!((0.40..0.55).contains(&share(0)), "{served:?}");
    assert!((0.40..0.55).contains(&share(1)), "{served:?}");
    assert!((0.01..0.10).contains(&share(2)), "{served:?}");
    let even = simulate(&[millis(2); 4], 16, 20_000);
    assert!(
        even.iter().all(|one| (4500..5500).contains(one)),
        "{even:?}"
    );
}

#[derive(Clone, Debug)]
enum Event {
    Primary {
        server: usize,
        timeline: u32,
        written: u64,
    },
    Standby {
        server: usize,
        replayed: u64,
    },
    Silent {
        server: usize,
        certain: bool,
    },
    Failed {
        server: usize,
    },
    Pass {
        millis: u64,
    },
    Read {
        need: Option<u64>,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let server = 0..4_usize;
    prop_oneof![
        (server.clone(), 1..4_u32, 0..3000_u64).prop_map(|(server, timeline, written)| {
            Event::Primary {
                server,
                timeline,
                written,
            }
        }),
        (server.clone(), 0..3000_u64)
            .prop_map(|(server, replayed)| Event::Standby { server, replayed }),
        (server.clone(), any::<bool>())
            .prop_map(|(server, certain)| Event::Silent { server, certain }),
        server.prop_map(|server| Event::Failed { server }),
        (0..3000_u64).prop_map(|millis| Event::Pass { millis }),
        proptest::option::of(0..3000_u64).prop_map(|need| Event::Read { need }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_promises_hold(events in proptest::collection::vec(event(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _entered = runtime.enter();
        let mut now = Instant::now();
        let mut servers = set(4, RULES, now);
        let mut highest = 1;
        let mut lent = [0_u32; 4];
        for event in events {
            match event {
                Event::Primary { server, timeline, written } => {
                    servers.answered(server, named(server, primary(now, timeline, written)), now);
                }
                Event::Standby { server, replayed } => {
                    servers.answered(server, named(server, standby(now, replayed)), now);
                }
                Event::Silent { server, certain } => {
                    servers.silent(server, "why".into(), certain);
                }
                Event::Failed { server } => {
                    servers.failed(server, "why".into(), now);
                }
                Event::Pass { millis } => now += Duration::from_millis(millis),
                Event::Read { need } => {
                    let need = need.map(Lsn::new);
                    if let Some(server) = servers.choose(need, 0) {
                        lent[server] += 1;
                        let one = &servers.all[server];
                        let answer = one.standing().expect("nobody reads from a server that is gone");
                        if answer.is_standby() {
                            prop_assert!(need.is_none_or(|need| reached(answer.position, need)));
                            let lag = servers.lag(server).expect("a standby");
                            prop_assert!(servers.is_within_bounds(lag));
                        } else {
                            prop_assert_eq!(servers.writer(), Some(server));
                        }
                    }
                    prop_assert_eq!(lent, [0, 1, 2, 3].map(|server: usize| servers.all[server].in_flight));
                }
            }
            // A timeline counts once its primary was undisputed; from then on no older one gets writes.
            if let Some(server) = servers.writer() {
                let answer = servers.all[server].answer.as_ref().expect("a writer answered");
                let Role::Primary { timeline, writable } = answer.role else {
                    panic!("a standby takes writes");
                };
                prop_assert!(writable && timeline >= highest && !servers.is_split());
                highest = timeline;
            }
        }
    }
}
