//! Packages that must not come in through any dependency, and versions that should be the same in both lock files.
//! `cargo deny` knows the first list too; this works without it.

use std::collections::BTreeMap;

use super::{Finding, Source};

/// TLS is rustls with ring: no C library of TLS to install, no second provider to clash with the first.
const BANNED: [&str; 5] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
];
const MAIN: &str = "Cargo.lock";
const BENCH: &str = "xtask/bench/Cargo.lock";

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in [MAIN, BENCH] {
        match sources.iter().find(|source| source.path == path) {
            Some(lock) => findings.extend(banned(lock)),
            None => findings.push(Finding::new(
                path,
                1,
                "missing; it is committed, as there is a binary",
            )),
        }
    }
    let locked = |path| {
        let lock = sources.iter().find(|source| source.path == path);
        lock.map(|source| packages(&source.text))
            .unwrap_or_default()
    };
    findings.extend(apart(&locked(MAIN), &locked(BENCH)));
    findings
}

fn banned(lock: &Source) -> Vec<Finding> {
    packages(&lock.text)
        .iter()
        .filter(|package| BANNED.contains(&package.name))
        .map(|package| {
            let message = format!("{} is banned, see deny.toml", package.name);
            Finding::new(&lock.path, package.line, message)
        })
        .collect()
}

/// Versions that could be the same in both and are not: both would be compiled, and the benches would measure another
/// one than is shipped.
fn apart(main: &[Locked<'_>], bench: &[Locked<'_>]) -> Vec<Finding> {
    let mut of_main: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in main {
        of_main
            .entry(package.name)
            .or_default()
            .push(package.version);
    }
    let mut findings = Vec::new();
    for Locked {
        name,
        version,
        line,
    } in bench
    {
        let versions = of_main.get(name).map(Vec::as_slice).unwrap_or_default();
        let other = versions
            .iter()
            .find(|other| compatible(other) == compatible(version));
        if let Some(other) = other
            && !versions.contains(version)
        {
            findings.push(Finding::new(
                BENCH,
                *line,
                format!(
                    "{name} is {version} here and {other} in {MAIN}; cargo update --manifest-path \
                     xtask/bench/Cargo.toml {name}@{version} --precise {other}"
                ),
            ));
        }
    }
    findings
}

/// The part of a version that has to be equal for one to stand in for the other: up to its first number above 0.
fn compatible(version: &str) -> &str {
    let mut end = 0;
    for part in version.split('.') {
        end += part.len();
        if part != "0" {
            break;
        }
        end += 1;
    }
    version.get(..end).unwrap_or(version)
}

#[derive(Debug)]
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    /// Of its name.
    line: usize,
}

/// A package's version follows its name.
fn packages(text: &str) -> Vec<Locked<'_>> {
    let lines: Vec<_> = text.lines().collect();
    lines
        .windows(2)
        .enumerate()
        .filter_map(|(index, pair)| {
            Some(Locked {
                name: value(pair[0], "name")?,
                version: value(pair[1], "version")?,
                line: index + 1,
            })
        })
        .collect()
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(key)?.strip_prefix(" = \"")?;
    rest.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(path: &str, packages: &[(&str, &str)]) -> Source {
        let entries = packages.iter().map(|(name, version)| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n")
        });
        Source {
            path: path.to_owned(),
            text: entries.collect(),
        }
    }

    fn found(main: &[(&str, &str)], bench: &[(&str, &str)]) -> Vec<String> {
        check(&[lock(MAIN, main), lock(BENCH, bench)])
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_banned_package_is_found_with_its_line_in_either_lock_file() {
        let packages = [("openssl-probe", "0.1.6"), ("openssl-sys", "0.9.1")];
        assert_eq!(
            found(&packages, &packages),
            [
                "Cargo.lock:6: openssl-sys is banned, see deny.toml",
                "xtask/bench/Cargo.lock:6: openssl-sys is banned, see deny.toml"
            ]
        );
    }

    #[test]
    fn a_lock_file_that_is_missing_is_told() {
        assert_eq!(check(&[lock(MAIN, &[])])[0].path, BENCH);
    }

    #[test]
    fn versions_that_could_be_the_same_are_named_with_the_way_to_make_them_so() {
        let found = found(
            &[("tokio", "1.54.1"), ("rand", "0.8.5"), ("mio", "1.2.0")],
            &[("tokio", "1.55.0"), ("rand", "0.9.1"), ("moka", "0.12.1")],
        );
        let [line] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(
            line,
            "xtask/bench/Cargo.lock:2: tokio is 1.55.0 here and 1.54.1 in Cargo.lock; cargo update \
             --manifest-path xtask/bench/Cargo.toml tokio@1.55.0 --precise 1.54.1"
        );
    }

    #[test]
    fn a_second_version_of_the_peers_is_no_finding_beside_one_that_both_have() {
        let main = [("hashbrown", "0.15.2"), ("hashbrown", "0.16.0")];
        assert_eq!(
            found(&main, &[("hashbrown", "0.15.2")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_may_stand_in_for_what_is_told_by_the_first_number_above_zero() {
        for (version, expected) in [
            ("1.2.3", "1"),
            ("0.12.3", "0.12"),
            ("0.0.3", "0.0.3"),
            ("10.0.0-pre", "10"),
        ] {
            assert_eq!(compatible(version), expected);
        }
    }

    #[test]
    fn deny_toml_bans_the_same() {
        let deny = include_str!("../../../deny.toml");
        for name in BANNED {
            assert!(deny.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
