//! What a generator thread asks of the operating system: a clock, a timer finer than a poller's, its CPU time, a core.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

#[cfg(target_os = "linux")]
pub(super) use linux::{Timer, pin};
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{Timer, pin};

/// Nanoseconds since one moment that all threads of a run share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        // 584 years fit.
        self.0.elapsed().as_nanos() as u64
    }
}

/// The share of one core that the calling thread uses during one span.
#[derive(Debug, Default)]
pub(super) struct CpuShare {
    from: Option<(u64, Duration)>,
    share: Option<f64>,
}

impl CpuShare {
    /// The span begins; later calls change nothing.
    pub(super) fn begin(&mut self, now: u64) {
        self.from.get_or_insert_with(|| (now, cpu_time()));
    }

    /// The span ends, if it has begun; later calls change nothing.
    pub(super) fn end(&mut self, now: u64) {
        if let (Some((since, before)), None) = (self.from, self.share)
            && now > since
        {
            let used = cpu_time().saturating_sub(before);
            self.share = Some(used.as_secs_f64() * 1e9 / (now - since) as f64);
        }
    }

    pub(super) fn share(&self) -> f64 {
        self.share.unwrap_or_default()
    }
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::thread::{CpuSet, sched_setaffinity};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use super::{Duration, io};

    /// Wakes the poller to the microsecond; its own timeout has steps of a millisecond.
    #[derive(Debug)]
    pub(in crate::run) struct Timer {
        fd: OwnedFd,
        armed_for: u64,
    }

    impl Timer {
        pub(in crate::run) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            // Edge-triggered: each expiry is an edge of its own, so that nobody has to read the timer.
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self { fd, armed_for: 0 })
        }

        /// Wakes the poller at `at`, which is after `now`. Returns how long the poller itself may wait, if that is
        /// what wakes.
        pub(in crate::run) fn arm(&mut self, at: u64, now: u64) -> io::Result<Option<Duration>> {
            if self.armed_for != at {
                let left = Duration::from_nanos(at.saturating_sub(now).max(1));
                let value = Itimerspec {
                    it_interval: Timespec {
                        tv_sec: 0,
                        tv_nsec: 0,
                    },
                    it_value: Timespec {
                        tv_sec: left.as_secs() as i64,
                        tv_nsec: left.subsec_nanos().into(),
                    },
                };
                timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &value)?;
                self.armed_for = at;
            }
            Ok(None)
        }
    }

    /// Keeps the calling thread on one core.
    pub(in crate::run) fn pin(cpu: usize) -> io::Result<()> {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        Ok(sched_setaffinity(None, &cpus)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use mio::{Registry, Token};

    use super::{Duration, io};

    /// The poller's own timeout: to the nanosecond with kqueue.
    #[derive(Debug)]
    pub(in crate::run) struct Timer;

    impl Timer {
        pub(in crate::run) fn new(_: &Registry, _: Token) -> io::Result<Self> {
            Ok(Self)
        }

        pub(in crate::run) fn arm(&mut self, at: u64, now: u64) -> io::Result<Option<Duration>> {
            Ok(Some(Duration::from_nanos(at.saturating_sub(now))))
        }
    }

    /// Keeps the calling thread on one core: not offered here.
    pub(in crate::run) fn pin(_: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
