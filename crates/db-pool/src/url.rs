//! Reading database URLs: which backend they name, where a SQLite file lies, and how to show them without the password.

use std::fmt;

use crate::error::ConfigError;

/// The databases this crate can pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// A SQLite file.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl BackendKind {
    /// Tells from a URL which database it names.
    ///
    /// `sqlite:PATH`, `sqlite://PATH`, and plain paths ending in `.db`, `.sqlite` or `.sqlite3` are SQLite;
    /// `postgres://` and `postgresql://` are PostgreSQL.
    ///
    /// # Errors
    /// [`ConfigError`] on field `url` for anything else.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        let is = |prefix: &str| {
            url.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if is("postgres://") || is("postgresql://") {
            return Ok(Self::Postgres);
        }
        let plain_file = !url.contains("://")
            && [".db", ".sqlite", ".sqlite3"]
                .iter()
                .any(|ending| url.ends_with(ending));
        if is("sqlite:") || plain_file {
            return Ok(Self::Sqlite);
        }
        let problem = if url.trim().is_empty() {
            "is empty; name a database"
        } else {
            "names no known database; use sqlite:PATH or postgres://USER@HOST/NAME"
        };
        Err(ConfigError::new("url", redact(url), problem))
    }

    /// The name used in metrics, logs and URLs: `sqlite` or `postgres`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The file that a SQLite URL names, and what follows its `?`.
pub(crate) fn sqlite_file(url: &str) -> Result<(&str, Option<&str>), ConfigError> {
    let bad = |problem| Err(ConfigError::new("url", redact(url), problem));
    let is_url = url
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("sqlite:"));
    let (path, parameters) = if is_url {
        let rest = &url["sqlite:".len()..];
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match rest.split_once('?') {
            Some((path, parameters)) => (path, Some(parameters)),
            None => (rest, None),
        }
    } else {
        (url, None)
    };
    if path.is_empty() {
        return bad("names no file");
    }
    if path.contains('\0') {
        return bad("contains a NUL byte");
    }
    let in_memory = path.contains(":memory:")
        || parameters.is_some_and(|parameters| parameters.contains("mode=memory"));
    if in_memory {
        return bad(
            "is in memory, where every connection sees a database of its own; use a temporary file",
        );
    }
    Ok((path, parameters))
}

/// The URL with passwords replaced by `***`: between `user:` and `@`, and in a `password=` parameter.
///
/// Also for URLs of other servers, such as Redis.
pub fn redact(url: &str) -> String {
    // First, as such a password may hold an `@` too.
    let url = &without_password_parameters(url);
    let mut shown = String::with_capacity(url.len());
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url.as_str()),
    };
    if let Some(scheme) = scheme {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    // A password may hold `/`, `?` or `@` by mistake: hide up to the last `@` rather than too little.
    // A path may hold an `@` as well; of what is no path and no URL, hide what might be a password.
    let is_path = scheme.is_none()
        && (!rest.contains(':')
            || rest
                .get(..7)
                .is_some_and(|start| start.eq_ignore_ascii_case("sqlite:")));
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) if !is_path => (Some(credentials), rest),
        _ => (None, rest),
    };
    if let Some(credentials) = credentials {
        match credentials.split_once(':') {
            Some((user, _)) => {
                shown.push_str(user);
                shown.push_str(":***@");
            }
            None => {
                shown.push_str(credentials);
                shown.push('@');
            }
        }
    }
    shown.push_str(rest);
    shown
}

/// The text with the value of every `password=` replaced, up to the next `&`.
fn without_password_parameters(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.to_ascii_lowercase().find(PASSWORD) {
        let (before, secret) = rest.split_at(at + PASSWORD.len());
        shown.push_str(before);
        shown.push_str("***");
        rest = secret.find('&').map_or("", |end| &secret[end..]);
    }
    shown.push_str(rest);
    shown
}

const PASSWORD: &str = "password=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_their_backend() {
        for url in [
            "sqlite:a.db",
            "sqlite:///var/a",
            "SQLITE:a",
            "data/app.db",
            "a.sqlite",
            "x.sqlite3",
        ] {
            assert_eq!(
                BackendKind::from_url(url).unwrap(),
                BackendKind::Sqlite,
                "{url}"
            );
        }
        for url in ["postgres://u@h/d", "postgresql:///d", "Postgres://h"] {
            assert_eq!(
                BackendKind::from_url(url).unwrap(),
                BackendKind::Postgres,
                "{url}"
            );
        }
        for url in ["", "  ", "mysql://h/d", "http://x/y.db", "app", "é"] {
            assert_eq!(
                BackendKind::from_url(url).unwrap_err().field(),
                "url",
                "{url}"
            );
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        for (url, shown) in [
            ("postgres://u:secret@h:5432/d", "postgres://u:***@h:5432/d"),
            ("postgres://u:se@cr/et@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            (
                "postgres://h/d?user=u&password=secret&x=1",
                "postgres://h/d?user=u&password=***&x=1",
            ),
            (
                "postgres://h:5432/d?password=se@cret&x=1",
                "postgres://h:5432/d?password=***&x=1",
            ),
            (
                "postgres://h/d?password=a&Password=b",
                "postgres://h/d?password=***&Password=***",
            ),
            ("sqlite:data/app.db", "sqlite:data/app.db"),
            ("data/a@b.db", "data/a@b.db"),
            ("sqlite:a@b.db", "sqlite:a@b.db"),
            ("postgres:u:secret@h/d", "postgres:***@h/d"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
