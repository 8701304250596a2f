//! A thread that looks at a server ten times a second, for as long as the server is held.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::procfs::Procfs;

/// What a server uses at one moment; taken ten times a second from its start.
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
    /// Context switches that it asked for by waiting, since its start, over all threads; once a second for a server
    /// with more than 32 of them. What a thread added in its last tenth of a second is missing.
    pub waits: u64,
}

#[derive(Debug)]
pub(super) struct Sampler {
    samples: Arc<Mutex<VecDeque<Sample>>>,
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
        samples.iter().cloned().collect()
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

fn sample(pid: u32, started: Instant, samples: &Mutex<VecDeque<Sample>>, until: &Receiver<()>) {
    let mut procfs = Procfs::new(pid);
    for tick in 0_u32.. {
        let due = started + INTERVAL * tick;
        let wait = due.saturating_duration_since(Instant::now());
        if until.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(sample) = procfs.sample(started.elapsed(), tick % TICKS_PER_SECOND == 0) else {
            return;
        };
        let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

const INTERVAL: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: u32 = 10;
/// One hour.
const SAMPLES_MAX: usize = 36_000;
