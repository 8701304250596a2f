//! Who runs on which core: all of a bench program on one, and each further thread of a sample on one of its own. Left to
//! the scheduler, two threads often share a core, as if there were no contention, and what hands work to another thread
//! costs two to four times as much in one run as in the next.

use std::collections::BTreeSet;

use self::system::Set;

/// Keeps the thread that made it, and those that it starts, on one core until it is dropped.
#[derive(Debug)]
pub(crate) struct Cores {
    /// What the program may use, those first that share no core of the hardware. None where a thread cannot be kept.
    numbers: Vec<usize>,
    before: Option<Set>,
}

impl Cores {
    /// As it says, where the system allows it.
    pub(crate) fn keep_to_one() -> Self {
        let kept = || {
            let before = system::allowed()?;
            let allowed = (0..Set::MAX_CPU).filter(|&core| before.is_set(core));
            let numbers = apart_first(allowed.collect(), system::siblings);
            keep_to(*numbers.first()?).then_some(Self {
                numbers,
                before: Some(before),
            })
        };
        kept().unwrap_or(Self {
            numbers: Vec::new(),
            before: None,
        })
    }

    /// One for each thread of a sample, from the thread that made this on.
    pub(crate) fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Does `action` with all cores, by whose number libraries choose how many shards they share out.
    pub(crate) fn with_all<T>(&self, action: impl FnOnce() -> T) -> T {
        struct Back<'a>(&'a Cores);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.numbers.first().map(|core| keep_to(*core));
            }
        }
        self.before.as_ref().map(system::allow);
        let _back = Back(self);
        action()
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // Allowed a moment ago; should it no longer be, fewer cores are no reason to give up.
        self.before.as_ref().map(system::allow);
    }
}

/// Keeps the calling thread on `core`; tells whether it could.
pub(crate) fn keep_to(core: usize) -> bool {
    let mut set = Set::new();
    set.set(core);
    system::allow(&set)
}

/// `cores` in their order, but those behind whose `siblings`, the threads of one core of the hardware, are there already.
fn apart_first(cores: Vec<usize>, siblings: impl Fn(usize) -> Option<String>) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let (apart, beside): (Vec<_>, Vec<_>) = cores
        .into_iter()
        .partition(|&core| siblings(core).is_none_or(|siblings| seen.insert(siblings)));
    [apart, beside].concat()
}

#[cfg(target_os = "linux")]
mod system {
    pub(super) use rustix::thread::CpuSet as Set;

    pub(super) fn allowed() -> Option<Set> {
        rustix::thread::sched_getaffinity(None).ok()
    }

    pub(super) fn allow(set: &Set) -> bool {
        rustix::thread::sched_setaffinity(None, set).is_ok()
    }

    pub(super) fn siblings(core: usize) -> Option<String> {
        let file = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        std::fs::read_to_string(file).ok()
    }
}

/// Other systems have nothing that binds a thread to a core.
#[cfg(not(target_os = "linux"))]
mod system {
    #[derive(Debug)]
    pub(super) struct Set;

    impl Set {
        pub(super) const MAX_CPU: usize = 0;

        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn set(&mut self, _core: usize) {}

        pub(super) fn is_set(&self, _core: usize) -> bool {
            false
        }
    }

    pub(super) fn allowed() -> Option<Set> {
        None
    }

    pub(super) fn allow(_set: &Set) -> bool {
        false
    }

    pub(super) fn siblings(_core: usize) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_core_come_after_the_other_cores() {
        let pairs = |core: usize| Some(format!("{}-{}", core / 2 * 2, core / 2 * 2 + 1));
        assert_eq!(apart_first(vec![0, 1, 2, 3], pairs), [0, 2, 1, 3]);
        let halves = |core: usize| Some(format!("{},{}", core % 2, core % 2 + 2));
        assert_eq!(apart_first(vec![0, 1, 2, 3], halves), [0, 1, 2, 3]);
        assert_eq!(apart_first(vec![3, 5], |_| None), [3, 5]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_has_all_its_cores_back_also_after_a_panic() {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        let before = system::allowed();
        let cores = Cores::keep_to_one();
        let count = || system::allowed().map(|set| set.count());
        assert_eq!(count(), Some(1));
        assert_eq!(cores.with_all(system::allowed), before);
        let panicked = catch_unwind(AssertUnwindSafe(|| cores.with_all(|| panic!("no set-up"))));
        assert!(panicked.is_err());
        assert_eq!(count(), Some(1));
        drop(cores);
        assert_eq!(system::allowed(), before);
    }
}
