//! What Linux tells about a process in `/proc`; where there is none, nothing is told.
//!
//! Each number comes from the cheapest place that is right for the whole process, not only for its first thread:
//!
//! - CPU time from the kernel's CPU clock of the process. `stat` counts in steps of 10 ms, and `task/*/schedstat` lacks
//!   ended threads and, for running ones, up to a tick.
//! - Resident memory from `statm`, its peak from `VmHWM` of `status`, the proportional share from `smaps_rollup`. The
//!   first two may be off by a few pages for each core, as the kernel sums them up lazily.
//! - Waits from `task/*/status`, as `status` counts those of the first thread only.
//!
//! A sample takes some 20 µs and 12 µs for each thread; `smaps_rollup`, which keeps the process from mapping memory
//! meanwhile, takes 300 µs for one of 20 MiB.

use std::collections::BTreeMap;
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
    waits: Waits,
}

/// Waits of all threads, those that have ended included.
#[derive(Debug, Default)]
struct Waits {
    /// Last count of each thread that lives, and the round in which it was seen.
    of: BTreeMap<u32, (u64, u64)>,
    ended: u64,
    round: u64,
}

impl Procfs {
    pub(super) fn new(pid: u32) -> Self {
        Self {
            pid,
            folder: PathBuf::from(format!("/proc/{pid}")),
            text: Vec::with_capacity(4096),
            page_bytes: rustix::param::page_size() as u64,
            waits: Waits::default(),
        }
    }

    /// What it uses now; `None` once it is gone. `thorough` adds what is dear: the proportional share, and the waits
    /// of a process with many threads, which otherwise stay as they were.
    pub(super) fn sample(&mut self, at: Duration, thorough: bool) -> Option<Sample> {
        let cpu = cpu_time(self.pid)?;
        let pages = number_at(self.read("statm")?, 1)?;
        // Ended and not yet collected: it has a number still, and no memory.
        if pages == 0 {
            return None;
        }
        let threads = self.threads(thorough).ok()?;
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
            waits: self.waits.sum(),
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
        read(&self.folder.join(name), &mut self.text)
    }

    fn fds(&self) -> io::Result<u64> {
        let folder = self.folder.join("fd");
        match fs::metadata(&folder)?.len() {
            // Kernels before 6.2 do not say.
            0 => Ok(fs::read_dir(&folder)?.count() as u64),
            count => Ok(count),
        }
    }

    /// Counts the threads and, unless there are too many for now, their waits.
    fn threads(&mut self, thorough: bool) -> io::Result<u64> {
        let mut folder = self.folder.join("task");
        let ids: Vec<u32> = fs::read_dir(&folder)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        if thorough || ids.len() <= THREADS_OFTEN {
            self.waits.round += 1;
            for &id in &ids {
                folder.push(format!("{id}/status"));
                let status = read(&folder, &mut self.text);
                if let Some(count) = status.and_then(|text| field(text, "voluntary_ctxt_switches:"))
                {
                    self.waits.see(id, count);
                }
                folder.pop();
                folder.pop();
            }
            self.waits.forget_ended();
        }
        Ok(ids.len() as u64)
    }
}

impl Waits {
    fn see(&mut self, thread: u32, count: u64) {
        if let Some((before, _)) = self.of.insert(thread, (count, self.round))
            && count < before
        {
            // Another thread got the number of one that has ended.
            self.ended += before;
        }
    }

    fn forget_ended(&mut self) {
        let (round, ended) = (self.round, &mut self.ended);
        self.of.retain(|_, (count, seen)| {
            let lives = *seen == round;
            if !lives {
                *ended += *count;
            }
            lives
        });
    }

    fn sum(&self) -> u64 {
        self.ended + self.of.values().map(|(count, _)| count).sum::<u64>()
    }
}

fn read<'t>(path: &std::path::Path, text: &'t mut Vec<u8>) -> Option<&'t str> {
    text.clear();
    File::open(path).ok()?.read_to_end(text).ok()?;
    std::str::from_utf8(text).ok()
}

fn number_at(text: &str, place: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    number_at(line, 0)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name).map(|kibibytes| kibibytes * 1024)
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

/// With more threads than this, their waits are read once a second: each costs some 10 µs.
const THREADS_OFTEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_place() {
        let status = "Name:\tVmRSS: 7\nVmHWM:\t    1696 kB\nVmRSS:\t 12 kB\nvoluntary_ctxt_switches:\t3\n\
                      nonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(1696 * 1024));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(3));
        assert_eq!(field(status, "Pss:"), None);
        assert_eq!(number_at("765 416 400 5 0 100 0", 1), Some(416));
    }

    #[test]
    fn waits_of_ended_threads_still_count() {
        let mut waits = Waits::default();
        let rounds: [&[(u32, u64)]; 4] = [
            &[(1, 10), (2, 5)],
            &[(1, 11)],
            &[(1, 12), (2, 1)],
            &[(1, 12), (2, 0)],
        ];
        let sums = rounds.map(|threads| {
            waits.round += 1;
            threads
                .iter()
                .for_each(|&(thread, count)| waits.see(thread, count));
            waits.forget_ended();
            waits.sum()
        });
        assert_eq!(sums, [15, 16, 18, 18]);
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
