//! Rules on the text of single files and on which files belong together.

use std::collections::BTreeSet;

use super::{Finding, Source};

// Assembled, so that this file does not break its own rules.
const MARK: &str = concat!("TO", "DO");
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        if source.extension() == "rs" {
            findings.extend(opening(source));
        }
        if source.extension() != "lock" {
            findings.extend(todo_without_a_kind(source));
            findings.extend(machine_path(source));
        }
    }
    findings.extend(unlisted_modules(sources));
    findings.extend(missing_files(sources));
    findings
}

/// The first line of a file says what lives there; of a library that is its README.
fn opening(source: &Source) -> Option<Finding> {
    let has_readme =
        source.path.starts_with("crates/") || source.path.starts_with("xtask/loadgen/");
    let is_crate_root = has_readme && source.path.ends_with("/src/lib.rs");
    if is_crate_root {
        // A README whose example needs a feature is included with that feature.
        let line = source.text.lines().next().unwrap_or_default();
        let included = (line.starts_with("#![doc = ")
            || line.starts_with("#![cfg_attr(feature = "))
            && line.contains("include_str!(\"../README.md\")");
        return (!included).then(|| {
            Finding::new(
                &source.path,
                1,
                "starts with #![doc = include_str!(\"../README.md\")]",
            )
        });
    }
    let paragraph: Vec<_> = source
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let Some(last) = paragraph.last() else {
        return Some(Finding::new(
            &source.path,
            1,
            "starts with a `//!` sentence that says why",
        ));
    };
    (!last.ends_with(['.', ':', '?', '!'])).then(|| {
        Finding::new(
            &source.path,
            paragraph.len(),
            "the opening is no full sentence",
        )
    })
}

fn todo_without_a_kind(source: &Source) -> Vec<Finding> {
    let bare = |line: &str| {
        line.match_indices(MARK).any(|(start, _)| {
            let word = |letter: char| letter.is_alphanumeric() || letter == '_';
            let inside = line[..start].ends_with(word);
            let rest = &line[start + MARK.len()..];
            let kind = rest
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(char::is_alphabetic));
            !inside && !rest.starts_with(word) && !kind
        })
    };
    lines_where(
        source,
        bare,
        &format!("{MARK} without a kind, such as {MARK}-design"),
    )
}

/// A path that exists on one machine only. Folders inside a container are not meant.
fn machine_path(source: &Source) -> Vec<Finding> {
    let leaks = |line: &str| {
        MACHINE_PATHS.iter().any(|path| {
            line.match_indices(path).any(|(start, _)| {
                // "docs/work/", "$PWD/home/": part of a longer, relative path
                !line[..start].ends_with(|letter: char| {
                    letter.is_alphanumeric() || matches!(letter, '.' | '}' | '-' | '_' | '*')
                })
            })
        })
    };
    lines_where(source, leaks, "a path of one machine")
}

fn lines_where(source: &Source, breaks: impl Fn(&str) -> bool, message: &str) -> Vec<Finding> {
    source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| breaks(line))
        .map(|(index, _)| Finding::new(&source.path, index + 1, message))
        .collect()
}

/// A file that no `mod` line names is never compiled: a test in it passes for ever.
fn unlisted_modules(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter_map(|source| unlisted(source, sources))
        .collect()
}

fn unlisted(source: &Source, sources: &[Source]) -> Option<Finding> {
    let (folder, file) = source.path.rsplit_once('/')?;
    let stem = file.strip_suffix(".rs")?;
    let is_module = folder.ends_with("/src")
        || folder.contains("/src/") && !folder.ends_with("/src/bin")
        || folder.ends_with("/tests/it")
        || folder.contains("/tests/it/");
    let is_root = |stem: &str| matches!(stem, "lib" | "main");
    if !is_module || is_root(stem) {
        return None;
    }
    // x/mod.rs is named where x.rs would be.
    let (folder, name) = if stem == "mod" {
        folder.rsplit_once('/')?
    } else {
        (folder, stem)
    };
    let parents = [
        format!("{folder}/mod.rs"),
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
        format!("{folder}.rs"),
    ];
    let listed = sources
        .iter()
        .filter(|parent| parents.contains(&parent.path))
        .any(|parent| {
            parent
                .text
                .lines()
                .any(|line| declares(line, name) || names_path(line, file))
        });
    (!listed).then(|| {
        let message = format!("no `mod {name};` names it, so it is never compiled");
        Finding::new(&source.path, 1, message)
    })
}

