//! Where configuration comes from, as a value: tests set nothing global.

use std::{collections::HashMap, path::PathBuf};

/// The sources of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Environment variables; only `APP_CONFIG` and `APP__…` are looked at.
    pub env: HashMap<String, String>,
    /// Variables of ours that are no Unicode, as far as they can be shown: each is an error.
    pub unreadable: Vec<String>,
    /// The folder in which `config/default.toml` and a relative `APP_CONFIG` are looked for.
    pub folder: PathBuf,
}

impl Inputs {
    /// The process's own environment and working folder.
    pub fn of_process() -> Self {
        let mut inputs = Self {
            folder: PathBuf::from("."),
            ..Self::default()
        };
        for (key, value) in std::env::vars_os() {
            let name = key.to_string_lossy().into_owned();
            if !name.starts_with(PREFIX) && name != FILE_VARIABLE {
                continue;
            }
            // A setting that is ignored because of a stray byte could be the key of a listener.
            match (key.into_string(), value.into_string()) {
                (Ok(key), Ok(value)) => drop(inputs.env.insert(key, value)),
                _ => inputs.unreadable.push(name),
            }
        }
        inputs
    }
}

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "APP__";
/// What separates the parts of a name.
pub(super) const SEPARATOR: &str = "__";
/// The variable that names a file.
pub(super) const FILE_VARIABLE: &str = "APP_CONFIG";
