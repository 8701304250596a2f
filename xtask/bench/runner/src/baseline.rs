//! `bench baseline`: programs and reports kept to compare with later, on a machine of the same class.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::build::{Binaries, Needs};
use crate::environment::Environment;
use crate::list;
use crate::report::{self, Report};
use crate::session::{Exit, Session};
use crate::stdout;

const SCHEMA_VERSION: u32 = 1;
const ABOUT: &str = "baseline.json";
const PROGRAMS: &str = "bin";
const SERVICE: &str = "reference-service";
const NAME_MAX: usize = 64;

/// What is kept beside the programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    schema_version: u32,
    machine_class: String,
    /// The commit.
    git_revision: Option<String>,
    /// Whether files differed from it.
    git_dirty: Option<bool>,
    /// RFC 3339.
    saved_at: String,
    programs: Vec<Program>,
}

/// A file, and what it has to look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    bytes: u64,
    /// FNV-1a, 64 bits, hexadecimal: for a copy that broke, not against somebody who means it.
    hash: String,
}

/// A baseline that was found, whole, and made on this class of machine.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    pub(crate) name: String,
    pub(crate) about: About,
    folder: PathBuf,
}

/// Keeps the programs of this tree, and the last report if there is one.
///
/// # Errors
/// If they cannot be built or copied.
pub(crate) fn save(session: &Session, name: &str) -> anyhow::Result<Exit> {
    if let Err(error) = check_name(name) {
        eprintln!("error: {error}");
        return Ok(Exit::Usage);
    }
    let micro = list::micro(&session.root);
    let needs = Needs {
        services: true,
        micro: micro.clone(),
        ..Needs::default()
    };
    let binaries = Binaries::build(session, &needs)?;
    let environment = Environment::before(session);
    let mut programs = vec![(SERVICE, binaries.service.clone())];
    programs.extend(
        micro
            .iter()
            .map(|name| (name.as_str(), binaries.micro.join(name))),
    );
    let report = last_report(&session.out, &environment).unwrap_or_else(|error| {
        eprintln!("note: the last report is not kept: {error:#}");
        None
    });
    let folder = keep(
        &session.out,
        name,
        &environment,
        &programs,
        report.as_deref(),
    )?;
    stdout::print(&format!(
        "baseline {name}: {}\nnext: cargo xtask bench compare {name}\n",
        folder.display()
    ))?;
    Ok(Exit::Fine)
}

/// Prints what is kept.
///
/// # Errors
/// If the folder of baselines cannot be read.
pub(crate) fn list(session: &Session) -> anyhow::Result<Exit> {
    let class = Environment::before(session).machine_class;
    let names = names(&session.out)?;
    let mut text = String::new();
    if names.is_empty() {
        text.push_str("no baselines; cargo xtask bench baseline save NAME keeps one\n");
    }
    for name in names {
        let about = match Baseline::read(&session.out, &name) {
            Ok(Baseline { about, .. }) if about.machine_class == class => about.to_string(),
            Ok(Baseline { about, .. }) => {
                format!("{about}; of another machine: {}", about.machine_class)
            }
            Err(error) => format!("{error:#}"),
        };
        text.push_str(&format!("{name:<20} {about}\n"));
    }
    stdout::print(&text)?;
    Ok(Exit::Fine)
}

impl Baseline {
    /// The baseline called `name`, if there is one.
    ///
    /// # Errors
    /// If it is damaged or was made on another class of machine.
    pub(crate) fn find(out: &Path, name: &str, class: &str) -> anyhow::Result<Option<Self>> {
        if check_name(name).is_err() || !folder(out, name).is_dir() {
            return Ok(None);
        }
        let baseline = Self::read(out, name)?;
        let other = &baseline.about.machine_class;
        ensure!(
            other == class,
            "baseline {name} was made on another machine ({other}, this is {class}): its figures tell nothing here; \
             compare with the commit {} instead, or save a baseline on this machine",
            baseline.about.revision()
        );
        Ok(Some(baseline))
    }

    /// Its programs. Peers are not kept.
    pub(crate) fn binaries(&self) -> Binaries {
        let programs = self.folder.join(PROGRAMS);
        Binaries {
            service: programs.join(SERVICE),
            peers: programs.clone(),
            micro: programs,
        }
    }

    fn read(out: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = folder(out, name);
        let damaged = || {
            format!(
                "baseline {name} is damaged; save it again, or remove {}",
                folder.display()
            )
        };
        let about = read_about(&folder).with_context(damaged)?;
        for program in &about.programs {
            let path = folder.join(PROGRAMS).join(&program.name);
            let bytes = fs::read(&path)
                .with_context(|| format!("{} cannot be read", program.name))
                .with_context(damaged)?;
            if Program::new(&program.name, &bytes) != *program {
                return Err(anyhow::anyhow!("{} is not what was saved", program.name))
                    .with_context(damaged);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            about,
            folder,
        })
    }
}

