//! Where and when something was measured: what a reader needs to judge the figures, and to know which may be compared.

mod parse;
mod system;

use std::path::Path;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calibrate;
use crate::report::figure;
use crate::session::Session;
use crate::suites::cores::Cores;

pub(crate) use parse::{CpuTimes, allowed_cores, chosen, memory as memory_field};
pub(crate) use system::{System, first_line, output};

/// The machine, the program and the moment. What the system does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Environment {
    /// When the session began, RFC 3339.
    pub(crate) started_at: String,
    /// When it ended, RFC 3339.
    pub(crate) ended_at: Option<String>,
    /// Operating system and architecture: `linux x86_64`.
    pub(crate) os: String,
    /// Its release.
    pub(crate) kernel: Option<String>,
    /// The processor's name.
    pub(crate) cpu: Option<String>,
    /// Logical cores of the machine.
    pub(crate) cores: usize,
    /// Cores that this process may use, after affinity and quota.
    pub(crate) usable_cores: f64,
    /// Memory of the machine, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// What the machine runs in: `kvm`, `docker`; absent for bare metal.
    pub(crate) virtualised: Option<String>,
    /// How the processor's frequency is governed.
    pub(crate) governor: Option<String>,
    /// `rustc -V`.
    pub(crate) rustc: Option<String>,
    /// The profile of cargo by which everything was built.
    pub(crate) profile: String,
    /// The commit.
    pub(crate) git_revision: Option<String>,
    /// Whether files differ from that commit.
    pub(crate) git_dirty: Option<bool>,
    /// Figures are comparable between machines of one class only.
    pub(crate) machine_class: String,
    /// Whether servers and generator had a core each.
    pub(crate) pinned: bool,
    /// The change below which this machine cannot tell, as a share, once it was calibrated.
    pub(crate) noise_floor: Option<f64>,
    /// Load averages over 1, 5 and 15 minutes when it began.
    pub(crate) load_before: Option<[f64; 3]>,
    /// The same when it ended.
    pub(crate) load_after: Option<[f64; 3]>,
    /// How much work waited when it began.
    pub(crate) pressure_before: Option<Pressure>,
    /// The same when it ended.
    pub(crate) pressure_after: Option<Pressure>,
    /// Share of CPU time that the host gave to others meanwhile.
    pub(crate) steal: Option<f64>,
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) cpu_times_before: Option<CpuTimes>,
}

/// Share of the last ten seconds in which some work waited, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Pressure {
    /// For a core.
    pub(crate) cpu: f64,
    /// For memory.
    pub(crate) memory: f64,
    /// For a disk.
    pub(crate) io: f64,
}

impl Environment {
    /// As it is when a session begins.
    pub(crate) fn before(session: &Session) -> Self {
        let system = System::here();
        let git = git(&session.root);
        let machine_class = machine_class(&system);
        Self {
            started_at: now(),
            noise_floor: calibrate::noise_floor(session, &machine_class),
            machine_class,
            os: os(),
            kernel: system
                .read("/proc/sys/kernel/osrelease")
                .map(|text| text.trim().to_owned()),
            cpu: cpu(&system),
            cores: cores(&system),
            usable_cores: usable_cores(&system),
            memory_bytes: memory(&system),
            virtualised: system.virtualised(),
            governor: system.governor(),
            rustc: first_line(&session.root, "rustc", &["-V"]),
            profile: "release".to_owned(),
            git_revision: git.as_ref().map(|(revision, _)| revision.clone()),
            git_dirty: git.map(|(_, dirty)| dirty),
            pinned: Cores::choose(session.pin) != Cores::default(),
            load_before: system.load(),
            pressure_before: system.pressure(),
            cpu_times_before: system.cpu_times(),
            ..Self::default()
        }
    }

    /// Adds what can only be told when the session ends.
    pub(crate) fn finish(&mut self) {
        let system = System::here();
        self.ended_at = Some(now());
        self.load_after = system.load();
        self.pressure_after = system.pressure();
        self.steal = match (system.cpu_times(), self.cpu_times_before) {
            (Some(after), Some(before)) => after.steal_since(before),
            _ => None,
        };
    }
}

impl Environment {
    /// What is known, as names and values for a reader.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("measured", self.when()),
            ("revision", self.revision()),
            ("machine", self.machine()),
            ("machine class", self.machine_class.clone()),
            ("system", self.system()),
            ("built by", self.built_by()),
            (
                "cores of their own",
                if self.pinned { "yes" } else { "no" }.to_owned(),
            ),
        ];
        let optional = [
            ("governor", self.governor.clone()),
            (
                "noise floor",
                self.noise_floor
                    .map(|share| format!("{:.1} %", share * 100.0)),
            ),
            (
                "load",
                change(self.load_before, self.load_after, |load| {
                    format!("{:.2}", load[0])
                }),
            ),
            (
                "waiting for a core",
                change(self.pressure_before, self.pressure_after, |some| {
                    format!("{:.0} %", some.cpu)
                }),
            ),
            (
                "waiting for a disk",
                change(self.pressure_before, self.pressure_after, |some| {
                    format!("{:.0} %", some.io)
                }),
            ),
            (
                "stolen by the host",
                self.steal.map(|share| format!("{:.1} %", share * 100.0)),
            ),
        ];
        rows.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        rows.retain(|(_, value)| !value.is_empty());
        rows
    }

    /// The machine in one line.
    pub(crate) fn machine(&self) -> String {
        let mut parts = Vec::from_iter(self.cpu.clone());
        let cores = if self.usable_cores < self.cores as f64 {
            format!("{} of {} cores", self.usable_cores, self.cores)
        } else {
            format!("{} cores", self.cores)
        };
        parts.push(cores);
        parts.extend(self.memory_bytes.map(|bytes| figure(bytes as f64, "bytes")));
        parts.extend(self.virtualised.clone());
        parts.join(", ")
    }

    /// The commit, and whether the files were that commit.
    pub(crate) fn revision(&self) -> String {
        match (&self.git_revision, self.git_dirty) {
            (Some(revision), Some(true)) => format!("{revision} with changes"),
            (Some(revision), _) => revision.clone(),
            (None, _) => String::new(),
        }
    }

    fn when(&self) -> String {
        match &self.ended_at {
            Some(end) => format!("{} to {end}", self.started_at),
            None => self.started_at.clone(),
        }
    }

    fn system(&self) -> String {
        let kernel = self.kernel.as_deref().unwrap_or_default();
        format!("{} {kernel}", self.os).trim().to_owned()
    }

    fn built_by(&self) -> String {
        let rustc = self.rustc.as_deref().unwrap_or("an unknown rustc");
        format!("{rustc}, {}", self.profile)
    }
}

