//! Which package of ours may depend on which: the one place where that is written down for machines.

use super::Finding;
use crate::workspace::{Dependency, Package, Workspace};

/// What a package may depend on, among our own.
#[derive(Debug)]
enum Allowed {
    /// These, each behind a feature.
    Optional(&'static [&'static str]),
    /// These, always.
    Required(&'static [&'static str]),
    /// Every library of `crates/`.
    EveryCrate,
}

/// By folder. A package that is not listed has to be added here, with a reason in the commit message.
const EDGES: &[(&str, Allowed)] = &[
    (
        "crates/init-graph",
        Allowed::Optional(&["init-graph-macros"]),
    ),
    ("crates/init-graph-macros", Allowed::Optional(&[])),
    ("crates/db-pool", Allowed::Optional(&[])),
    (
        "crates/tiered-cache",
        Allowed::Optional(&["tiered-cache-macros"]),
    ),
    ("crates/tiered-cache-macros", Allowed::Optional(&[])),
    (
        "crates/startup-progress",
        Allowed::Optional(&["init-graph"]),
    ),
    ("crates/perf-monitor", Allowed::Optional(&[])),
    ("services/*", Allowed::EveryCrate),
    ("examples/*", Allowed::EveryCrate),
    ("xtask", Allowed::Optional(&[])),
    (
        "xtask/loadgen",
        Allowed::Required(&["db-pool", "tiered-cache"]),
    ),
];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.packages.values() {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let Some(allowed) = allowed(&package.folder) else {
            findings.push(Finding::new(
                &manifest,
                1,
                "no row in the table of allowed edges",
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|one| one.local) {
            findings.extend(
                refuse(workspace, allowed, package, dependency)
                    .map(|message| Finding::new(&manifest, 1, message)),
            );
        }
    }
    findings
}

/// The benches have a workspace of their own, which nothing else may reach: above, its packages are on no list. From
/// there, besides each other, what is measured and the load generator; a service only as a program.
pub(super) fn check_bench(workspace: &Workspace, bench: &Workspace) -> Vec<Finding> {
    let reachable = |name: &str| {
        name == "loadgen"
            || bench.packages.contains_key(name)
            || workspace.crates().any(|one| one.name == name)
    };
    let mut findings = Vec::new();
    for package in bench.packages.values() {
        for dependency in package.dependencies.iter().filter(|one| one.local) {
            if !reachable(&dependency.name) {
                findings.push(Finding::new(
                    &format!("{}/Cargo.toml", package.folder),
                    1,
                    format!("{} may not depend on {}", package.name, dependency.name),
                ));
            }
        }
    }
    findings
}

fn allowed(folder: &str) -> Option<&'static Allowed> {
    let matches = |pattern: &str| match pattern.strip_suffix("/*") {
        Some(parent) => folder
            .strip_prefix(parent)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|name| !name.contains('/')),
        None => folder == pattern,
    };
    EDGES
        .iter()
        .find(|(pattern, _)| matches(pattern))
        .map(|(_, allowed)| allowed)
}

fn refuse(
    workspace: &Workspace,
    allowed: &Allowed,
    package: &Package,
    dependency: &Dependency,
) -> Option<String> {
    let name = &dependency.name;
    if dependency.dev {
        // It would make a cycle of what is published, and a test that needs two crates belongs to the service.
        return Some(format!(
            "dev-dependency on {name}: none between packages of this repository"
        ));
    }
    let may = match allowed {
        Allowed::Optional(names) | Allowed::Required(names) => names.contains(&name.as_str()),
        Allowed::EveryCrate => workspace.crates().any(|other| other.name == *name),
    };
    if !may {
        return Some(format!("{} may not depend on {name}", package.name));
    }
    if matches!(allowed, Allowed::Optional(_)) && !dependency.optional {
        return Some(format!("{name} has to be optional, behind a feature"));
    }
    if !dependency.has_version {
        return Some(format!(
            "{name} needs a version beside its path, or it cannot be packaged"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, dependencies: Vec<Dependency>) -> Package {
        let name = folder.rsplit('/').next().unwrap_or_default().to_owned();
        Package {
            name,
            folder: folder.to_owned(),
            dependencies,
            ..Package::default()
        }
    }

    fn on(name: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            local: true,
            has_version: true,
            ..Default::default()
        }
    }

    fn workspace(packages: Vec<Package>) -> Workspace {
        Workspace {
            root: "/".into(),
            target: "/t".into(),
            packages: packages
                .into_iter()
                .map(|one| (one.name.clone(), one))
                .collect(),
        }
    }

    fn messages(packages: Vec<Package>) -> Vec<String> {
        check(&workspace(packages))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn benches_reach_what_is_measured_and_no_service() {
        let main = workspace(vec![
            package("crates/db-pool", vec![]),
            package("services/shop", vec![]),
        ]);
        let bench = workspace(vec![
            package("xtask/bench/harness", vec![]),
            package(
                "xtask/bench/runner",
                vec![on("harness"), on("loadgen"), on("db-pool"), on("shop")],
            ),
        ]);
        let found = check_bench(&main, &bench);
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["xtask/bench/runner/Cargo.toml:1: runner may not depend on shop"]
        );
    }

    #[test]
    fn the_edges_of_the_design_pass() {
        let optional = |name| Dependency {
            optional: true,
            ..on(name)
        };
        let outside = Dependency {
            local: false,
            ..on("tokio")
        };
        assert_eq!(
            messages(vec![
                package(
                    "crates/init-graph",
                    vec![optional("init-graph-macros"), outside]
                ),
                package("crates/startup-progress", vec![optional("init-graph")]),
                package("services/reference-service", vec![on("init-graph")]),
                package("examples/warm-start", vec![on("startup-progress")]),
            ]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_other_edge_is_named() {
        let cases = [
            (
                package("crates/db-pool", vec![on("tiered-cache")]),
                "may not depend on tiered-cache",
            ),
            (
                package("crates/init-graph", vec![on("init-graph-macros")]),
                "has to be optional",
            ),
            (
                package("xtask", vec![on("db-pool")]),
                "xtask may not depend on db-pool",
            ),
            (
                package("services/shop", vec![on("xtask")]),
                "shop may not depend on xtask",
            ),
            (
                package("xtask/loadgen", vec![on("harness")]),
                "loadgen may not depend on harness",
            ),
            (package("crates/newcomer", vec![]), "no row in the table"),
            (package("services/a/b", vec![]), "no row in the table"),
        ];
        for (package, expected) in cases {
            let found = messages(vec![package]);
            assert!(
                found.len() == 1 && found[0].contains(expected),
                "{found:?}: {expected}"
            );
        }
    }

    #[test]
    fn a_dev_dependency_is_refused_even_where_the_edge_is_allowed() {
        let dev = Dependency {
            dev: true,
            ..on("init-graph")
        };
        let found = messages(vec![
            package("services/shop", vec![dev]),
            package("crates/init-graph", vec![]),
        ]);
        assert!(
            found.len() == 1 && found[0].contains("dev-dependency on init-graph"),
            "{found:?}"
        );
    }

    #[test]
    fn a_path_without_a_version_cannot_be_packaged() {
        let bare = Dependency {
            has_version: false,
            ..on("init-graph")
        };
        let found = messages(vec![
            package("services/shop", vec![bare]),
            package("crates/init-graph", vec![]),
        ]);
        assert!(
            found.len() == 1 && found[0].contains("needs a version"),
            "{found:?}"
        );
    }
}
