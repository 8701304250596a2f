//! The table of faults in the documentation names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// The text of a module of these tests, and of the modules in it.
fn text_of(module: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut files: Vec<PathBuf> = vec![here.join(format!("{module}.rs"))];
    if let Ok(folder) = fs::read_dir(here.join(module)) {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    let texts = files
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts.collect()
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let table = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/guides/database-faults.md"
    );
    let table = fs::read_to_string(table).expect("it lies beside the crates");
    let mut named = 0;
    for name in table.split('`').skip(1).step_by(2) {
        let Some((module, test)) = name.split_once("::") else {
            continue;
        };
        let is_type = module.starts_with(|c: char| c.is_ascii_uppercase());
        if is_type {
            continue;
        }
        let found = text_of(module).contains(&format!("fn {test}("));
        assert!(found, "there is no test {name}");
        named += 1;
    }
    assert!(named > 80, "only {named} were found");
}
