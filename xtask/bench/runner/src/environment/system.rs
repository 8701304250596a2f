//! Reads of the files in which Linux tells about itself; elsewhere there are none, and everything is unknown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Pressure;
use super::parse::{self, CpuTimes};

/// The files of a system.
#[derive(Clone, Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    /// This one.
    pub(crate) fn here() -> Self {
        Self { root: "/".into() }
    }

    /// One whose files lie in `root`.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// What a file says, if it is there and is text.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Names in a folder, sorted; none if there is no such folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn load(&self) -> Option<[f64; 3]> {
        parse::load_average(&self.read("/proc/loadavg")?)
    }

    pub(crate) fn pressure(&self) -> Option<Pressure> {
        let some = |name| parse::pressure(&self.read(&format!("/proc/pressure/{name}"))?);
        Some(Pressure {
            cpu: some("cpu")?,
            memory: some("memory")?,
            io: some("io")?,
        })
    }

    pub(crate) fn cpu_times(&self) -> Option<CpuTimes> {
        parse::cpu_times(&self.read("/proc/stat")?)
    }

    pub(crate) fn governor(&self) -> Option<String> {
        let text = self.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
        Some(text.trim().to_owned())
    }

    /// Cores that a cgroup leaves to us, if it limits them.
    pub(crate) fn quota(&self) -> Option<f64> {
        if let Some(text) = self.read("/sys/fs/cgroup/cpu.max") {
            return parse::quota(&text);
        }
        let value = |name| self.read(&format!("/sys/fs/cgroup/cpu/cpu.{name}"));
        parse::quota(&format!(
            "{} {}",
            value("cfs_quota_us")?.trim(),
            value("cfs_period_us")?
        ))
    }

    /// What the machine runs in, in words; `None` for bare metal.
    pub(crate) fn virtualised(&self) -> Option<String> {
        let flags = self.read("/proc/cpuinfo").unwrap_or_default();
        let machine = parse::has_flag(&flags, "hypervisor").then(|| {
            let product = self.read("/sys/class/dmi/id/product_name");
            match product.as_deref().map(str::trim) {
                Some(product) if !product.is_empty() => format!("virtual machine ({product})"),
                _ => "virtual machine".to_owned(),
            }
        });
        let inside = ["/.dockerenv", "/run/.containerenv"];
        let container = inside.iter().any(|path| self.has(path));
        match (machine, container) {
            (Some(machine), true) => Some(format!("container in a {machine}")),
            (None, true) => Some("container".to_owned()),
            (machine, false) => machine,
        }
    }
}

/// The first line that `program` prints, if it is there and succeeds.
pub(crate) fn first_line(folder: &Path, program: &str, args: &[&str]) -> Option<String> {
    let output = output(folder, program, args)?;
    Some(output.lines().next().unwrap_or_default().trim().to_owned())
}

/// What `program` prints, if it is there and succeeds.
pub(crate) fn output(folder: &Path, program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
