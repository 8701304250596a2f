//! What READMEs say of versions, features and metrics, compared with the manifests and the code.

use super::{Finding, Source};
use crate::workspace::{Package, Workspace};

pub(super) fn check(workspace: &Workspace, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.extension() == "md") {
        if source.name() == "CHANGELOG.md" {
            // Speaks of the past.
            continue;
        }
        findings.extend(snippets(workspace, source));
        findings.extend(rust_versions(workspace, source));
    }
    for package in workspace.crates() {
        let path = format!("{}/README.md", package.folder);
        match sources.iter().find(|source| source.path == path) {
            Some(readme) => findings.extend(metrics(package, readme, sources)),
            None => findings.push(Finding::new(&path, 1, "missing")),
        }
    }
    findings
}

/// Lines such as `db-pool = { version = "0.1", features = ["sqlite"] }`.
fn snippets(workspace: &Workspace, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let Some((name, value)) = line.split_once(" = ") else {
            continue;
        };
        let Some(package) = workspace.packages.get(name.trim()) else {
            continue;
        };
        let mut report = |message| findings.push(Finding::new(&source.path, index + 1, message));
        let version = match value.trim().strip_prefix('"') {
            Some(rest) => rest.split('"').next(),
            None => value
                .split_once("version = \"")
                .and_then(|(_, rest)| rest.split('"').next()),
        };
        if let Some(version) = version
            && !is_current(version, &package.version)
        {
            report(format!(
                "{} is at {}, not {version}",
                package.name, package.version
            ));
        }
        for feature in features(value) {
            if !package.features.iter().any(|one| one == feature) {
                report(format!("{} has no feature {feature}", package.name));
            }
        }
    }
    findings
}

/// "0.1" and "0.1.0" are both current for 0.1.0.
fn is_current(shown: &str, version: &str) -> bool {
    version == shown
        || version
            .strip_prefix(shown)
            .is_some_and(|rest| rest.starts_with('.'))
}

fn features(value: &str) -> impl Iterator<Item = &str> {
    value
        .split_once("features = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(list, _)| list)
        .split(',')
        .map(|feature| feature.trim().trim_matches('"'))
        .filter(|feature| !feature.is_empty())
}

/// Sentences such as "needs Rust 1.91".
fn rust_versions(workspace: &Workspace, source: &Source) -> Vec<Finding> {
    const WORD: &str = "Rust 1.";
    let Some(current) = workspace
        .packages
        .values()
        .map(|one| one.rust_version.as_str())
        .max()
    else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (start, _) in line.match_indices(WORD) {
            let shown = line[start + "Rust ".len()..]
                .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
                .next()
                .unwrap_or_default()
                .trim_end_matches('.');
            if shown != current {
                let message = format!("rust-version is {current}, not {shown}");
                findings.push(Finding::new(&source.path, index + 1, message));
            }
        }
    }
    findings
}

/// A metric that the code names and the README does not cannot be found by those who need it.
fn metrics(package: &Package, readme: &Source, sources: &[Source]) -> Vec<Finding> {
    let prefix = format!("\"{}_", package.name.replace('-', "_"));
    let code = format!("{}/src/", package.folder);
    let mut findings = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.path.starts_with(&code))
    {
        for (index, line) in source.text.lines().enumerate() {
            let Some((_, rest)) = line
                .contains("const ")
                .then(|| line.split_once(&prefix))
                .flatten()
            else {
                continue;
            };
            let rest = rest.split('"').next().unwrap_or_default();
            let name = format!("{}{rest}", &prefix[1..]);
            if !readme.text.contains(&name) {
                let message = format!("metric {name} is not in {}", readme.path);
                findings.push(Finding::new(&source.path, index + 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let package = Package {
            name: "db-pool".to_owned(),
            version: "0.1.0".to_owned(),
            rust_version: "1.91".to_owned(),
            folder: "crates/db-pool".to_owned(),
            features: vec!["sqlite".to_owned(), "postgres".to_owned()],
            ..Package::default()
        };
        let packages = [("db-pool".to_owned(), package)].into();
        Workspace {
            root: "/".into(),
            target: "/t".into(),
            packages,
        }
    }

    fn readme(text: &str) -> Source {
        Source {
            path: "crates/db-pool/README.md".to_owned(),
            text: text.to_owned(),
        }
    }

    fn found(text: &str) -> Vec<String> {
        check(&workspace(), &[readme(text)])
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn current_snippets_pass() {
        let text = "db-pool = \"0.1\"\ndb-pool = { version = \"0.1.0\", features = [\"sqlite\"] }\n\
                    tokio = \"9\"\nNeeds Rust 1.91.\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn old_versions_and_unknown_features_are_named() {
        let text = "db-pool = \"0.2\"\ndb-pool = { version = \"0.1\", features = [\"mysql\", \"sqlite\"] }\n\
                    Needs Rust 1.80 or later.\n";
        assert_eq!(
            found(text),
            [
                "crates/db-pool/README.md:1: db-pool is at 0.1.0, not 0.2",
                "crates/db-pool/README.md:2: db-pool has no feature mysql",
                "crates/db-pool/README.md:3: rust-version is 1.91, not 1.80",
            ]
        );
        assert!(!is_current("0.1", "0.10.0"));
    }

    #[test]
    fn a_crate_needs_a_readme() {
        let findings = check(&workspace(), &[]);
        assert_eq!(
            findings,
            [Finding::new("crates/db-pool/README.md", 1, "missing")]
        );
    }

    #[test]
    fn every_metric_is_documented() {
        let code = Source {
            path: "crates/db-pool/src/metrics.rs".to_owned(),
            text: "const A: &str = \"db_pool_waiters\";\nconst B: &str = \"db_pool_lost_total\";\n"
                .to_owned(),
        };
        let findings = check(&workspace(), &[readme("`db_pool_waiters`"), code]);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0]
                .to_string()
                .contains("metrics.rs:2: metric db_pool_lost_total")
        );
    }
}
