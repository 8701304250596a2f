//! A thread that looks at a server ten times a second, for as long as the server is held.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::procfs::Procfs;

/// What a server uses at one moment; taken ten times a second from its start, half as often beyond each doubling of an
/// hour.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Since the server was started.
    pub at: Duration,
    /// CPU time since its start, user and system.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Proportional share of memory, in bytes; once a second, where the system tells.
    pub pss_bytes: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub fds: u64,
}

#[derive(Debug)]
pub(super) struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    /// Dropped, it ends the thread.
    running: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub(super) fn start(pid: u32, started: Instant) -> io::Result<Self> {
        let samples = Arc::default();
        let (running, until) = sync_channel(0);
        let thread = thread::Builder::new().name("sampler".to_owned()).spawn({
            let samples = Arc::clone(&samples);
            move || sample(pid, started, &samples, &until)
        })?;
        Ok(Self {
            samples,
            running: Some(running),
            thread: Some(thread),
        })
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sample(pid: u32, started: Instant, samples: &Mutex<Vec<Sample>>, until: &Receiver<()>) {
    let mut procfs = Procfs::new(pid);
    let (mut tick, mut step) = (0, 1);
    loop {
        let due = started + INTERVAL * tick;
        let wait = due.saturating_duration_since(Instant::now());
        if until.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(sample) = procfs.sample(started.elapsed(), tick % TICKS_PER_SECOND < step) else {
            return;
        };
        let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            halve(&mut samples);
            step *= 2;
        }
        samples.push(sample);
        tick += step;
    }
}

/// Keeps the first of each two, so that what is left reaches back to the start.
fn halve(samples: &mut Vec<Sample>) {
    let mut stays = false;
    samples.retain(|_| {
        stays = !stays;
        stays
    });
}

const INTERVAL: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: u32 = 10;
/// One hour, in 2 MiB.
const SAMPLES_MAX: usize = 36_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_watch_gets_coarser_and_never_forgets_its_beginning() {
        let at = |second| Sample {
            at: Duration::from_secs(second),
            ..Sample::default()
        };
        let mut samples: Vec<_> = (0..6).map(at).collect();
        halve(&mut samples);
        assert_eq!(samples, [0, 2, 4].map(at));
    }
}
