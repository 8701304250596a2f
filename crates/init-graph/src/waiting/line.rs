//! What a start that hangs is waiting for, in one line for the log: the nodes that keep the most others waiting.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::time::Duration;

use crate::render::{counted, cut, human, short};
use crate::wiring::Csr;

/// One node that is at work, or waits for its next attempt or for a permit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy<'a> {
    pub(super) node: u32,
    pub(super) name: &'a str,
    /// Since its first attempt began; of one that waits for a permit, since it could begin.
    pub(super) since: Duration,
    pub(super) doing: Doing,
    /// Counts from 1.
    pub(super) attempt: u32,
    /// How many there may be in all.
    pub(super) attempts_max: u32,
    /// Units done, and in all where that is known.
    pub(super) progress: Option<(u64, Option<u64>)>,
    pub(super) message: Option<&'a str>,
}

/// What keeps a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Running,
    /// Waits for its next attempt.
    Backoff,
    /// Waits for a permit of its class.
    Queued,
}

/// The line: "waiting for `database` (5200ms, attempt 2 of 3, "connecting"); 7 wait behind it". `None` when nobody is busy.
///
/// `is_waiting` tells of a node whether it has not begun and somebody still wants it. Of more than 64 busy nodes, only the
/// 64 that are at it for longest are looked at closely. One pass over the graph.
pub(super) fn line<N: Copy + Into<u32> + From<u32>>(
    mut busy: Vec<Busy<'_>>,
    dependencies: &Csr<N>,
    is_waiting: impl Fn(u32) -> bool,
) -> Option<String> {
    if busy.is_empty() {
        return None;
    }
    busy.sort_by_key(|busy| (busy.doing == Doing::Queued, Reverse(busy.since), busy.node));
    let looked_at = &busy[..busy.len().min(u64::BITS as usize)];
    let (behind_each, behind_all) = behind(looked_at, dependencies, is_waiting);
    let mut shown: Vec<_> = looked_at.iter().zip(behind_each).collect();
    // Stable, so among those that block as many the one that is at it for longest stays first.
    shown.sort_by_key(|(_, behind)| Reverse(*behind));
    shown.truncate(SHOWN_MAX);
    let alone = busy.len() == 1;
    let mut line = String::from("waiting for ");
    for (at, (busy, behind)) in shown.iter().enumerate() {
        if at > 0 {
            line.push_str(if at + 1 == shown.len() && shown.len() == looked_at.len() {
                " and "
            } else {
                ", "
            });
        }
        let behind = if alone { 0 } else { *behind };
        let _ = write!(
            line,
            "`{}` ({})",
            short(busy.name, NAME_MAX),
            details(busy, behind)
        );
    }
    let more = busy.len() - shown.len();
    if more > 0 {
        let _ = write!(line, " and {more} more");
    }
    let them = if alone { "it" } else { "them" };
    match behind_all {
        0 => {}
        1 => {
            let _ = write!(line, "; 1 waits behind {them}");
        }
        count => {
            let _ = write!(line, "; {count} wait behind {them}");
        }
    }
    Some(line)
}

