//! What `cargo metadata` knows of this workspace, reduced to what the commands need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use xshell::Shell;

use crate::process;

/// Generous: cargo waits here while another one updates its index.
const METADATA_LIMIT: Duration = Duration::from_secs(120);

/// The manifest of the bench workspace, relative to the root.
pub(crate) const BENCH_MANIFEST: &str = "xtask/bench/Cargo.toml";

#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Members, by name.
    pub(crate) packages: BTreeMap<String, Package>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: String,
    /// Folder of the manifest, relative to the root, with `/`.
    pub(crate) folder: String,
    pub(crate) features: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
    pub(crate) optional: bool,
    /// Whether it lies in this repository.
    pub(crate) local: bool,
    /// Whether a version stands beside the path, without which nothing can be packaged.
    pub(crate) has_version: bool,
}

impl Workspace {
    pub(crate) fn load() -> anyhow::Result<Self> {
        Self::of_manifest("Cargo.toml")
    }

    /// The excluded workspace of the benches, with folders relative to the same root.
    pub(crate) fn load_bench() -> anyhow::Result<Self> {
        Self::of_manifest(BENCH_MANIFEST)
    }

    fn of_manifest(manifest: &str) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies one folder below the root of the workspace")?;
        // `--no-deps` reads manifests only: no network, no lock on the build folder.
        let output = process::read(
            Command::new(cargo())
                .args(["metadata", "--format-version", "1", "--no-deps"])
                .args(["--manifest-path", manifest])
                .current_dir(root),
            METADATA_LIMIT,
        )?;
        let metadata: Value =
            serde_json::from_str(&output).context("cargo metadata wrote no JSON")?;
        Ok(Self::from_metadata(root, &metadata))
    }

    pub(crate) fn from_metadata(root: &Path, metadata: &Value) -> Self {
        let packages = array(&metadata["packages"])
            .map(|package| Package::from_metadata(root, package))
            .map(|package| (package.name.clone(), package))
            .collect();
        let target = metadata["target_directory"].as_str();
        Self {
            root: root.to_owned(),
            target: target.map_or_else(|| root.join("target"), PathBuf::from),
            packages,
        }
    }

    /// A shell whose commands run at the root.
    pub(crate) fn shell(&self) -> anyhow::Result<Shell> {
        let shell = Shell::new()?;
        shell.change_dir(&self.root);
        Ok(shell)
    }

    /// The libraries of `crates/`: what others take into their own projects.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .values()
            .filter(|package| package.folder.starts_with("crates/"))
    }
}

impl Package {
    fn from_metadata(root: &Path, package: &Value) -> Self {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let folder = manifest.parent().unwrap_or(root);
        let folder = folder.strip_prefix(root).unwrap_or(folder);
        Self {
            name: text(&package["name"]),
            version: text(&package["version"]),
            rust_version: text(&package["rust_version"]),
            folder: folder.to_string_lossy().replace('\\', "/"),
            features: package["features"]
                .as_object()
                .map(|features| features.keys().cloned().collect())
                .unwrap_or_default(),
            dependencies: array(&package["dependencies"])
                .map(Dependency::from_metadata)
                .collect(),
        }
    }
}

impl Dependency {
    fn from_metadata(dependency: &Value) -> Self {
        Self {
            name: text(&dependency["name"]),
            dev: dependency["kind"] == "dev",
            optional: dependency["optional"] == true,
            local: dependency["path"].is_string(),
            has_version: dependency["req"].as_str().is_some_and(|req| req != "*"),
        }
    }
}

/// The cargo that started us: the same toolchain for everything below.
pub(crate) fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_reduced_to_what_is_needed() {
        let metadata = serde_json::json!({
            "target_directory": "/repo/out",
            "packages": [{
                "name": "tiered-cache", "version": "0.1.0", "rust_version": "1.91",
                "manifest_path": "/repo/crates/tiered-cache/Cargo.toml",
                "features": { "default": [], "redis": [] },
                "dependencies": [
                    { "name": "bytes", "kind": null, "optional": false, "path": null, "req": "^1" },
                    { "name": "helper", "kind": "dev", "optional": false, "path": "/repo/h", "req": "*" },
                ],
            }],
        });
        let workspace = Workspace::from_metadata(Path::new("/repo"), &metadata);
        assert_eq!(workspace.target, Path::new("/repo/out"));
        let package = &workspace.packages["tiered-cache"];
        assert_eq!(package.folder, "crates/tiered-cache");
        assert_eq!(package.features, ["default", "redis"]);
        assert!(!package.dependencies[0].local && package.dependencies[0].has_version);
        let helper = &package.dependencies[1];
        assert!(helper.local && helper.dev && !helper.has_version);
        assert_eq!(workspace.crates().count(), 1);
    }

    #[test]
    fn this_workspace_can_be_read() {
        let workspace = Workspace::load().expect("cargo metadata works in a checkout");
        assert!(workspace.packages.contains_key("xtask"));
        let bench = Workspace::load_bench().expect("cargo metadata works in a checkout");
        assert_eq!(bench.packages["harness"].folder, "xtask/bench/harness");
    }
}