fn declares(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches(|letter| letter != ' ').trim_start(),
        None => line,
    };
    line.strip_prefix("mod ")
        .and_then(|rest| rest.trim_start().strip_prefix(name))
        .is_some_and(|rest| rest.trim_start().starts_with(';'))
}

/// `#[path = "macros.rs"]`, for a module whose name is not its file's.
fn names_path(line: &str, file: &str) -> bool {
    let path = line.trim_start().strip_prefix("#[path = \"");
    path.and_then(|rest| rest.strip_suffix("\"]")) == Some(file)
}

fn missing_files(sources: &[Source]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    ["CHANGELOG.md", "CONTRIBUTING.md", "README.md"]
        .into_iter()
        .filter(|path| !paths.contains(path))
        .map(|path| Finding::new(path, 1, "missing"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_file_opens_with_a_sentence() {
        assert_eq!(
            opening(&source("a/src/x.rs", "//! Holds x,\n//! apart from y.\n")),
            None
        );
        assert_eq!(
            opening(&source(
                "a/src/x.rs",
                "//! Holds x.\n//!\n//! More, without end\n"
            )),
            None
        );
        assert!(opening(&source("a/src/x.rs", "use std::fmt;\n//! Late.\n")).is_some());
        assert!(opening(&source("a/src/x.rs", "//! holds x\n")).is_some());
        assert!(opening(&source("a/src/x.rs", "")).is_some());
    }

    #[test]
    fn a_library_opens_with_its_readme() {
        let good = "#![doc = include_str!(\"../README.md\")]\n";
        assert_eq!(opening(&source("crates/a/src/lib.rs", good)), None);
        let with_feature = "#![cfg_attr(feature = \"x\", doc = include_str!(\"../README.md\"))]\n";
        assert_eq!(opening(&source("crates/a/src/lib.rs", with_feature)), None);
        assert!(opening(&source("crates/a/src/lib.rs", "//! Prose.\n")).is_some());
        assert_eq!(
            opening(&source("services/a/src/lib.rs", "//! Prose.\n")),
            None
        );
    }

    #[test]
    fn an_open_end_carries_its_kind() {
        let found = |line: &str| !todo_without_a_kind(&source("a.rs", line)).is_empty();
        assert!(found(&format!("// {MARK}: later")));
        assert!(found(&format!("// {MARK} later")));
        assert!(found(&format!("// {MARK}-: later")));
        assert!(!found(&format!("// {MARK}-design: later")));
        assert!(!found(&format!("let x = AU{MARK}MATIC;")));
        assert!(!found("todo!()"));
    }

    #[test]
    fn a_path_of_one_machine_is_found_and_a_relative_one_is_not() {
        let [home, root, ..] = MACHINE_PATHS;
        let found = |line: &str| !machine_path(&source("a.rs", line)).is_empty();
        assert!(found(&format!("read {home}me/x")));
        assert!(found(&format!("\"{root}.cargo\"")));
        assert!(!found(&format!("$HOME{root}x")), "part of a longer path");
        assert!(!found("target/services"));
    }

    #[test]
    fn every_module_file_is_listed() {
        let sources = [
            source("crates/a/tests/it/main.rs", "mod pool;\n"),
            source("crates/a/tests/it/pool.rs", "mod faults;\n"),
            source("crates/a/tests/it/pool/faults.rs", ""),
            source("crates/a/tests/it/lost.rs", ""),
            source(
                "crates/a/src/lib.rs",
                "mod b;\npub(crate) mod c;\n// mod d;\n#[path = \"e.rs\"]\nmod f;\n",
            ),
            source("crates/a/src/b/mod.rs", ""),
            source("crates/a/src/c.rs", ""),
            source("crates/a/src/d.rs", ""),
            source("crates/a/src/e.rs", ""),
            source("crates/a/src/bin/tool.rs", ""),
            source("crates/a/tests/ui/fail/cycle.rs", ""),
            source("crates/a/examples/one.rs", ""),
        ];
        let found: Vec<_> = unlisted_modules(&sources)
            .into_iter()
            .map(|one| one.path)
            .collect();
        assert_eq!(found, ["crates/a/tests/it/lost.rs", "crates/a/src/d.rs"]);
    }

    #[test]
    fn the_files_that_everybody_looks_for_are_there() {
        let found = missing_files(&[source("README.md", ""), source("CONTRIBUTING.md", "")]);
        assert_eq!(found, [Finding::new("CHANGELOG.md", 1, "missing")]);
    }
}
