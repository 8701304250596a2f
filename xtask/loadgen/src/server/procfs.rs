//! What Linux tells about a process in `/proc`; where there is none, nothing is told.
//!
//! Each number comes from the cheapest place that is right for the whole process, not only for its first thread:
//!
//! - CPU time from the kernel's CPU clock of the process. `stat` counts in steps of 10 ms, and `task/*/schedstat` lacks
//!   ended threads and, for running ones, up to a tick.
//! - Resident memory from `statm`, its peak from `VmHWM` of `status`, the proportional share from `smaps_rollup`. The
//!   first two may be off by a few pages for each core, as the kernel sums them up lazily.
//!
//! A sample takes some 20 µs; `smaps_rollup`, which keeps the process from mapping memory meanwhile, takes 300 µs for
//! one of 20 MiB.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use super::{Sample, Usage};

/// Reads about one process again and again, into the same memory.
#[derive(Debug)]
pub(super) struct Procfs {
    pid: u32,
    folder: PathBuf,
    text: Vec<u8>,
    page_bytes: u64,
}

impl Procfs {
    pub(super) fn new(pid: u32) -> Self {
        Self {
            pid,
            folder: PathBuf::from(format!("/proc/{pid}")),
            text: Vec::with_capacity(4096),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    /// What it uses now; `None` once it is gone. `thorough` adds what is dear: the proportional share.
    pub(super) fn sample(&mut self, at: Duration, thorough: bool) -> Option<Sample> {
        let cpu = cpu_time(self.pid)?;
        let pages = number_at(self.read("statm")?, 1)?;
        // Ended and not yet collected: it has a number still, and no memory.
        if pages == 0 {
            return None;
        }
        let threads = number_of(self.read("status")?, "Threads:")?;
        let pss_bytes = match thorough {
            true => self
                .read("smaps_rollup")
                .and_then(|text| kibibytes(text, "Pss:")),
            false => None,
        };
        Some(Sample {
            at,
            cpu,
            rss_bytes: pages * self.page_bytes,
            pss_bytes,
            threads,
            fds: self.fds().ok()?,
        })
    }

    /// Sums until now, and begins a new span for the peak.
    pub(super) fn usage(mut self) -> Option<Usage> {
        let cpu = cpu_time(self.pid)?;
        let text = self.read("status")?;
        let usage = Usage {
            cpu,
            rss_peak_bytes: kibibytes(text, "VmHWM:")?,
            rss_bytes: kibibytes(text, "VmRSS:")?,
        };
        // 5 sets the peak back to what is resident now.
        let _ = fs::write(self.folder.join("clear_refs"), "5");
        Some(usage)
    }

    fn read(&mut self, name: &str) -> Option<&str> {
        self.text.clear();
        let mut file = File::open(self.folder.join(name)).ok()?;
        file.read_to_end(&mut self.text).ok()?;
        std::str::from_utf8(&self.text).ok()
    }

    fn fds(&self) -> io::Result<u64> {
        let folder = self.folder.join("fd");
        match fs::metadata(&folder)?.len() {
            // Kernels before 6.2 do not say.
            0 => Ok(fs::read_dir(&folder)?.count() as u64),
            count => Ok(count),
        }
    }
}

fn number_at(text: &str, place: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn number_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    number_at(line, 0)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    number_of(text, name).map(|kibibytes| kibibytes * 1024)
}

#[cfg(target_os = "linux")]
fn cpu_time(pid: u32) -> Option<Duration> {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().ok()?);
    let clock = nix::time::ClockId::pid_cpu_clock_id(pid).ok()?;
    clock.now().ok().map(Duration::from)
}

#[cfg(not(target_os = "linux"))]
fn cpu_time(_pid: u32) -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_place() {
        let status = "Name:\tVmRSS: 7\nVmHWM:\t    1696 kB\nVmRSS:\t 12 kB\nThreads:\t3\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(1696 * 1024));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(number_of(status, "Threads:"), Some(3));
        assert_eq!(number_of(status, "Pss:"), None);
        assert_eq!(number_at("765 416 400 5 0 100 0", 1), Some(416));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_watched() {
        let mut procfs = Procfs::new(std::process::id());
        let sample = procfs.sample(Duration::ZERO, true).expect("we are here");
        assert!(
            sample.rss_bytes > 0 && sample.threads > 0 && sample.fds > 0,
            "{sample:?}"
        );
        assert!(
            sample
                .pss_bytes
                .is_some_and(|pss| pss <= 2 * sample.rss_bytes),
            "{sample:?}"
        );
        let usage = procfs.usage().expect("we are here");
        assert!(
            usage.cpu >= sample.cpu && usage.rss_peak_bytes > 0,
            "{usage:?}"
        );
    }

    #[test]
    fn a_process_that_is_not_there_has_no_sample() {
        let mut procfs = Procfs::new(u32::MAX);
        assert_eq!(procfs.sample(Duration::ZERO, true), None);
        assert_eq!(procfs.usage(), None);
    }
}
