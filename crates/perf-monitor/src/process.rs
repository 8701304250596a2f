//! What the kernel says about this process, read from `/proc`; absent on systems that have none.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::snapshot::ProcessUsage;

/// The last sample and its age, so that a storm of scrapes reads `/proc` once a second.
#[derive(Debug, Default)]
pub(crate) struct ProcessCache {
    last: Mutex<Option<(Instant, Option<ProcessUsage>)>>,
}

impl ProcessCache {
    /// The last sample if it is younger than a second, else a new one.
    pub(crate) fn recent(&self) -> Option<ProcessUsage> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((taken, usage)) if taken.elapsed() < MAX_AGE => usage.clone(),
            _ => {
                let usage = read();
                *last = Some((Instant::now(), usage.clone()));
                usage
            }
        }
    }
}

/// Reads everything, or nothing: a sample with holes would look like a drop to zero.
fn read() -> Option<ProcessUsage> {
    let stat = parse_stat(&text("/proc/self/stat")?)?;
    let status = text("/proc/self/status")?;
    let boot_seconds: u64 = field(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
    // The listing itself holds one descriptor open.
    let open_fds = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    Some(ProcessUsage {
        cpu_seconds: stat.cpu_ticks as f64 / TICKS_PER_SECOND,
        resident_bytes: field::<u64>(&status, "VmRSS:")?.saturating_mul(1024),
        virtual_bytes: field::<u64>(&status, "VmSize:")?.saturating_mul(1024),
        open_fds: open_fds as u64,
        max_fds: field(
            &fs::read_to_string("/proc/self/limits").ok()?,
            "Max open files",
        ),
        threads: field(&status, "Threads:")?,
        start_time: boot_seconds as f64 + stat.start_ticks as f64 / TICKS_PER_SECOND,
    })
}

/// A file that holds the program's name, which the kernel may have cut in the middle of a letter.
fn text(path: &str) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
}

/// Takes user time, system time (fields 14 and 15) and start time (22) out of `/proc/self/stat`.
fn parse_stat(text: &str) -> Option<Stat> {
    // Field 2 is the program's name in parentheses, which may itself hold spaces and parentheses.
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(6)?.parse().ok()?;
    Some(Stat {
        cpu_ticks: user.saturating_add(system),
        start_ticks,
    })
}

/// The first word after `key` at the start of a line; `None` when absent or no number.
fn field<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

const MAX_AGE: Duration = Duration::from_secs(1);

/// `USER_HZ`, the unit of times in `/proc`: 100 on every architecture that Linux supports with a
/// Rust standard library, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 4200 20";
        let stat = parse_stat(text).expect("valid");
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (200, 4200));
    }

    #[test]
    fn text_that_is_cut_short_gives_nothing() {
        assert!(parse_stat("7 (a) S 1 2 3").is_none());
        assert!(parse_stat("").is_none());
        assert_eq!(
            field::<u64>("Max open files   unlimited", "Max open files"),
            None
        );
    }
}
