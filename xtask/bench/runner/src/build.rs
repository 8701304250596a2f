//! Builds what the chosen suites need, with release settings: from this tree, or from a commit in a worktree of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::child;
use crate::list;
use crate::session::Session;

/// What the chosen suites need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The service.
    pub(crate) services: bool,
    /// What is measured beside it.
    pub(crate) peers: bool,
    /// Crates whose micro benches are to be built.
    pub(crate) micro: Vec<String>,
}

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    /// The reference service.
    pub(crate) service: PathBuf,
    /// The folder of the peers.
    pub(crate) peers: PathBuf,
    /// The folder of the micro benches.
    pub(crate) micro: PathBuf,
}

impl Binaries {
    /// Builds them from this tree.
    ///
    /// # Errors
    /// If cargo fails, or after Ctrl-C.
    pub(crate) fn build(session: &Session, needs: &Needs) -> anyhow::Result<Self> {
        build(session, &session.root, &session.target, needs)
    }

    /// Builds them from the commit that `rev` names, in a worktree under `bench/worktrees` of the folder where cargo
    /// builds. It stays there, so that the next build of this commit takes no time.
    ///
    /// # Errors
    /// If `rev` names no commit or one without benches, if git or cargo fails, or after Ctrl-C.
    pub(crate) fn of_worktree(session: &Session, rev: &str, needs: &Needs) -> anyhow::Result<Self> {
        let worktree = worktree(&session.root, &session.target, rev)?;
        build(session, &worktree, &worktree.join("target"), needs)
    }
}

/// The folder with the files of the commit that `rev` names.
fn worktree(root: &Path, target: &Path, rev: &str) -> anyhow::Result<PathBuf> {
    let commit = commit(root, rev)?;
    let worktree = target.join("bench/worktrees").join(&commit);
    if !worktree.join(".git").exists() {
        // Forced, for a worktree whose folder somebody removed without telling git.
        let mut add = git(root, &["worktree", "add", "--force", "--detach", "--quiet"]);
        let added = add
            .arg(&worktree)
            .arg(&commit)
            .stdout(Stdio::null())
            .status();
        ensure!(
            added.context("cannot start git")?.success(),
            "git could not make a worktree of {rev} in {}",
            worktree.display()
        );
    }
    Ok(worktree)
}

/// The full name of the commit that `rev` names.
fn commit(root: &Path, rev: &str) -> anyhow::Result<String> {
    let asked = format!("{rev}^{{commit}}");
    let found = git(
        root,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &asked,
        ],
    )
    .output()
    .context("cannot start git")?;
    ensure!(
        found.status.success(),
        "{rev}: no such commit here; `git log --oneline` names some"
    );
    let commit = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    let manifest = format!("{commit}:xtask/bench/Cargo.toml");
    let there = git(root, &["cat-file", "-e", &manifest])
        .stderr(Stdio::null())
        .status();
    ensure!(
        there.context("cannot start git")?.success(),
        "{rev} has no xtask/bench: name a later commit, or a baseline that was saved"
    );
    Ok(commit)
}

fn git(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(args);
    command
}

fn build(session: &Session, root: &Path, target: &Path, needs: &Needs) -> anyhow::Result<Binaries> {
    let bench = root.join("xtask/bench");
    if needs.services {
        cargo(session, root, target, &["-p", "reference-service"])?;
    }
    if needs.peers {
        cargo(session, &bench, target, &["-p", "peers"])?;
    }
    // A commit may not have all of them yet.
    let there = list::micro(root);
    let micro: Vec<_> = needs
        .micro
        .iter()
        .filter(|name| there.contains(name))
        .collect();
    if !micro.is_empty() {
        let bins = micro.into_iter().flat_map(|name| ["--bin", name.as_str()]);
        let args: Vec<_> = ["-p", "micro"].into_iter().chain(bins).collect();
        cargo(session, &bench, target, &args)?;
    }
    let folder = target.join("release");
    Ok(Binaries {
        service: folder.join("reference-service"),
        peers: folder.clone(),
        micro: folder,
    })
}

/// `cargo build --release` in `folder`; what it tells is shown as it comes.
fn cargo(session: &Session, folder: &Path, target: &Path, args: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release"]).args(args);
    command.arg("--target-dir").arg(target).current_dir(folder);
    session
        .progress
        .line(format_args!("cargo build --release {}", args.join(" ")));
    let status = child::run(&mut command, &session.stop, |_| {})?;
    if session.stop.is_stopped() {
        bail!("interrupted while building");
    }
    ensure!(
        status.success(),
        "cargo build --release {} failed in {}",
        args.join(" "),
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_with_is_told_before_anything_is_built() {
        let folder = repository();
        let root = folder.path();
        let error = |rev| commit(root, rev).expect_err(rev).to_string();
        assert!(error("nowhere").starts_with("nowhere: no such commit"));
        assert!(error("--all").starts_with("--all: no such commit"));
        assert!(error("HEAD~").starts_with("HEAD~ has no xtask/bench"));
        assert_eq!(commit(root, "HEAD").expect("benches").len(), 40);
    }

    #[test]
    fn a_commit_has_one_worktree_also_after_somebody_removed_it() {
        let folder = repository();
        let (root, target) = (folder.path(), folder.path().join("target"));
        let made = worktree(root, &target, "HEAD").expect("a worktree");
        assert!(made.join("xtask/bench/Cargo.toml").exists());
        std::fs::write(made.join("kept"), "").expect("a file");
        assert_eq!(worktree(root, &target, "HEAD").expect("the same"), made);
        assert!(made.join("kept").exists());
        std::fs::remove_dir_all(&made).expect("removed");
        assert_eq!(worktree(root, &target, "HEAD").expect("a new one"), made);
        assert!(made.join("xtask/bench/Cargo.toml").exists());
    }

    /// Two commits, the second of which has benches.
    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |args: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let status = git(folder.path(), &identity).args(args).status();
            assert!(status.expect("git").success(), "git {args:?}");
        };
        run(&["init", "--quiet"]);
        run(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
        let bench = folder.path().join("xtask/bench");
        std::fs::create_dir_all(&bench).expect("a folder");
        std::fs::write(bench.join("Cargo.toml"), "").expect("a file");
        run(&["add", "."]);
        run(&["commit", "--quiet", "-m", "second"]);
        folder
    }
}