impl About {
    /// The commit as people write it.
    pub(crate) fn revision(&self) -> String {
        match &self.git_revision {
            Some(commit) => commit.chars().take(12).collect(),
            None => "of an unknown commit".to_owned(),
        }
    }
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.revision())?;
        if self.git_dirty == Some(true) {
            f.write_str(" and changes")?;
        }
        write!(f, ", saved {}", self.saved_at)
    }
}

impl Program {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            hash: format!("{hash:016x}"),
        }
    }
}

/// Names are folders: one word, no dots at the beginning, no way out of the folder of baselines.
fn check_name(name: &str) -> anyhow::Result<()> {
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    ensure!(
        !name.is_empty()
            && name.len() <= NAME_MAX
            && name.chars().all(allowed)
            && name.starts_with(|letter: char| letter.is_ascii_alphanumeric()),
        "baseline {name:?}: expected up to {NAME_MAX} letters, digits, `-`, `_` and `.`, the first a letter or digit"
    );
    Ok(())
}

fn folder(out: &Path, name: &str) -> PathBuf {
    out.join("baselines").join(name)
}

fn names(out: &Path) -> anyhow::Result<Vec<String>> {
    let folder = out.join("baselines");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = folder
        .read_dir()
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Made whole beside the others, then renamed: an interrupted or failed copy is never taken for a baseline.
fn keep(
    out: &Path,
    name: &str,
    environment: &Environment,
    programs: &[(&str, PathBuf)],
    report: Option<&Path>,
) -> anyhow::Result<PathBuf> {
    let baselines = out.join("baselines");
    fs::create_dir_all(&baselines)
        .with_context(|| format!("{}: cannot make the folder", baselines.display()))?;
    let making = tempfile::Builder::new()
        .prefix(".making-")
        .tempdir_in(&baselines)
        .context("cannot make a folder for the baseline")?;
    let bin = making.path().join(PROGRAMS);
    fs::create_dir(&bin).context("cannot make a folder for the programs")?;
    let mut about = About {
        schema_version: SCHEMA_VERSION,
        machine_class: environment.machine_class.clone(),
        git_revision: environment.git_revision.clone(),
        git_dirty: environment.git_dirty,
        saved_at: environment.started_at.clone(),
        programs: Vec::new(),
    };
    for (name, path) in programs {
        // Copied with its permissions; read again for its hash from where it will be started.
        fs::copy(path, bin.join(name))
            .with_context(|| format!("cannot copy {}", path.display()))?;
        let bytes = fs::read(bin.join(name)).with_context(|| format!("cannot read {name}"))?;
        about.programs.push(Program::new(name, &bytes));
    }
    if let Some(report) = report {
        fs::copy(report, making.path().join(report::FILE)).context("cannot copy the report")?;
    }
    let text = serde_json::to_string_pretty(&about).context("cannot write the baseline as JSON")?;
    fs::write(making.path().join(ABOUT), text).with_context(|| format!("cannot write {ABOUT}"))?;
    let folder = folder(out, name);
    let old = making.path().with_extension("old");
    if folder.exists() {
        fs::rename(&folder, &old).context("cannot replace the baseline of this name")?;
    }
    fs::rename(making.keep(), &folder).context("cannot name the baseline")?;
    // What is left of it disturbs nobody: it has no name of a baseline.
    let _ = fs::remove_dir_all(old);
    Ok(folder)
}

/// The last report, if there is one; it must be whole and of the same commit as the programs.
fn last_report(out: &Path, environment: &Environment) -> anyhow::Result<Option<PathBuf>> {
    let path = out.join(report::FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let report = Report::read(&path)?;
    ensure!(
        report.environment.git_revision == environment.git_revision,
        "it is of another commit"
    );
    Ok(Some(path))
}

fn read_about(folder: &Path) -> anyhow::Result<About> {
    let text = fs::read_to_string(folder.join(ABOUT))
        .with_context(|| format!("{ABOUT} cannot be read"))?;
    let about: About =
        serde_json::from_str(&text).with_context(|| format!("{ABOUT} makes no sense"))?;
    if about.schema_version != SCHEMA_VERSION {
        bail!(
            "{ABOUT} has version {}, this program reads {SCHEMA_VERSION}",
            about.schema_version
        );
    }
    let bad = about
        .programs
        .iter()
        .find(|one| check_name(&one.name).is_err());
    if let Some(program) = bad {
        bail!("{ABOUT} names a program {:?}", program.name);
    }
    Ok(about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn environment() -> Environment {
        Environment {
            machine_class: "one".into(),
            git_revision: Some("3f2a91c0d5e6f708192a3b4c5d6e7f8091a2b3c4".into()),
            git_dirty: Some(true),
            started_at: "2026-01-02T03:04:05Z".into(),
            ..Environment::default()
        }
    }

    /// A folder with a baseline `main` of two programs.
    fn saved() -> tempfile::TempDir {
        let out = tempfile::tempdir().expect("a folder");
        let program = out.path().join("built");
        fs::write(&program, "#!/bin/sh\n").expect("a program");
        let report = sample();
        report.write(out.path()).expect("a report");
        let file = last_report(out.path(), &report.environment).expect("whole");
        let programs = [(SERVICE, program.clone()), ("tiered-cache", program)];
        keep(
            out.path(),
            "main",
            &environment(),
            &programs,
            file.as_deref(),
        )
        .expect("kept");
        out
    }

    fn find(out: &Path, class: &str) -> Result<Option<Baseline>, String> {
        Baseline::find(out, "main", class).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_was_saved_is_found_and_replaced_by_the_next_of_its_name() {
        let out = saved();
        let baseline = find(out.path(), "one").expect("whole").expect("there");
        let binaries = baseline.binaries();
        assert!(binaries.service.is_file() && binaries.micro.join("tiered-cache").is_file());
        assert_eq!(
            baseline.about.to_string(),
            "3f2a91c0d5e6 and changes, saved 2026-01-02T03:04:05Z"
        );
        assert!(folder(out.path(), "main").join(report::FILE).is_file());
        let program = [(SERVICE, out.path().join("built"))];
        keep(out.path(), "main", &environment(), &program, None).expect("kept again");
        let baseline = find(out.path(), "one").expect("whole").expect("there");
        assert_eq!(baseline.about.programs.len(), 1);
        assert_eq!(names(out.path()).expect("a folder"), ["main"]);
        let left = out.path().join("baselines").read_dir().expect("a folder");
        assert_eq!(left.count(), 1, "nothing but the baseline");
    }

    #[test]
    fn a_report_that_is_damaged_or_of_another_commit_is_not_kept() {
        let out = tempfile::tempdir().expect("a folder");
        let kept = || last_report(out.path(), &environment()).map_err(|error| error.to_string());
        assert_eq!(kept(), Ok(None));
        sample().write(out.path()).expect("a report");
        assert_eq!(kept(), Err("it is of another commit".to_owned()));
        let file = out.path().join(report::FILE);
        fs::write(&file, r#"{"schema_version": 2}"#).expect("a file");
        assert!(kept().is_err_and(|error| error.contains("version 2")));
    }

    #[test]
    fn another_class_of_machine_is_refused_with_a_way_out() {
        let error = find(saved().path(), "two").expect_err("another machine");
        assert!(error.contains("one, this is two"), "{error}");
        assert!(error.contains("commit 3f2a91c0d5e6"), "{error}");
    }

    #[test]
    fn damage_is_named() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 5] = [
            ("reference-service is not what was saved", |folder| {
                fs::write(folder.join("bin/reference-service"), "#!/bin/sI\n").expect("a file");
            }),
            ("tiered-cache cannot be read", |folder| {
                fs::remove_file(folder.join("bin/tiered-cache")).expect("a file");
            }),
            ("makes no sense", |folder| {
                fs::write(folder.join(ABOUT), "{").expect("a file");
            }),
            ("has version 2", |folder| {
                let text = fs::read_to_string(folder.join(ABOUT)).expect("a file");
                let text = text.replace("\"schema_version\": 1", "\"schema_version\": 2");
                fs::write(folder.join(ABOUT), text).expect("a file");
            }),
            ("names a program", |folder| {
                let text = fs::read_to_string(folder.join(ABOUT)).expect("a file");
                let text = text.replace("\"tiered-cache\"", "\"../../../x\"");
                fs::write(folder.join(ABOUT), text).expect("a file");
            }),
        ];
        for (expected, damage) in damages {
            let out = saved();
            damage(&folder(out.path(), "main"));
            let error = find(out.path(), "one").expect_err(expected);
            assert!(
                error.starts_with("baseline main is damaged; save it again"),
                "{error}"
            );
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_copy_that_fails_leaves_the_baseline_of_that_name_as_it_was() {
        let out = saved();
        let missing = [(SERVICE, out.path().join("missing"))];
        let error =
            keep(out.path(), "main", &environment(), &missing, None).expect_err("no program");
        assert!(error.to_string().contains("cannot copy"), "{error}");
        let baseline = find(out.path(), "one").expect("whole").expect("there");
        assert_eq!(baseline.about.programs.len(), 2);
        assert_eq!(names(out.path()).expect("a folder"), ["main"]);
    }

    #[test]
    fn a_name_is_one_folder_of_ours_and_nothing_else() {
        for name in ["main", "v1.2", "before_the-change", "2026-01-02"] {
            check_name(name).expect(name);
        }
        let long = "a".repeat(65);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/tmp",
            ".making-x",
            "a b",
            "ä",
            "-x",
            &long,
        ] {
            let error = check_name(name).expect_err(name).to_string();
            assert!(error.contains("letters, digits"), "{error}");
        }
        // What is no name may still be a commit.
        let out = saved();
        let found = Baseline::find(out.path(), "HEAD~3", "one").expect("not damaged");
        assert!(found.is_none());
    }
}
