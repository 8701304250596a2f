//! What is wrong with a configuration, in one sentence that gives away no secret.

use std::fmt;

use serde_json::Value;

use super::text::REDACTED;

/// Why the configuration cannot be used; the process then exits with 64.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that was named or found cannot be read as TOML.
    #[error("configuration file {path} cannot be used: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, without the line itself: it may hold a secret.
        reason: String,
    },
    /// A variable of ours is no Unicode text.
    #[error("environment variable {0} is no Unicode text")]
    NotUnicode(String),
    /// No setting has this name.
    #[error("unknown configuration key `{key}` = `{value}` ({origin}){}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Dotted key.
        key: String,
        /// Its value as text, unless it may be a secret.
        value: String,
        /// Which layer it came from.
        origin: String,
        /// A setting with nearly that name.
        nearest: Option<String>,
    },
    /// The value does not fit the setting.
    #[error("configuration key `{key}` = `{value}`{}: {reason}", origin_text(.origin.as_deref()))]
    Value {
        /// Dotted key.
        key: String,
        /// Its value as text, unless it may be a secret.
        value: String,
        /// Which layer it came from.
        origin: Option<String>,
        /// What was expected.
        reason: String,
    },
}

impl ConfigError {
    /// A value that parsed but cannot work; its origin is plain from the key.
    pub(super) fn value(key: &str, value: &dyn fmt::Display, reason: String) -> Self {
        Self::Value {
            key: key.to_owned(),
            value: value.to_string(),
            origin: None,
            reason,
        }
    }

    /// A setting that a command needs and nobody has set.
    pub(crate) fn missing(key: &str, way_out: &str) -> Self {
        Self::Value {
            key: key.to_owned(),
            value: String::new(),
            origin: None,
            reason: way_out.to_owned(),
        }
    }

    /// A file that cannot be read; the parser's excerpt of the line is left out.
    pub(super) fn file(path: String, error: &config::ConfigError) -> Self {
        let text = match error {
            config::ConfigError::FileParse { cause, .. } => cause.to_string(),
            other => other.to_string(),
        };
        let said: Vec<_> = text
            .lines()
            .filter(|line| !is_excerpt(line))
            .map(str::trim)
            .collect();
        Self::File {
            path,
            reason: said.join(": "),
        }
    }
}

/// Parsers show the line behind a bar.
fn is_excerpt(line: &str) -> bool {
    line.trim_start()
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start()
        .starts_with('|')
}

/// A value for a message, if its name and its look say that it is no secret.
pub(super) fn shown(key: &str, value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(_)) => return "a table".to_owned(),
        Some(Value::Array(_)) => return "a list".to_owned(),
        Some(value) => value.to_string(),
        None => return String::new(),
    };
    let key = key.to_ascii_lowercase();
    let looks = text.to_ascii_lowercase();
    let is_secret = |text: &str| SECRET_WORDS.iter().any(|word| text.contains(word));
    if text.contains("://") && !key.contains("key") {
        let urls: Vec<_> = text.split_whitespace().map(db_pool::redact).collect();
        return urls.join(" ");
    }
    if is_secret(&key) || is_secret(&looks) || text.contains('@') || !is_known_shape(&key, &text) {
        return REDACTED.to_owned();
    }
    text
}

/// A section that was given a text, or a word we know nothing of: long texts stay hidden.
fn is_known_shape(key: &str, text: &str) -> bool {
    key.contains('.') || text.len() <= SHORT
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|nearest| format!("; did you mean `{nearest}`?"))
        .unwrap_or_default()
}

fn origin_text(origin: Option<&str>) -> String {
    origin
        .map(|origin| format!(" ({origin})"))
        .unwrap_or_default()
}

const SECRET_WORDS: [&str; 7] = [
    "key",
    "pass",
    "secret",
    "token",
    "credential",
    "pwd",
    "auth",
];
const SHORT: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_only_when_it_cannot_be_a_secret() {
        for (key, value, expected) in [
            ("http.address", "nowhere", "nowhere"),
            ("http.adress", "127.0.0.1:1", "127.0.0.1:1"),
            ("cache.ttl", "soon", "soon"),
            ("database.url", "mysql://h/d", "mysql://h/d"),
            ("database.url", "mysql://u:hunter2@h/d", "mysql://u:***@h/d"),
            (
                "database.replica",
                "postgres://u:hunter2@h/d postgres://u:hunter2@i/d",
                "postgres://u:***@h/d postgres://u:***@i/d",
            ),
            (
                "database_url",
                "postgres://u:hunter2@h/d",
                "postgres://u:***@h/d",
            ),
            (
                "database",
                "postgres://u:hunter2@h/d",
                "postgres://u:***@h/d",
            ),
            ("database.url", "postgres:u:hunter2@h/d", "***"),
            ("database.url", "host=h password=hunter2", "***"),
            ("admin_key", "hunter2hunter2", "***"),
            ("admin.apikey", "hunter2hunter2", "***"),
            ("admin", "hunter2hunter2", "***"),
        ] {
            assert_eq!(
                shown(key, Some(&Value::from(value))),
                expected,
                "{key} = {value}"
            );
        }
        assert_eq!(
            shown("admin.key", Some(&serde_json::json!({"value": "hunter2"}))),
            "a table"
        );
    }
}
