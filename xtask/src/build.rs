//! `cargo xtask build`: what others get from this repository, built the way they get it: the release binary, each
//! crate alone, each package in a project of its own outside the workspace, and the container image.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use crate::process;
use crate::services;
use crate::workspace::{Package, Workspace, cargo};

const SERVICE: &str = "reference-service";
const IMAGE_FILE: &str = "services/reference-service/deploy/Dockerfile";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    process::run(cmd!(shell, "{cargo} build --release --package {SERVICE}"))?;
    for package in workspace.crates() {
        let name = &package.name;
        process::run(cmd!(shell, "{cargo} build --package {name}"))?;
    }
    let packages = package_all(workspace, &shell)?;
    for package in workspace.crates() {
        use_from_outside(workspace, &shell, package, &packages)?;
    }
    image(workspace, &shell)
}

/// Packages the crates and unpacks them again; returns the folder that holds them.
fn package_all(workspace: &Workspace, shell: &Shell) -> anyhow::Result<PathBuf> {
    let cargo = cargo();
    let names = workspace
        .crates()
        .flat_map(|package| ["--package", &package.name]);
    // The projects below verify more than cargo would. A lock file in a package would need those of our crates that
    // it depends on to be in the registry, where they are not.
    process::run(cmd!(
        shell,
        "{cargo} package {names...} --no-verify --allow-dirty --exclude-lockfile"
    ))?;
    let unpacked = workspace.target.join("xtask").join("packages");
    shell.remove_path(&unpacked)?;
    shell.create_dir(&unpacked)?;
    for package in workspace.crates() {
        let archive = workspace
            .target
            .join("package")
            .join(format!("{}-{}.crate", package.name, package.version));
        process::run(cmd!(
            shell,
            "tar --extract --gzip --file {archive} --directory {unpacked}"
        ))?;
        let folder = unpacked.join(package.folder_name());
        ensure!(
            folder.join("README.md").is_file(),
            "{} has no README",
            folder.display()
        );
    }
    Ok(unpacked)
}

/// A project that knows nothing of this workspace, with every feature of one package and a few lines that use it.
fn use_from_outside(
    workspace: &Workspace,
    shell: &Shell,
    package: &Package,
    packages: &Path,
) -> anyhow::Result<()> {
    let cargo = cargo();
    let name = &package.name;
    let source = workspace
        .root
        .join("xtask/scratch")
        .join(format!("{name}.rs"));
    let code = shell
        .read_file(&source)
        .with_context(|| format!("{name} needs a few lines that use it: {}", source.display()))?;
    let folder = workspace.target.join("xtask").join("outside").join(name);
    shell.create_dir(folder.join("src"))?;
    shell.write_file(folder.join("src/main.rs"), code)?;
    let others: Vec<_> = workspace
        .crates()
        .filter(|other| other.name != *name)
        .collect();
    shell.write_file(
        folder.join("Cargo.toml"),
        manifest(package, &others, packages),
    )?;
    // The versions that were tested here, rather than whatever was published today.
    shell.copy_file(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let manifest = folder.join("Cargo.toml");
    let target = workspace.target.join("xtask").join("outside-target");
    process::run(cmd!(
        shell,
        "{cargo} check --quiet --manifest-path {manifest} --target-dir {target}"
    ))
}

fn manifest(package: &Package, others: &[&Package], packages: &Path) -> String {
    let path = |package: &Package| packages.join(package.folder_name()).display().to_string();
    let features: Vec<_> = package
        .features
        .iter()
        .map(|one| format!("{one:?}"))
        .collect();
    let mut text = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
         # Not a member of whatever lies above.\n[workspace]\n\n\
         [dependencies]\n{} = {{ path = {:?}, features = [{}] }}\n",
        package.name,
        path(package),
        features.join(", ")
    );
    let reached = reached(package, others);
    if !reached.is_empty() {
        text.push_str("\n[patch.crates-io]\n");
        for other in reached {
            text.push_str(&format!(
                "{} = {{ path = {:?} }}\n",
                other.name,
                path(other)
            ));
        }
    }
    text
}

/// Those of `others` that it depends on, however deep: a patch that nothing uses is a warning.
fn reached<'a>(package: &'a Package, others: &[&'a Package]) -> Vec<&'a Package> {
    let mut reached: Vec<&Package> = Vec::new();
    let mut open = vec![package];
    while let Some(next) = open.pop() {
        for other in others {
            let depends = next.dependencies.iter().any(|one| one.name == other.name);
            if depends && !reached.iter().any(|one| one.name == other.name) {
                reached.push(other);
                open.push(other);
            }
        }
    }
    reached
}

fn image(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    if !workspace.root.join(IMAGE_FILE).is_file() {
        eprintln!("container image: skipped, there is no {IMAGE_FILE}");
        return Ok(());
    }
    match services::container_engine() {
        Ok(engine) => process::run(cmd!(
            shell,
            "{engine} build --file {IMAGE_FILE} --tag {SERVICE} ."
        )),
        Err(error) => {
            process::check_interrupt()?;
            eprintln!("container image: skipped, {error}");
            Ok(())
        }
    }
}

impl Package {
    /// The folder inside its archive.
    fn folder_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            ..Package::default()
        }
    }

    #[test]
    fn the_project_outside_patches_only_what_it_reaches() {
        let macros = package("init-graph-macros");
        let pool = package("db-pool");
        let mut graph = package("init-graph");
        graph.features = vec!["macros".to_owned()];
        graph.dependencies = vec![Dependency {
            name: "init-graph-macros".to_owned(),
            ..Dependency::default()
        }];
        let mut progress = package("startup-progress");
        progress.dependencies = vec![Dependency {
            name: "init-graph".to_owned(),
            ..Dependency::default()
        }];
        let names: Vec<_> = reached(&progress, &[&macros, &pool, &graph])
            .into_iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["init-graph", "init-graph-macros"]);
        let text = manifest(&graph, &[&macros, &pool], Path::new("/p"));
        assert!(text.contains("\n[workspace]\n"), "{text}");
        assert!(
            text.contains(
                "init-graph = { path = \"/p/init-graph-0.1.0\", features = [\"macros\"] }"
            )
        );
        assert!(text.ends_with(
            "[patch.crates-io]\ninit-graph-macros = { path = \"/p/init-graph-macros-0.1.0\" }\n"
        ));
    }

    #[test]
    fn every_crate_has_lines_that_use_it() {
        let workspace = Workspace::load().expect("cargo metadata works in a checkout");
        for package in workspace.crates() {
            let file = workspace
                .root
                .join("xtask/scratch")
                .join(format!("{}.rs", package.name));
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
