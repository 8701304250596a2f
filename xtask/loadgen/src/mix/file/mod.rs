//! The TOML of a mix: its keys, and what each value has to be.

mod route;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::template::Template;
use super::{Mix, MixError};
use crate::suggest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MixFile {
    #[serde(default)]
    route: Vec<Spanned<RouteFile>>,
    #[serde(default)]
    values: BTreeMap<String, Spanned<ValuesFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    name: Spanned<String>,
    weight: Option<Spanned<f64>>,
    method: Option<Spanned<String>>,
    path: Spanned<String>,
    #[serde(default)]
    headers: BTreeMap<String, Spanned<String>>,
    body: Option<Spanned<String>>,
    #[serde(default)]
    expect: ExpectFile,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectFile {
    status: Option<Spanned<toml::Value>>,
    contains: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesFile {
    list: Option<Spanned<Vec<toml::Value>>>,
    file: Option<Spanned<String>>,
    range: Option<Spanned<(i64, i64)>>,
    get: Option<Spanned<String>>,
    pointer: Option<Spanned<String>>,
    next: Option<Spanned<String>>,
    cursor: Option<Spanned<String>>,
    max: Option<Spanned<usize>>,
    pick: Option<Spanned<String>>,
    skew: Option<Spanned<f64>>,
}

pub(super) fn parse(text: &str, folder: &Path) -> Result<Mix, MixError> {
    let file: MixFile = toml::from_str(text).map_err(|error| MixError::Syntax {
        line: line(text, error.span().map_or(0, |span| span.start)),
        problem: error.message().replace('\n', "; "),
    })?;
    let reader = Reader {
        text,
        folder,
        file: &file,
    };
    let routes = file
        .route
        .iter()
        .map(|route| reader.route(route.get_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let values = file
        .values
        .iter()
        .map(|(name, values)| reader.values(name, values))
        .collect::<Result<_, _>>()?;
    if routes.is_empty() {
        let problem = "no [[route]]: a mix has at least one".to_owned();
        return Err(MixError::Syntax { line: 1, problem });
    }
    for (at, route) in file.route.iter().enumerate() {
        let name = &route.get_ref().name;
        if routes[..at]
            .iter()
            .any(|other| other.name == *name.get_ref())
        {
            return Err(reader.refuse("route.name", name, "is the name of another route too"));
        }
    }
    Ok(Mix {
        routes,
        values,
        headers: Vec::new(),
    })
}

/// Why a path cannot be sent; placeholders are cut out before.
pub(super) fn path_problem(path: &str) -> Option<&'static str> {
    let allowed = |letter: char| letter.is_ascii_graphic() && !"\"#<>\\^`{|}".contains(letter);
    (!path.chars().all(allowed)).then_some(
        "only what a URL may hold: no spaces, control characters, fragments or braces; %XX for those",
    )
}

struct Reader<'a> {
    text: &'a str,
    folder: &'a Path,
    file: &'a MixFile,
}

impl Reader<'_> {
    fn path(&self, key: &str, path: &Spanned<String>) -> Result<Template, MixError> {
        let template = self.template(key, path)?;
        let problem = if path.get_ref().starts_with('/') {
            template.texts().find_map(path_problem)
        } else {
            Some("must begin with /; host and port are the target's")
        };
        problem.map_or(Ok(template), |problem| Err(self.refuse(key, path, problem)))
    }

    fn template(&self, key: &str, text: &Spanned<String>) -> Result<Template, MixError> {
        let template = Template::parse(text.get_ref());
        let known = || self.file.values.keys().map(|name| &**name).chain(RESERVED);
        if let Some(name) = template
            .names()
            .find(|name| !known().any(|known| known == *name))
        {
            let nearest = suggest::nearest(name, known());
            let problem = match nearest {
                Some(near) => format!("{{{name}}} has no values; did you mean {{{near}}}?"),
                None => format!(
                    "{{{name}}} has no values: add [values.{name}], or write {{{{ for a brace"
                ),
            };
            return Err(self.refuse(key, text, &problem));
        }
        Ok(template)
    }

    fn refuse<T: std::fmt::Debug>(&self, key: &str, value: &Spanned<T>, problem: &str) -> MixError {
        let written = self.text.get(value.span()).unwrap_or_default();
        self.refuse_at(value.span().start, key, written, problem)
    }

    fn refuse_at(&self, at: usize, key: &str, value: &str, problem: &str) -> MixError {
        let mut short: String = value.chars().take(VALUE_SHOWN).collect();
        if short.len() < value.len() {
            short.push('…');
        }
        MixError::Value {
            line: line(self.text, at),
            key: key.to_owned(),
            value: short.replace(char::is_control, " "),
            problem: problem.to_owned(),
        }
    }
}

/// Placeholders that need no values.
const RESERVED: [&str; 2] = ["n", "random"];
/// Characters of a value in an error.
const VALUE_SHOWN: usize = 60;

/// The line, from 1, of a place in `text`.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}
