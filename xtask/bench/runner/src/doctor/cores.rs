//! Whether there are enough cores, at a speed that stays.

use super::{Advice, Finding, Sign};
use crate::environment::{System, usable_cores};

pub(super) fn findings(system: &System) -> Vec<Finding> {
    vec![
        cores(system),
        quota(system),
        governor(system),
        turbo(system),
        battery(system),
        clock(system),
    ]
}

fn cores(system: &System) -> Finding {
    let cores = usable_cores(system);
    let sign = if cores < 2.0 { Sign::Bad } else { Sign::Ok };
    sign.finding(
        "cores",
        format!("{cores} usable"),
        Advice {
            effect: "server and load generator share a core: each is measured with the other",
            fix: "measure on a machine with two cores or more",
        },
    )
}

fn quota(system: &System) -> Finding {
    match system.quota() {
        None => Finding::ok("CPU quota", "none"),
        Some(cores) => Finding::not_ok(
            Sign::Warn,
            "CPU quota",
            format!("{cores} cores by a cgroup"),
            Advice {
                effect: "once it is used up, everything stands still until the next 100 ms: long tails",
                fix: "start the container without --cpus, or pin it with --cpuset-cpus",
            },
        ),
    }
}

fn governor(system: &System) -> Finding {
    match system.governor() {
        None => Finding::unknown("CPU governor"),
        Some(governor) if governor == "performance" => Finding::ok("CPU governor", governor),
        Some(governor) => Finding::not_ok(
            Sign::Warn,
            "CPU governor",
            governor,
            Advice {
                effect: "cores slow down while they wait: an idle service looks slower than a busy one",
                fix: "sudo cpupower frequency-set -g performance",
            },
        ),
    }
}

fn turbo(system: &System) -> Finding {
    let is = |path: &str, on: &str| system.read(path).map(|text| text.trim() == on);
    let on = is("/sys/devices/system/cpu/intel_pstate/no_turbo", "0")
        .or_else(|| is("/sys/devices/system/cpu/cpufreq/boost", "1"));
    match on {
        None => Finding::unknown("turbo"),
        Some(false) => Finding::ok("turbo", "off"),
        Some(true) => Finding::not_ok(
            Sign::Warn,
            "turbo",
            "on",
            Advice {
                effect: "speed follows heat and the number of busy cores: later runs look slower",
                fix: "switch it off for figures to keep, or rely on `bench compare`, which takes turns",
            },
        ),
    }
}

fn battery(system: &System) -> Finding {
    const SUPPLIES: &str = "/sys/class/power_supply";
    let discharging = system.names(SUPPLIES).iter().any(|name| {
        let status = system.read(&format!("{SUPPLIES}/{name}/status"));
        status.is_some_and(|status| status.trim() == "Discharging")
    });
    if !discharging {
        return Finding::ok("power", "not from a battery");
    }
    Finding::not_ok(
        Sign::Warn,
        "power",
        "from a battery",
        Advice {
            effect: "cores are kept slow",
            fix: "plug it in",
        },
    )
}

fn clock(system: &System) -> Finding {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let Some(clock) = system.read(path) else {
        return Finding::unknown("clock");
    };
    let clock = clock.trim();
    let sign = match clock {
        "tsc" | "arch_sys_counter" | "riscv_clocksource" => Sign::Ok,
        "kvm-clock" | "hyperv_clocksource_tsc_page" => Sign::Warn,
        _ => Sign::Bad,
    };
    sign.finding(
        "clock",
        clock.to_owned(),
        Advice {
            effect: "reading the clock costs more, up to a microsecond: short times grow by it",
            fix: "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, sign};
    use super::*;

    #[test]
    fn a_laptop_on_battery_with_turbo_is_warned_about() {
        let (_folder, system) = machine(&[
            ("proc/self/status", "Cpus_allowed_list: 0-7\n"),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "powersave\n",
            ),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
            ("sys/class/power_supply/BAT0/status", "Discharging\n"),
            (
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
                "hpet\n",
            ),
        ]);
        let findings = findings(&system);
        assert_eq!(sign(&findings, "cores"), Sign::Ok);
        assert_eq!(sign(&findings, "CPU quota"), Sign::Ok);
        for what in ["CPU governor", "turbo", "power"] {
            assert_eq!(sign(&findings, what), Sign::Warn, "{what}");
        }
        assert_eq!(sign(&findings, "clock"), Sign::Bad);
    }

    #[test]
    fn one_core_and_a_quota_are_told_apart() {
        let (_folder, system) = machine(&[
            ("proc/self/status", "Cpus_allowed_list: 3\n"),
            ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
        ]);
        let findings = findings(&system);
        assert_eq!(sign(&findings, "cores"), Sign::Bad);
        assert_eq!(sign(&findings, "CPU quota"), Sign::Warn);
    }
}
