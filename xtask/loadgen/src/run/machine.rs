//! What a generator thread asks of the operating system: a clock, a timer finer than a poller's, its CPU time, files.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

#[cfg(target_os = "linux")]
pub(super) use linux::Timer;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::Timer;

/// Nanoseconds since one moment that all threads of a run share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn at(self, now: u64) -> Instant {
        self.0 + Duration::from_nanos(now)
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
        self.from
            .get_or_insert_with(|| (now, cpu_time(ClockId::ThreadCPUTime)));
    }

    /// The span ends, if it has begun; later calls change nothing.
    pub(super) fn end(&mut self, now: u64) {
        if let (Some((since, before)), None) = (self.from, self.share)
            && now > since
        {
            let used = cpu_time(ClockId::ThreadCPUTime).saturating_sub(before);
            self.share = Some(used.as_secs_f64() * 1e9 / (now - since) as f64);
        }
    }

    pub(super) fn share(&self) -> f64 {
        self.share.unwrap_or_default()
    }
}

/// CPU time of the calling thread, or of this process.
pub(crate) fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// Makes sure that so many connections may be open, raising our own limit as far as we may: beyond it the target would be
/// blamed for connections that were never tried.
pub(super) fn allow_files(connections: usize) -> io::Result<()> {
    let needed = (connections + OTHER_FILES) as u64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(most) = limit.maximum.filter(|most| *most < needed) {
        return Err(io::Error::other(format!(
            "{connections} connections need {needed} open files and {most} are allowed; raise `ulimit -n`"
        )));
    }
    limit.current = Some(needed);
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Room for what else is open: pollers, timers, a server's log, files of the program that we are part of.
const OTHER_FILES: usize = 100;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
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
}
