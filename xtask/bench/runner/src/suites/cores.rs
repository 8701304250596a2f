//! A core for the servers and another one for the generator, so that neither takes time from the other.

use std::fs;
use std::thread::available_parallelism;

/// Who runs where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cores {
    /// Cores of the servers; empty for all of them.
    pub(crate) servers: Vec<usize>,
    /// Cores of the generator's threads; empty for all of them.
    pub(crate) generator: Vec<usize>,
}

impl Cores {
    /// The first two cores that we may use, one each; nobody is kept anywhere if there are fewer, the system does not
    /// tell, or `pin` is not set.
    pub(crate) fn choose(pin: bool) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        match allowed(&status)[..] {
            [server, generator, ..] if pin => Self {
                servers: vec![server],
                generator: vec![generator],
            },
            _ => Self::default(),
        }
    }

    /// How many cores a server has.
    pub(crate) fn of_a_server(&self) -> usize {
        match self.servers.len() {
            0 => available_parallelism().map_or(1, usize::from),
            pinned => pinned,
        }
    }
}

/// The cores in `Cpus_allowed_list` of `/proc/self/status`: `0-3,8`.
fn allowed(status: &str) -> Vec<usize> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or_default();
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_allowed_cores_is_read() {
        assert_eq!(
            allowed("Name:\tx\nCpus_allowed_list:\t0-2,5\n"),
            [0, 1, 2, 5]
        );
        assert_eq!(allowed("Cpus_allowed_list:\t3\n"), [3]);
        assert_eq!(allowed(""), [0; 0]);
    }

    #[test]
    fn nobody_is_kept_anywhere_unless_asked() {
        assert_eq!(Cores::choose(false), Cores::default());
        assert!(Cores::default().of_a_server() >= 1);
    }
}