/// How many waiting nodes stand behind each of `busy`, at most 64, and behind any of them.
fn behind<N: Copy + Into<u32> + From<u32>>(
    busy: &[Busy<'_>],
    dependencies: &Csr<N>,
    is_waiting: impl Fn(u32) -> bool,
) -> (Vec<usize>, usize) {
    // Per node one bit for each busy one that it waits for; a node comes behind its dependencies.
    let mut waits_for = vec![0_u64; dependencies.len()];
    for (bit, busy) in busy.iter().enumerate() {
        waits_for[busy.node as usize] |= 1 << bit;
    }
    let mut each = vec![0; busy.len()];
    let mut all = 0;
    for node in 0..dependencies.len() as u32 {
        if waits_for[node as usize] != 0 || !is_waiting(node) {
            continue;
        }
        let before = dependencies.of(node.into()).iter().copied();
        let mut bits = before.fold(0, |bits, other| bits | waits_for[other.into() as usize]);
        waits_for[node as usize] = bits;
        all += usize::from(bits != 0);
        while bits != 0 {
            each[bits.trailing_zeros() as usize] += 1;
            bits &= bits - 1;
        }
    }
    (each, all)
}

fn details(busy: &Busy<'_>, behind: usize) -> String {
    let mut details = human(busy.since);
    if busy.doing == Doing::Queued {
        details.push_str(", for its turn");
    }
    let numbered = busy.attempts_max > 1 && busy.doing != Doing::Queued;
    if numbered {
        let _ = write!(
            details,
            ", attempt {} of {}",
            busy.attempt, busy.attempts_max
        );
    }
    if busy.doing == Doing::Backoff {
        details.push_str(if numbered {
            " failed"
        } else {
            ", failed, about to try again"
        });
    }
    match busy.progress {
        Some((done, Some(total))) => {
            let _ = write!(details, ", {done} of {total}");
        }
        Some((done, None)) if done > 0 => {
            let _ = write!(details, ", {done} done");
        }
        _ => {}
    }
    if let Some(message) = busy.message.filter(|message| !message.is_empty()) {
        // Quoted as a literal: a line of the log stays one line.
        let _ = write!(details, ", {:?}", cut(message, MESSAGE_MAX));
    }
    if behind > 0 {
        let _ = write!(details, ", {} behind it", counted(behind, "node"));
    }
    details
}

const SHOWN_MAX: usize = 3;
const NAME_MAX: usize = 60;
const MESSAGE_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn busy(node: u32, name: &str, millis: u64) -> Busy<'_> {
        Busy {
            node,
            name,
            since: Duration::from_millis(millis),
            doing: Doing::Running,
            attempt: 1,
            attempts_max: 1,
            progress: None,
            message: None,
        }
    }

    fn check(busy: Vec<Busy<'_>>, nodes: usize, edges: &[(u32, u32)], expected: &Expect) {
        let line = line(busy, &Csr::<u32>::new(nodes, edges), |_| true);
        expected.assert_eq(&line.unwrap_or_default());
    }

    #[test]
    fn one_node_is_told_with_attempt_words_and_all_that_wait_behind_it() {
        let database = Busy {
            attempt: 2,
            attempts_max: 3,
            message: Some("connecting"),
            ..busy(0, "database", 5_200)
        };
        check(
            vec![database],
            4,
            &[(1, 0), (2, 1), (3, 2)],
            &expect![[
                r#"waiting for `database` (5200ms, attempt 2 of 3, "connecting"); 3 wait behind it"#
            ]],
        );
    }

    #[test]
    fn a_node_that_nobody_waits_for_stands_alone() {
        let warm = Busy {
            progress: Some((3, Some(10))),
            ..busy(0, "warm-up", 12_000)
        };
        check(
            vec![warm],
            1,
            &[],
            &expect!["waiting for `warm-up` (12.0s, 3 of 10)"],
        );
    }

    #[test]
    fn of_many_the_three_that_block_most_are_named() {
        let names = ["a", "b", "c", "d", "e"];
        let all = (0..)
            .zip(names)
            .map(|(node, name)| busy(node, name, 1_000 * (u64::from(node) + 1)))
            .collect();
        // 5 waits for b; 6 and 7 for d; 8 for b and d.
        check(
            all,
            9,
            &[(5, 1), (6, 3), (7, 6), (8, 1), (8, 3)],
            &expect![
                "waiting for `d` (4000ms, 3 nodes behind it), `b` (2000ms, 2 nodes behind it), `e` (5000ms) and 2 more; 4 wait behind them"
            ],
        );
    }

    #[test]
    fn two_are_joined_and_one_that_waits_is_counted_once() {
        check(
            vec![busy(0, "cache", 900), busy(1, "database", 5_000)],
            3,
            &[(2, 0), (2, 1)],
            &expect![
                "waiting for `database` (5000ms, 1 node behind it) and `cache` (900ms, 1 node behind it); 1 waits behind them"
            ],
        );
    }

    #[test]
    fn waits_for_another_attempt_and_for_a_permit_are_told() {
        let again = Busy {
            doing: Doing::Backoff,
            attempt: 2,
            attempts_max: 5,
            ..busy(0, "queue", 3_000)
        };
        let turn = Busy {
            doing: Doing::Queued,
            ..busy(1, "index", 4_000)
        };
        check(
            vec![turn, again],
            2,
            &[],
            &expect![
                "waiting for `queue` (3000ms, attempt 2 of 5 failed) and `index` (4000ms, for its turn)"
            ],
        );
    }

    #[test]
    fn words_stay_on_one_line_and_are_cut() {
        let long = "x".repeat(500);
        let words = Busy {
            message: Some(&long),
            ..busy(0, "a", 1)
        };
        let broken = Busy {
            message: Some("one\ntwo \"three\""),
            ..busy(0, "a\r\u{1b}[2J", 1)
        };
        let graph = Csr::<u32>::new(1, &[]);
        assert!(line(vec![words], &graph, |_| true).unwrap().chars().count() < 130);
        check(
            vec![broken],
            1,
            &[],
            &expect![[r#"waiting for `a\r\u{1b}[2J` (1.0ms, "one\ntwo \"three\"")"#]],
        );
    }

    #[test]
    fn of_hundreds_the_count_is_right_and_nobody_is_busy_when_nobody_is() {
        let names: Vec<_> = (0..200).map(|node| format!("n{node}")).collect();
        let all: Vec<_> = (0..)
            .zip(&names)
            .map(|(node, name)| busy(node, name, 100))
            .collect();
        let line_of_all = line(all, &Csr::<u32>::new(200, &[]), |_| true).unwrap();
        assert_eq!(
            line_of_all,
            "waiting for `n0` (100ms), `n1` (100ms), `n2` (100ms) and 197 more"
        );
        assert_eq!(
            line(Vec::new(), &Csr::<u32>::new(3, &[(1, 0)]), |_| true),
            None
        );
    }

    #[test]
    fn what_nobody_asked_for_does_not_wait() {
        let line = line(
            vec![busy(0, "a", 10)],
            &Csr::<u32>::new(3, &[(1, 0), (2, 0)]),
            |node| node == 2,
        );
        assert_eq!(
            line.as_deref(),
            Some("waiting for `a` (10ms); 1 waits behind it")
        );
    }
}
