//! What to do with open connections once a second: the pure core of the housekeeper.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::Idle;

/// The settings that matter, and the state of the pool as of now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) min_idle: usize,
    pub(crate) generation: u64,
}

/// Connections by number, each in one list at most.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chores {
    pub(crate) close: Vec<u64>,
    /// Ask for a sign of life.
    pub(crate) ask: Vec<u64>,
    /// Open another, then close this one; the oldest first.
    pub(crate) replace: Vec<u64>,
}

/// `is_unrefreshed` tells of a moment whether connections opened then are to be replaced.
pub(crate) fn chores(
    now: Instant,
    connections: &[Idle],
    rules: Rules,
    is_unrefreshed: impl Fn(Instant) -> bool,
) -> Chores {
    let mut chores = Chores::default();
    let mut by_age: Vec<_> = connections.iter().collect();
    by_age.sort_by_key(|one| (one.born, one.id));
    let is_stale = |one: &Idle| one.generation != rules.generation;
    let is_due =
        |one: &Idle| one.replace_at.is_some_and(|at| now >= at) || is_unrefreshed(one.born);
    // Nobody may have those, so nothing is lost by closing them first.
    let useless = by_age
        .iter()
        .filter(|one| !one.lent && (one.retired || is_stale(one)));
    chores.close.extend(useless.map(|one| one.id));
    let due = by_age
        .iter()
        .filter(|one| !one.retired && !is_stale(one) && is_due(one));
    chores.replace.extend(due.map(|one| one.id));
    let taken = |chores: &Chores, id| chores.close.contains(&id) || chores.replace.contains(&id);
    let mut idle: Vec<_> = by_age
        .into_iter()
        .filter(|one| !one.lent && !taken(&chores, one.id))
        .collect();
    // The last one used is lent first, so how long a connection idled tells when so many were last needed at once.
    idle.sort_by_key(|one| (one.since, one.id));
    let most = idle.len().saturating_sub(rules.min_idle);
    let unused = |one: &&&Idle| {
        rules
            .idle_timeout
            .is_some_and(|limit| now >= one.since + limit)
    };
    let surplus = idle.iter().take(most).filter(unused).map(|one| one.id);
    chores.close.extend(surplus);
    let silent = idle.iter().filter(|one| {
        let limit = rules.keepalive.map(|every| less_a_tenth(every, one.id));
        limit.is_some_and(|limit| now >= one.alive + limit) && !chores.close.contains(&one.id)
    });
    let silent: Vec<_> = silent.map(|one| one.id).collect();
    chores.ask = silent;
    chores
}

/// Less up to a tenth, the same for a connection each time, so that not all are asked together.
fn less_a_tenth(whole: Duration, id: u64) -> Duration {
    let part = (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24);
    whole.mul_f64(1.0 - 0.1 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(id: u64, since: Instant) -> Idle {
        Idle {
            id,
            born: since,
            generation: 1,
            replace_at: None,
            since,
            alive: since,
            retired: false,
            lent: false,
        }
    }

    const RULES: Rules = Rules {
        idle_timeout: Some(Duration::from_secs(600)),
        keepalive: Some(Duration::from_secs(120)),
        min_idle: 1,
        generation: 1,
    };

    fn after(seconds: u64, connections: &[Idle], start: Instant) -> Chores {
        let now = start + Duration::from_secs(seconds);
        chores(now, connections, RULES, |_| false)
    }

    #[test]
    fn silent_connections_are_asked_and_unused_ones_closed_down_to_min_idle() {
        let start = Instant::now();
        let connections = [1, 2, 3].map(|id| idle(id, start));
        assert_eq!(after(100, &connections, start), Chores::default());
        assert_eq!(after(120, &connections, start).ask, [1, 2, 3]);
        let late = after(600, &connections, start);
        assert_eq!((late.close, late.ask), (vec![1, 2], vec![3]));
    }

    #[test]
    fn the_aged_are_replaced_even_while_lent_and_closed_when_that_is_done() {
        let start = Instant::now();
        let mut old = idle(1, start);
        old.replace_at = Some(start + Duration::from_secs(60));
        old.lent = true;
        assert_eq!(after(59, &[old], start), Chores::default());
        assert_eq!(after(60, &[old], start).replace, [1]);
        old.retired = true;
        assert_eq!(after(60, &[old], start), Chores::default());
        old.lent = false;
        assert_eq!(after(60, &[old], start).close, [1]);
    }

    #[test]
    fn those_of_an_earlier_generation_close_at_once_and_refreshed_ones_one_by_one() {
        let start = Instant::now();
        let mut stale = idle(1, start);
        stale.generation = 0;
        let fresh = idle(2, start + Duration::from_secs(1));
        assert_eq!(after(2, &[stale, fresh], start).close, [1]);
        let now = start + Duration::from_secs(2);
        let due = chores(now, &[idle(3, start), fresh], RULES, |born| born == start);
        assert_eq!((due.close, due.replace), (vec![], vec![3]));
    }

    #[test]
    fn keepalives_are_spread_over_a_tenth() {
        let whole = Duration::from_secs(100);
        let drawn: Vec<_> = (1..50).map(|id| less_a_tenth(whole, id)).collect();
        assert!(
            drawn
                .iter()
                .all(|one| *one <= whole && *one >= whole * 9 / 10)
        );
        assert!(drawn.iter().any(|one| *one < whole * 93 / 100));
    }
}
