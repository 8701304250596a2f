//! Whether somebody else uses the machine: other processes, the host, the disk.

use super::{Advice, Finding, Sign};
use crate::environment::{CpuTimes, System};

pub(super) fn findings(system: &System) -> Vec<Finding> {
    vec![
        load(system),
        pressure(system),
        steal(system),
        virtualised(system),
    ]
}

fn load(system: &System) -> Finding {
    let Some([minute, ..]) = system.load() else {
        return Finding::unknown("load");
    };
    Sign::above(minute, 0.5, 1.5).finding(
        "load",
        format!("{minute:.2} over the last minute"),
        Advice {
            effect: "other processes take turns on the cores: lower rates, longer tails",
            fix: "close what runs (`top` shows it) and wait until it is below 0.5",
        },
    )
}

fn pressure(system: &System) -> Finding {
    let Some(some) = system.pressure() else {
        return Finding::unknown("waiting");
    };
    let sign = Sign::above(some.cpu, 5.0, 20.0)
        .max(Sign::above(some.io, 5.0, 20.0))
        .max(Sign::above(some.memory, 1.0, 5.0));
    sign.finding(
        "waiting",
        format!(
            "{:.0} % for a core, {:.0} % for a disk, {:.0} % for memory",
            some.cpu, some.io, some.memory
        ),
        Advice {
            effect: "somebody waits already: whatever is measured waits as well",
            fix: "close what runs and wait ten seconds",
        },
    )
}

fn steal(system: &System) -> Finding {
    let start = CpuTimes { total: 0, steal: 0 };
    let Some(share) = system.cpu_times().and_then(|now| now.steal_since(start)) else {
        return Finding::unknown("stolen time");
    };
    Sign::above(share, 0.005, 0.05).finding(
        "stolen time",
        format!("{:.2} % since the machine started", share * 100.0),
        Advice {
            effect: "the host gives our cores to other guests: pauses that no guest can see",
            fix: "measure on a dedicated host, or at a quieter time",
        },
    )
}

fn virtualised(system: &System) -> Finding {
    // Without the processor's flags nothing is known about a host.
    if !system.has("/proc/cpuinfo") {
        return Finding::unknown("host");
    }
    match system.virtualised() {
        None => Finding::ok("host", "bare metal"),
        Some(what) if what == "container" => Finding::ok("host", what),
        Some(what) => Finding::not_ok(
            Sign::Warn,
            "host",
            what,
            Advice {
                effect: "other guests of the host move caches, heat and disks: figures drift by hours",
                fix: "compare within one session (`bench compare`), never with figures of yesterday",
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, sign};
    use super::*;

    #[test]
    fn a_busy_guest_is_bad_and_says_why() {
        let (_folder, system) = machine(&[
            ("proc/loadavg", "2.07 1.21 0.73 3/107 27620\n"),
            ("proc/pressure/cpu", "some avg10=32.38 avg60=19.39\n"),
            ("proc/pressure/io", "some avg10=0.33\n"),
            ("proc/pressure/memory", "some avg10=0.00\n"),
            ("proc/stat", "cpu  900 0 0 90 0 0 0 10\n"),
            ("proc/cpuinfo", "flags : fpu hypervisor\n"),
        ]);
        let findings = findings(&system);
        assert_eq!(sign(&findings, "load"), Sign::Bad);
        assert_eq!(sign(&findings, "waiting"), Sign::Bad);
        assert_eq!(sign(&findings, "stolen time"), Sign::Warn);
        assert_eq!(sign(&findings, "host"), Sign::Warn);
    }

    #[test]
    fn a_quiet_machine_is_well() {
        let (_folder, system) = machine(&[
            ("proc/loadavg", "0.07 0.21 0.73 3/107 27620\n"),
            ("proc/stat", "cpu  900 0 0 90 0 0 0 0\n"),
            ("proc/cpuinfo", "flags : fpu\n"),
        ]);
        let findings = findings(&system);
        for what in ["load", "stolen time", "host"] {
            assert_eq!(sign(&findings, what), Sign::Ok, "{what}");
        }
        assert_eq!(sign(&findings, "waiting"), Sign::Unknown);
    }
}
