//! Whether memory, files, ports and disk suffice, and whether memory figures mean what they say.

use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::{Advice, Finding, Sign};
use crate::environment::{System, chosen, memory_field};
use crate::report::{figure, thousands};

/// Enough for a thousand connections with both ends on this machine, and what programs open besides.
const FILES_MIN: u64 = 4_096;
/// Closed connections keep their port for a minute.
const PORTS_MIN: u64 = 10_000;
/// A release build of everything, and two worktrees of it.
const DISK_MIN: u64 = 10 << 30;

pub(super) fn findings(system: &System, target: &Path) -> Vec<Finding> {
    vec![
        swap(system),
        huge_pages(system),
        files(getrlimit(Resource::Nofile).current),
        ports(system),
        disk(target),
    ]
}

fn swap(system: &System) -> Finding {
    let meminfo = system.read("/proc/meminfo").unwrap_or_default();
    let of = |key| memory_field(&meminfo, key);
    let (Some(total), Some(free)) = (of("SwapTotal"), of("SwapFree")) else {
        return Finding::unknown("swap");
    };
    let used = total.saturating_sub(free);
    let sign = if used > 0 { Sign::Warn } else { Sign::Ok };
    sign.finding(
        "swap",
        format!("{} used", figure(used as f64, "bytes")),
        Advice {
            effect: "memory that was moved out comes back slowly, in the middle of a run",
            fix: "free memory, then sudo swapoff -a",
        },
    )
}

fn huge_pages(system: &System) -> Finding {
    let text = system.read("/sys/kernel/mm/transparent_hugepage/enabled");
    let Some(mode) = text.as_deref().and_then(chosen) else {
        return Finding::unknown("huge pages");
    };
    let sign = if mode == "always" {
        Sign::Warn
    } else {
        Sign::Ok
    };
    sign.finding(
        "huge pages",
        mode.to_owned(),
        Advice {
            effect: "resident memory grows in steps of 2 MiB and differs from run to run",
            fix: "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        },
    )
}

fn files(limit: Option<u64>) -> Finding {
    let evidence = limit.map_or_else(|| "no limit".to_owned(), thousands);
    let sign = match limit {
        Some(limit) if limit < FILES_MIN => Sign::Warn,
        _ => Sign::Ok,
    };
    sign.finding(
        "open files",
        evidence,
        Advice {
            effect: "many connections fail to open",
            fix: "ulimit -n 65536",
        },
    )
}

fn ports(system: &System) -> Finding {
    let range = system.read("/proc/sys/net/ipv4/ip_local_port_range");
    let ends = range.as_deref().and_then(|text| {
        let mut ends = text.split_whitespace().map(str::parse::<u64>);
        Some((ends.next()?.ok()?, ends.next()?.ok()?))
    });
    let Some((first, last)) = ends else {
        return Finding::unknown("local ports");
    };
    let ports = (last + 1).saturating_sub(first);
    let sign = if ports < PORTS_MIN {
        Sign::Warn
    } else {
        Sign::Ok
    };
    sign.finding(
        "local ports",
        thousands(ports),
        Advice {
            effect: "peers that open a connection for each request run out of ports",
            fix: "sudo sysctl net.ipv4.ip_local_port_range='15000 65000'",
        },
    )
}

fn disk(target: &Path) -> Finding {
    // The folder may not be there before the first build.
    let there = target.ancestors().find(|folder| folder.exists());
    let Some(Ok(space)) = there.map(statvfs) else {
        return Finding::unknown("disk space");
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let sign = if free < DISK_MIN {
        Sign::Warn
    } else {
        Sign::Ok
    };
    sign.finding(
        "disk space",
        format!(
            "{} free in {}",
            figure(free as f64, "bytes"),
            target.display()
        ),
        Advice {
            effect: "builds of two trees or the report may fail to be written",
            fix: "cargo clean, or CARGO_TARGET_DIR on a larger disk",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, sign};
    use super::*;

    #[test]
    fn swap_in_use_and_huge_pages_always_are_warned_about() {
        let (folder, system) = machine(&[
            ("proc/meminfo", "SwapTotal: 2048 kB\nSwapFree: 1024 kB\n"),
            (
                "sys/kernel/mm/transparent_hugepage/enabled",
                "[always] madvise never\n",
            ),
            ("proc/sys/net/ipv4/ip_local_port_range", "60000\t60999\n"),
        ]);
        let findings = findings(&system, &folder.path().join("not/there/yet"));
        for what in ["swap", "huge pages", "local ports"] {
            assert_eq!(sign(&findings, what), Sign::Warn, "{what}");
        }
        assert_ne!(sign(&findings, "disk space"), Sign::Unknown);
    }

    #[test]
    fn few_files_are_warned_about_and_no_limit_is_well() {
        assert_eq!(files(Some(1_024)).sign, Sign::Warn);
        assert_eq!(files(Some(65_536)).sign, Sign::Ok);
        assert_eq!(files(None).sign, Sign::Ok);
    }
}
