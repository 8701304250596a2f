//! Rules of the house that no compiler checks: `cargo xtask tidy`, and a test, so that nobody has to remember it.

mod edges;
mod files;
mod lock;
mod readme;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// What breaks a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A text file of the repository.
#[derive(Debug)]
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn extension(&self) -> &str {
        self.name()
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
    }
}

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let findings = check(workspace)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} finding(s)", findings.len());
    }
    Ok(())
}

fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let sources = sources(&workspace.root)?;
    let mut findings = edges::check(workspace);
    findings.extend(edges::check_bench(workspace, &Workspace::load_bench()?));
    findings.extend(files::check(&sources));
    findings.extend(lock::check(&sources));
    findings.extend(readme::check(workspace, &sources));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Every text file that belongs to the repository; also right in an archive without `.git`.
fn sources(root: &Path) -> anyhow::Result<Vec<Source>> {
    const EXTENSIONS: [&str; 9] = [
        "rs", "md", "toml", "yaml", "yml", "sql", "sh", "lock", "json",
    ];
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = folder
            .read_dir()
            .with_context(|| format!("{}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                if is_ours(root, &path) {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|one| EXTENSIONS.iter().any(|ext| one == *ext))
                || path.ends_with(".ci/run")
            {
                sources.push(read(root, &path)?);
            }
        }
    }
    Ok(sources)
}

fn is_ours(root: &Path, folder: &Path) -> bool {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    // What a service run from here, or from its own folder, writes by default.
    let is_service = |parent: &Path| parent == root || parent.join("Cargo.toml").is_file();
    let is_data = name == "data" && folder.parent().is_some_and(is_service);
    !matches!(name, "target" | ".git" | "node_modules") && !is_data
}

fn read(root: &Path, path: &PathBuf) -> anyhow::Result<Source> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    let relative = path.strip_prefix(root).unwrap_or(path);
    Ok(Source {
        path: relative.to_string_lossy().replace('\\', "/"),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let workspace = Workspace::load().expect("cargo metadata works in a checkout");
        let findings = check(&workspace).expect("every file can be read");
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(
            lines.is_empty(),
            "{} finding(s):\n{}",
            lines.len(),
            lines.join("\n")
        );
    }

    #[test]
    fn a_finding_can_be_clicked() {
        let finding = Finding::new("crates/a/src/lib.rs", 3, "no");
        assert_eq!(finding.to_string(), "crates/a/src/lib.rs:3: no");
    }
}
