//! A core for the servers and another one for the generator, so that neither takes time from the other.

use std::thread::available_parallelism;

use crate::environment::{System, allowed_cores};

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
        let status = System::here().read("/proc/self/status");
        let allowed = status.and_then(|status| allowed_cores(&status));
        match allowed.unwrap_or_default()[..] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_kept_anywhere_unless_asked() {
        assert_eq!(Cores::choose(false), Cores::default());
        assert!(Cores::default().of_a_server() >= 1);
    }
}