/// `before → after`, as far as they are known.
fn change<T>(before: Option<T>, after: Option<T>, text: impl Fn(T) -> String) -> Option<String> {
    match (before.map(&text), after.map(&text)) {
        (Some(before), Some(after)) => Some(format!("{before} → {after}")),
        (before, after) => before.or(after),
    }
}

/// Names machines whose figures may be compared: processor, usable cores, memory to the next power of two, system. It
/// survives restarts and updates, and is safe as a file name.
pub(crate) fn machine_class(system: &System) -> String {
    let cpuinfo = system.read("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu(system).unwrap_or_else(|| "unknown".to_owned());
    let model = parse::cpu_model(&cpuinfo).unwrap_or_default();
    let memory = match memory(system) {
        Some(bytes) => format!("{}g", bytes.div_ceil(1 << 30).next_power_of_two()),
        None => String::new(),
    };
    let cores = usable_cores(system);
    slug(&format!("{cpu} {model} {cores}c {memory} {}", os()))
}

fn cpu(system: &System) -> Option<String> {
    let cpuinfo = system.read("/proc/cpuinfo")?;
    parse::cpu_name(&cpuinfo).map(str::to_owned)
}

fn memory(system: &System) -> Option<u64> {
    parse::memory(&system.read("/proc/meminfo")?, "MemTotal")
}

fn cores(system: &System) -> usize {
    match parse::cores(&system.read("/proc/cpuinfo").unwrap_or_default()) {
        0 => available_parallelism(),
        cores => cores,
    }
}

/// Cores that this process may use, after affinity and quota.
pub(crate) fn usable_cores(system: &System) -> f64 {
    let allowed = system
        .read("/proc/self/status")
        .and_then(|status| allowed_cores(&status))
        .map_or_else(available_parallelism, |cores| cores.len()) as f64;
    system.quota().map_or(allowed, |quota| quota.min(allowed))
}

fn available_parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn os() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The commit and whether files differ from it; `None` without git or outside a repository.
fn git(root: &Path) -> Option<(String, bool)> {
    let revision = first_line(root, "git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = output(
        root,
        "git",
        &["status", "--porcelain", "--untracked-files=no"],
    )?;
    Some((revision, !changed.is_empty()))
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Lower case letters and digits, with single hyphens for everything between.
fn slug(text: &str) -> String {
    let words: Vec<_> = text
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        let system = System::at(folder.path());
        (folder, system)
    }

    #[test]
    fn the_class_names_the_machine_and_not_its_boot() {
        let cpuinfo =
            "processor: 0\ncpu family: 6\nmodel: 143\nmodel name: Intel(R) Xeon(R) @ 2.0GHz\n";
        let mut files = vec![
            ("proc/cpuinfo", cpuinfo),
            ("proc/meminfo", "MemTotal: 24684092 kB\n"),
            ("proc/self/status", "Cpus_allowed_list: 0-3\n"),
        ];
        let (_folder, system) = machine(&files);
        let class = machine_class(&system);
        let os = os().replace([' ', '_'], "-");
        assert_eq!(class, format!("intel-r-xeon-r-2-0ghz-f6m143-4c-32g-{os}"));
        files[1].1 = "MemTotal: 24684000 kB\n";
        let (_folder, rebooted) = machine(&files);
        assert_eq!(machine_class(&rebooted), class);
        files.push(("sys/fs/cgroup/cpu.max", "150000 100000\n"));
        let (_folder, limited) = machine(&files);
        assert_eq!(usable_cores(&limited), 1.5);
        assert_ne!(machine_class(&limited), class);
    }

    #[test]
    fn a_system_without_files_is_unknown_but_has_a_class() {
        let (_folder, system) = machine(&[]);
        assert!(machine_class(&system).starts_with("unknown-"));
        assert_eq!(system.load(), None);
        assert_eq!(system.pressure(), None);
        assert_eq!(system.virtualised(), None);
        assert!(cores(&system) >= 1);
    }

    #[test]
    fn a_container_in_a_virtual_machine_is_both() {
        let (_folder, system) = machine(&[
            ("proc/cpuinfo", "flags: fpu hypervisor\n"),
            ("sys/class/dmi/id/product_name", "m7a.large\n"),
            (".dockerenv", ""),
        ]);
        assert_eq!(
            system.virtualised().as_deref(),
            Some("container in a virtual machine (m7a.large)")
        );
    }

    #[test]
    fn a_folder_that_is_no_repository_has_no_revision() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(git(folder.path()), None);
    }
}
