//! Reads the four layers, merges them, and turns what is wrong into one clear sentence.

use config::{Environment, File, FileFormat};
use serde_json::Value;

use super::{
    Config,
    error::{ConfigError, shown},
    inputs::{FILE_VARIABLE, Inputs, PREFIX, SEPARATOR},
};

/// One source of values with the words that name it in messages.
struct Layer {
    origin: Origin,
    values: config::Config,
}

enum Origin {
    BuiltIn,
    File(String),
    Environment,
}

impl Origin {
    fn describe(&self, key: &str) -> String {
        match self {
            Self::BuiltIn => "built-in default".to_owned(),
            Self::File(path) => format!("from {path}"),
            Self::Environment => {
                format!(
                    "from {PREFIX}{}",
                    key.to_uppercase().replace('.', SEPARATOR)
                )
            }
        }
    }
}

pub(super) fn load(inputs: &Inputs) -> Result<Config, ConfigError> {
    if let Some(name) = inputs.unreadable.first() {
        return Err(ConfigError::NotUnicode(name.clone()));
    }
    let defaults = serde_json::to_value(Config::default())
        .expect("plain structs of strings and numbers are valid JSON");
    let known = leaves(&defaults);
    let layers = layers(inputs)?;
    for layer in &layers {
        refuse_unknown_keys(layer, &known)?;
    }
    let mut merged = config::Config::builder();
    for layer in &layers {
        merged = merged.add_source(layer.values.clone());
    }
    let merged = merged.build().map_err(|error| ConfigError::Value {
        key: "?".to_owned(),
        value: "?".to_owned(),
        origin: None,
        reason: error.to_string(),
    })?;
    serde_path_to_error::deserialize(merged.clone()).map_err(|error| {
        let key = error.path().to_string();
        let layer = layers
            .iter()
            .rev()
            .find(|layer| layer.values.get::<config::Value>(&key).is_ok());
        ConfigError::Value {
            value: shown(&key, merged.get::<Value>(&key).ok().as_ref()),
            origin: layer.map(|layer| layer.origin.describe(&key)),
            reason: reason(error.inner(), merged.get::<Value>(&key).ok().as_ref()),
            key,
        }
    })
}

/// The settings that are not the default.
pub(super) fn changed(config: &Config) -> Vec<String> {
    let tree = |config: &Config| {
        serde_json::to_value(config).expect("plain structs of strings and numbers are valid JSON")
    };
    let defaults = leaves(&tree(&Config::default()));
    leaves(&tree(config))
        .into_iter()
        .filter(|setting| !defaults.contains(setting))
        .map(|(key, value)| format!("{key} = {value}"))
        .collect()
}

/// The layers in the order in which later ones win.
fn layers(inputs: &Inputs) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = vec![Layer {
        origin: Origin::BuiltIn,
        values: config::Config::try_from(&Config::default())
            .expect("plain structs of strings and numbers are valid values"),
    }];
    let named = inputs
        .env
        .get(FILE_VARIABLE)
        .filter(|path| !path.is_empty());
    for (path, required) in [
        (Some("config/default.toml"), false),
        (named.map(String::as_str), true),
    ]
    .into_iter()
    .filter_map(|(path, required)| Some((inputs.folder.join(path?), required)))
    {
        let path_text = path.display().to_string();
        let values = config::Config::builder()
            .add_source(File::from(path).format(FileFormat::Toml).required(required))
            .build()
            .map_err(|error| ConfigError::file(path_text.clone(), &error))?;
        layers.push(Layer {
            origin: Origin::File(path_text),
            values,
        });
    }
    let env = inputs.env.iter().filter(|(key, _)| key.starts_with(PREFIX));
    let values = config::Config::builder()
        .add_source(
            Environment::with_prefix("APP")
                .prefix_separator(SEPARATOR)
                .separator(SEPARATOR)
                // An empty variable means "not set", as in compose files with optional values.
                .ignore_empty(true)
                .source(Some(
                    env.map(|(key, value)| (key.clone(), value.clone()))
                        .collect(),
                )),
        )
        .build()
        .map_err(|error| ConfigError::file("(the environment)".to_owned(), &error))?;
    layers.push(Layer {
        origin: Origin::Environment,
        values,
    });
    Ok(layers)
}

fn refuse_unknown_keys(layer: &Layer, known: &[(String, Value)]) -> Result<(), ConfigError> {
    let values = layer
        .values
        .clone()
        .try_deserialize::<Value>()
        .unwrap_or_default();
    let is_known = |key: &str| known.iter().any(|(known, _)| known == key);
    match leaves(&values).into_iter().find(|(key, value)| {
        // A table where a value is expected (or the reverse) is left to the typed error.
        let starts_known = known
            .iter()
            .any(|(known, _)| known.starts_with(&format!("{key}.")));
        !is_known(key) && !starts_known && !value.is_null()
    }) {
        None => Ok(()),
        Some((key, value)) => Err(ConfigError::UnknownKey {
            value: shown(&key, Some(&value)),
            origin: layer.origin.describe(&key),
            nearest: nearest(&key, known.iter().map(|(known, _)| known.as_str())),
            key,
        }),
    }
}

/// Every leaf of a tree of tables as `section.key`.
fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn walk(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(table) if !table.is_empty() || prefix.is_empty() => {
                for (key, value) in table {
                    let path = if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    };
                    walk(&path, value, found);
                }
            }
            leaf => found.push((prefix.to_owned(), leaf.clone())),
        }
    }
    let mut found = Vec::new();
    walk("", value, &mut found);
    found
}

/// The known key that shares the longest start or end with the unknown one.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let shared = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    known
        .map(|known| {
            let start = shared(&mut key.chars(), &mut known.chars());
            let end = shared(&mut key.chars().rev(), &mut known.chars().rev());
            (start + end, known)
        })
        .filter(|(score, known)| score * 2 > known.len())
        .max_by_key(|(score, _)| *score)
        .map(|(_, known)| known.to_owned())
}

/// The cause without what our own message names already: key, origin, and above all the value.
fn reason(error: &config::ConfigError, value: Option<&Value>) -> String {
    match error {
        config::ConfigError::At { error, .. } => reason(error, value),
        config::ConfigError::Type { expected, .. } => format!("expected {expected}"),
        other => match value {
            Some(Value::String(text)) if !text.is_empty() => {
                other.to_string().replace(text.as_str(), "…")
            }
            Some(Value::Object(_)) => "expected a value, not a table".to_owned(),
            _ => other.to_string(),
        },
    }
}
