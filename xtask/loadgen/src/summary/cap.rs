//! What kept the rate from being higher, as far as the signs tell.

use super::Cap;
use crate::run::judge::{BUSY_CLOSED, BUSY_OPEN};

/// What a run shows about its bottleneck.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// Share of one core of the busiest generator thread.
    pub(super) generator_cpu: f64,
    /// Whether an open model got the rate it asked for.
    pub(super) kept_up: bool,
    /// Users of a closed model.
    pub(super) users: Option<u64>,
    pub(super) server_cores: Option<u64>,
    /// Share of all its cores.
    pub(super) server_cpu: Option<f64>,
    /// Share of their time that requests waited for a database connection.
    pub(super) pool_wait: Option<f64>,
}

impl Signs {
    /// The first of these that is seen. The generator goes first: when it is full, nothing else can be told.
    pub(super) fn cap(self) -> Cap {
        let full = match self.users {
            Some(_) => BUSY_CLOSED,
            None => BUSY_OPEN,
        };
        if self.generator_cpu > full {
            return Cap::Generator;
        }
        if self.kept_up {
            return Cap::Rate;
        }
        let (Some(cpu), Some(cores)) = (self.server_cpu, self.server_cores) else {
            return Cap::Unknown;
        };
        if cpu >= SERVER_FULL {
            Cap::Cpu
        } else if self.pool_wait.is_some_and(|share| share >= POOL_WAIT) {
            Cap::Pool
        } else if self
            .users
            .is_some_and(|users| users < USERS_PER_CORE * cores)
        {
            Cap::Users
        } else {
            Cap::Lock
        }
    }
}

const SERVER_FULL: f64 = 0.9;
/// Below this, waiting for a connection explains little of the time.
const POOL_WAIT: f64 = 0.1;
/// While one request is worked on, others travel and wait in the generator: with fewer users than this the server runs
/// out of work at times.
const USERS_PER_CORE: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Signs), cap: Cap) {
        let mut signs = Signs {
            generator_cpu: 0.5,
            kept_up: false,
            users: Some(8),
            server_cores: Some(1),
            server_cpu: Some(0.5),
            pool_wait: None,
        };
        change(&mut signs);
        assert_eq!(signs.cap(), cap, "{signs:?}");
    }

    #[test]
    fn a_full_generator_hides_everything_else() {
        let full = |signs: &mut Signs| {
            (signs.generator_cpu, signs.kept_up, signs.server_cpu) = (0.96, true, Some(1.0));
        };
        check(full, Cap::Generator);
        let busy = |signs: &mut Signs| (signs.generator_cpu, signs.server_cpu) = (0.9, Some(1.0));
        check(busy, Cap::Cpu);
        let open = |signs: &mut Signs| {
            busy(signs);
            signs.users = None;
        };
        check(open, Cap::Generator);
    }

    #[test]
    fn a_rate_that_was_reached_is_the_limit() {
        let reached = |signs: &mut Signs| (signs.kept_up, signs.server_cpu) = (true, Some(0.95));
        check(reached, Cap::Rate);
    }

    #[test]
    fn without_a_server_to_watch_nothing_is_said() {
        check(|signs| signs.server_cpu = None, Cap::Unknown);
    }

    #[test]
    fn a_server_that_uses_its_cores_is_limited_by_them() {
        let busy = |signs: &mut Signs| (signs.server_cpu, signs.pool_wait) = (Some(0.9), Some(0.9));
        check(busy, Cap::Cpu);
    }

    #[test]
    fn waiting_for_the_pool_counts_once_it_explains_something() {
        check(|signs| signs.pool_wait = Some(0.3), Cap::Pool);
        check(|signs| signs.pool_wait = Some(0.01), Cap::Lock);
    }

    #[test]
    fn few_users_leave_a_server_idle_without_any_lock() {
        check(|signs| signs.users = Some(3), Cap::Users);
        check(|signs| signs.server_cores = Some(4), Cap::Users);
    }

    #[test]
    fn a_server_with_cpu_to_spare_waits_for_something() {
        check(|_| {}, Cap::Lock);
        check(|signs| signs.users = None, Cap::Lock);
    }
}
