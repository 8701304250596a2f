//! How single values are written as text: durations, sizes, URLs and secrets.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IntoDeserializer, value::StringDeserializer},
};

/// A value that is never shown: `Debug` and serialization say `***`.
#[derive(Clone, Deserialize, Eq, PartialEq)]
pub struct Secret(String);

/// A URL whose password is never shown: `Debug`, `Display` and serialization replace it.
#[derive(Clone, Deserialize, Eq, PartialEq)]
pub struct ConnectionUrl(String);

/// A limit that may be switched off: `30s`, or `off`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrOff {
    /// No limit.
    Off,
    /// This long.
    After(Duration),
}

// === impl Secret ===

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

// === impl ConnectionUrl ===

impl ConnectionUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ConnectionUrl {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Display for ConnectionUrl {
    /// Without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&db_pool::redact(&self.0))
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ConnectionUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl OrOff ===

impl OrOff {
    /// As the crates write it: nothing where there is no limit.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::After(limit) => Some(limit),
        }
    }
}

impl<'de> Deserialize<'de> for OrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == OFF {
            return Ok(Self::Off);
        }
        let text: StringDeserializer<D::Error> = text.into_deserializer();
        duration::deserialize(text).map(Self::After)
    }
}

impl Serialize for OrOff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::After(limit) => duration::serialize(limit, serializer),
        }
    }
}

const OFF: &str = "off";

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "***";

/// A list of URLs, or one text with blanks between them: the environment knows no lists.
pub(super) fn urls<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ConnectionUrl>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Urls {
        Text(String),
        List(Vec<ConnectionUrl>),
    }
    Ok(match Urls::deserialize(deserializer)? {
        Urls::Text(text) => text.split_whitespace().map(ConnectionUrl::from).collect(),
        Urls::List(urls) => urls,
    })
}

/// Durations as `250ms`, `5m`, `1h 30m`.
pub(super) mod duration {
    pub(crate) use jiff::fmt::serde::unsigned_duration::friendly::compact::required::{
        deserialize, serialize,
    };
}

/// The same for a duration that may be left out.
pub(super) mod optional_duration {
    pub(crate) use jiff::fmt::serde::unsigned_duration::friendly::compact::optional::{
        deserialize, serialize,
    };
}

/// Sizes as `64MiB`.
pub(super) mod size {
    use bytesize::ByteSize;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        size: &ByteSize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&size.display().iec())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ByteSize, D::Error> {
        ByteSize::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden_wherever_they_stand() {
        for (url, shown) in [
            ("sqlite:data/service.db", "sqlite:data/service.db"),
            ("postgres://db/app", "postgres://db/app"),
            ("postgres://app@db/app", "postgres://app@db/app"),
            (
                "postgres://app:pw@db:5432/app",
                "postgres://app:***@db:5432/app",
            ),
            ("postgres://app:p@:w@db/app", "postgres://app:***@db/app"),
            ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
            (
                "postgres://db/app?user=a&password=pw&sslmode=require",
                "postgres://db/app?user=a&password=***&sslmode=require",
            ),
        ] {
            assert_eq!(ConnectionUrl::from(url).to_string(), shown);
            assert_eq!(format!("{:?}", ConnectionUrl::from(url)), shown);
        }
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret::from("correct horse battery");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(
            serde_json::to_string(&secret).expect("plain string"),
            "\"***\""
        );
    }
}
