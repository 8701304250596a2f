//! Readers of what Linux writes into its files; pure, so that other machines can be tested on this one.

/// CPU time since the start of the machine, in ticks, over all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    pub(crate) total: u64,
    /// Given to others by the host.
    pub(crate) steal: u64,
}

impl CpuTimes {
    /// Share of the time since `before` that the host gave to others.
    pub(crate) fn steal_since(self, before: Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total)?;
        let steal = self.steal.checked_sub(before.steal)?;
        (total > 0).then(|| steal as f64 / total as f64)
    }
}

/// From `/proc/stat`.
pub(crate) fn cpu_times(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    // user nice system idle iowait irq softirq steal; guest times, which follow, are within user and nice.
    let parts = ticks.get(..8)?;
    Some(CpuTimes {
        total: parts.iter().sum(),
        steal: parts[7],
    })
}

/// From `/proc/loadavg`.
pub(crate) fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Percent of the last ten seconds in which some task waited, from a file in `/proc/pressure`.
pub(crate) fn pressure(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = some
        .split(' ')
        .find_map(|word| word.strip_prefix("avg10="))?;
    average.parse().ok()
}

/// Bytes behind `key` in `/proc/meminfo`.
pub(crate) fn memory(meminfo: &str, key: &str) -> Option<u64> {
    let value = field(meminfo, key)?;
    let kib: u64 = value.strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The name of the processor, from `/proc/cpuinfo`.
pub(crate) fn cpu_name(cpuinfo: &str) -> Option<&str> {
    ["model name", "Model", "Hardware", "cpu model"]
        .iter()
        .find_map(|key| field(cpuinfo, key))
        .filter(|name| !name.is_empty())
}

/// Family and model: clouds give one name to many generations.
pub(crate) fn cpu_model(cpuinfo: &str) -> Option<String> {
    if let (Some(family), Some(model)) = (field(cpuinfo, "cpu family"), field(cpuinfo, "model")) {
        return Some(format!("f{family}m{model}"));
    }
    Some(format!("part {}", field(cpuinfo, "CPU part")?))
}

/// Logical cores in `/proc/cpuinfo`.
pub(crate) fn cores(cpuinfo: &str) -> usize {
    cpuinfo
        .lines()
        .filter(|line| line.split(':').next().map(str::trim) == Some("processor"))
        .count()
}

/// Whether the processor has a flag.
pub(crate) fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    field(cpuinfo, "flags").is_some_and(|flags| flags.split(' ').any(|word| word == flag))
}

/// The cores that a process may use, from `/proc/self/status`: `0-3,8`.
pub(crate) fn allowed_cores(status: &str) -> Option<Vec<usize>> {
    let ranges = field(status, "Cpus_allowed_list")?.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    });
    let ranges: Vec<_> = ranges.collect::<Option<_>>()?;
    let cores: Vec<_> = ranges.into_iter().flatten().collect();
    (!cores.is_empty()).then_some(cores)
}

/// Cores that a quota leaves, from `cpu.max` or `quota period`; `None` for no limit.
pub(crate) fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The bracketed word of files such as `always [madvise] never`.
pub(crate) fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|split| split.0)
}

/// The value behind `key:`.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu hypervisor lahf_lm

processor\t: 1
model name\t: AMD EPYC
";

    #[test]
    fn the_processor_is_named_counted_and_told_from_its_namesakes() {
        assert_eq!(cpu_name(CPUINFO), Some("AMD EPYC"));
        assert_eq!(cpu_model(CPUINFO).as_deref(), Some("f26m2"));
        assert_eq!(cores(CPUINFO), 2);
        assert!(has_flag(CPUINFO, "hypervisor"));
        assert!(!has_flag(CPUINFO, "hyper"));
        let arm = "processor\t: 0\nCPU part\t: 0xd0c\n";
        assert_eq!((cpu_name(arm), cores(arm)), (None, 1));
        assert_eq!(cpu_model(arm).as_deref(), Some("part 0xd0c"));
    }

    #[test]
    fn steal_is_a_share_of_the_time_between() {
        let before = cpu_times("cpu  100 0 50 800 10 0 20 20 7 0\ncpu0 1 1").expect("times");
        assert_eq!((before.total, before.steal), (1000, 20));
        let after = cpu_times("cpu  150 0 50 800 10 0 20 70 7 0").expect("times");
        assert_eq!(after.steal_since(before), Some(0.5));
        assert_eq!(before.steal_since(before), None);
        assert_eq!(before.steal_since(after), None);
    }

    #[test]
    fn load_pressure_and_memory_are_read() {
        assert_eq!(
            load_average("2.07 1.21 0.73 3/107 27620\n"),
            Some([2.07, 1.21, 0.73])
        );
        let text = "some avg10=32.38 avg60=19.39 avg300=11.35 total=101\nfull avg10=0.00\n";
        assert_eq!(pressure(text), Some(32.38));
        let meminfo = "MemTotal:       24684092 kB\nSwapTotal:  0 kB\n";
        assert_eq!(memory(meminfo, "MemTotal"), Some(24_684_092 * 1024));
        assert_eq!(memory(meminfo, "SwapTotal"), Some(0));
        assert_eq!(memory(meminfo, "SwapFree"), None);
    }

    #[test]
    fn affinity_and_quota_limit_the_cores() {
        assert_eq!(allowed_cores("Cpus_allowed_list:\t3\n"), Some(vec![3]));
        assert_eq!(
            allowed_cores("Cpus_allowed_list:\t0,2-4,7\n"),
            Some(vec![0, 2, 3, 4, 7])
        );
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!(quota("-1 100000"), None);
    }

    #[test]
    fn nonsense_is_unknown_and_no_panic() {
        for text in [
            "",
            ":",
            "cpu ",
            "cpu  1 2 3",
            "some",
            "a b c",
            "[",
            "Cpus_allowed_list: 3-1",
        ] {
            assert_eq!(cpu_times(text), None, "{text}");
            assert_eq!(load_average(text), None, "{text}");
            assert_eq!(pressure(text), None, "{text}");
            assert_eq!(quota(text), None, "{text}");
            assert_eq!(allowed_cores(text), None, "{text}");
            assert_eq!(chosen(text), None, "{text}");
        }
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
    }
}
