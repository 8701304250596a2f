//! Which cores a thread, and what it starts, may use.

#[cfg(target_os = "linux")]
pub(crate) use linux::{Pinned, pin};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{Pinned, pin};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// Keeps this thread on some cores until it is dropped. A process that is started meanwhile inherits them from its
    /// first thread on; pinning it afterwards would miss the threads that it has by then.
    #[derive(Debug)]
    pub(crate) struct Pinned(Option<CpuSet>);

    impl Pinned {
        /// No cores leave the thread as it is.
        pub(crate) fn to(cpus: &[usize]) -> io::Result<Self> {
            if cpus.is_empty() {
                return Ok(Self(None));
            }
            let before = sched_getaffinity(None)?;
            pin(cpus)?;
            Ok(Self(Some(before)))
        }
    }

    impl Drop for Pinned {
        fn drop(&mut self) {
            if let Some(before) = self.0 {
                // It was allowed a moment ago; if it no longer is, fewer cores are no reason to give up.
                let _ = sched_setaffinity(None, &before);
            }
        }
    }

    /// Keeps this thread on some cores.
    pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        for &cpu in cpus {
            if cpu >= CpuSet::MAX_CPU {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            set.set(cpu);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;

    /// Other systems have nothing that binds: the cores are not looked at.
    #[derive(Debug)]
    pub(crate) struct Pinned;

    impl Pinned {
        pub(crate) fn to(_cpus: &[usize]) -> io::Result<Self> {
            Ok(Self)
        }
    }

    pub(crate) fn pin(_cpus: &[usize]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::thread::sched_getaffinity;

    use super::*;

    #[test]
    fn a_thread_has_its_cores_back_afterwards() {
        let before = sched_getaffinity(None).expect("our own thread");
        let core = (0..).find(|&cpu| before.is_set(cpu)).expect("a core");
        let pinned = Pinned::to(&[core]).expect("a core of ours");
        assert_eq!(sched_getaffinity(None).expect("our own thread").count(), 1);
        drop(pinned);
        assert_eq!(sched_getaffinity(None).expect("our own thread"), before);
    }

    #[test]
    fn cores_that_are_not_there_are_an_error() {
        for cpu in [1000, 5000] {
            assert!(Pinned::to(&[cpu]).is_err(), "{cpu}");
        }
    }
}
