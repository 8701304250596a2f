//! The TOML of a mix: its keys, and what each value has to be.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::prepare::{header_name_problem, header_value_problem};
use super::template::{self, Template};
use super::values::{Listing, Order, Source, VALUES_MAX, Values};
use super::{DEFAULT_STATUS, Mix, MixError, Route};
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
    fn route(&self, route: &RouteFile) -> Result<Route, MixError> {
        let name = route.name.get_ref();
        let key = |field: &str| format!("route.{name}.{field}");
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:{}".contains(letter);
        if name.is_empty() || name == "total" || !name.chars().all(plain) {
            let problem = "a name is one word of letters, digits and -_./: and not `total`";
            return Err(self.refuse("route.name", &route.name, problem));
        }
        let weight = route
            .weight
            .as_ref()
            .map_or(1.0, |weight| *weight.get_ref());
        if let Some(given) = &route.weight
            && !(weight.is_finite() && weight > 0.0)
        {
            return Err(self.refuse(
                &key("weight"),
                given,
                "must be above 0; leave the route out instead",
            ));
        }
        let method = route
            .method
            .as_ref()
            .map_or("GET", |method| method.get_ref());
        if let Some(given) = &route.method
            && (method.is_empty()
                || method == "CONNECT"
                || !method.bytes().all(|byte| byte.is_ascii_uppercase()))
        {
            let problem = "not a method that can be sent: GET, POST, PUT and the like, in capitals";
            return Err(self.refuse(&key("method"), given, problem));
        }
        let mut headers = Vec::new();
        for (header, value) in &route.headers {
            let key = key(&format!("headers.{header}"));
            if let Some(problem) =
                header_name_problem(header).or_else(|| header_value_problem(value.get_ref()))
            {
                return Err(self.refuse(&key, value, problem));
            }
            headers.push((header.clone(), self.template(&key, value)?));
        }
        let body = route
            .body
            .as_ref()
            .map(|body| self.template(&key("body"), body))
            .transpose()?;
        let status = match &route.expect.status {
            Some(status) => self.status(&key("expect.status"), status)?,
            None => vec![DEFAULT_STATUS],
        };
        if let Some(contains) = &route.expect.contains
            && contains.get_ref().is_empty()
        {
            return Err(self.refuse(&key("expect.contains"), contains, "is in every body"));
        }
        Ok(Route {
            name: name.clone(),
            weight,
            method: method.to_owned(),
            path: self.path(&key("path"), &route.path)?,
            headers,
            body,
            status,
            contains: route
                .expect
                .contains
                .as_ref()
                .map(|text| text.get_ref().clone()),
        })
    }

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

    fn status(
        &self,
        key: &str,
        given: &Spanned<toml::Value>,
    ) -> Result<Vec<RangeInclusive<u16>>, MixError> {
        let one = |value: &toml::Value| match value {
            toml::Value::Integer(status @ 100..=599) => {
                u16::try_from(*status).ok().map(|status| status..=status)
            }
            toml::Value::String(class) => match class.as_bytes() {
                [first @ b'1'..=b'5', b'x', b'x'] => {
                    let first = u16::from(first - b'0') * 100;
                    Some(first..=first + 99)
                }
                _ => None,
            },
            _ => None,
        };
        let ranges: Option<Vec<_>> = match given.get_ref() {
            toml::Value::Array(several) => several.iter().map(one).collect(),
            value => one(value).map(|range| vec![range]),
        };
        ranges.filter(|ranges| !ranges.is_empty()).ok_or_else(|| {
            self.refuse(
                key,
                given,
                "expected a status, a class, or several: 200, \"2xx\", [200, 404]",
            )
        })
    }

    fn values(&self, name: &str, values: &Spanned<ValuesFile>) -> Result<Values, MixError> {
        let table = format!("values.{name}");
        let refuse =
            |problem: &str| Err(self.refuse_at(values.span().start, &table, name, problem));
        if RESERVED.contains(&name) {
            return refuse("n and random are there without values");
        }
        if !template::is_name(name) {
            return refuse("a name is lowercase letters, digits, _ and -, a letter first");
        }
        let used = |route: &Spanned<RouteFile>| {
            let RouteFile {
                path,
                headers,
                body,
                ..
            } = route.get_ref();
            let texts = headers.values().chain(body).chain([path]);
            texts.into_iter().any(|text| {
                Template::parse(text.get_ref())
                    .names()
                    .any(|used| used == name)
            })
        };
        if !self.file.route.iter().any(used) {
            return refuse(&format!("no route uses {{{name}}}"));
        }
        let file = values.get_ref();
        Ok(Values {
            name: name.to_owned(),
            source: self.source(&table, values)?,
            order: self.order(&table, file)?,
        })
    }

    fn source(&self, table: &str, values: &Spanned<ValuesFile>) -> Result<Source, MixError> {
        let file = values.get_ref();
        let key = |field: &str| format!("{table}.{field}");
        let of_get = [
            ("pointer", file.pointer.as_ref().map(Spanned::span)),
            ("next", file.next.as_ref().map(Spanned::span)),
            ("cursor", file.cursor.as_ref().map(Spanned::span)),
            ("max", file.max.as_ref().map(Spanned::span)),
        ];
        if let (None, Some((field, Some(span)))) =
            (&file.get, of_get.iter().find(|(_, span)| span.is_some()))
        {
            let value = &self.text[span.clone()];
            return Err(self.refuse_at(span.start, &key(field), value, "only goes with get"));
        }
        match (&file.list, &file.file, &file.range, &file.get) {
            (Some(list), None, None, None) => self.list(&key("list"), list).map(Source::List),
            (None, Some(file), None, None) => Ok(Source::File(self.folder.join(file.get_ref()))),
            (None, None, Some(range), None) => {
                let (first, last) = *range.get_ref();
                if first > last || last.abs_diff(first) >= VALUES_MAX as u64 {
                    let problem =
                        format!("expected [first, last] with at most {VALUES_MAX} numbers");
                    return Err(self.refuse_at(
                        range.span().start,
                        &key("range"),
                        &format!("[{first}, {last}]"),
                        &problem,
                    ));
                }
                Ok(Source::Range(first..=last))
            }
            (None, None, None, Some(get)) => self.listing(&key, file, get).map(Source::Target),
            _ => {
                let problem = "takes its values from one of list, file, range and get";
                Err(self.refuse_at(values.span().start, table, "{…}", problem))
            }
        }
    }

    fn list(&self, key: &str, list: &Spanned<Vec<toml::Value>>) -> Result<Vec<String>, MixError> {
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => Some(text.clone()),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Float(number) => Some(number.to_string()),
            _ => None,
        };
        let texts: Option<Vec<_>> = list.get_ref().iter().map(text).collect();
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| {
            let value = &self.text[list.span()];
            self.refuse_at(
                list.span().start,
                key,
                value,
                "expected at least one text or number",
            )
        })
    }

    fn listing(
        &self,
        key: &impl Fn(&str) -> String,
        file: &ValuesFile,
        get: &Spanned<String>,
    ) -> Result<Listing, MixError> {
        if !get.get_ref().starts_with('/') || path_problem(get.get_ref()).is_some() {
            let problem = "must begin with / and hold what a URL may, without placeholders";
            return Err(self.refuse(&key("get"), get, problem));
        }
        let Some(pointer) = &file.pointer else {
            let problem = "needs a pointer to the values in the answer, `/items/*/id`, say";
            return Err(self.refuse(&key("get"), get, problem));
        };
        for (field, pointer) in [("pointer", Some(pointer)), ("next", file.next.as_ref())] {
            if let Some(pointer) = pointer
                && !pointer.get_ref().starts_with('/')
            {
                return Err(self.refuse(&key(field), pointer, "a JSON pointer begins with /"));
            }
        }
        if let (None, Some(cursor)) = (&file.next, &file.cursor) {
            return Err(self.refuse(
                &key("cursor"),
                cursor,
                "only goes with next, which says what it takes",
            ));
        }
        if let Some(max) = &file.max
            && !(1..=VALUES_MAX).contains(max.get_ref())
        {
            return Err(self.refuse(&key("max"), max, &format!("expected 1 to {VALUES_MAX}")));
        }
        let owned =
            |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
        Ok(Listing {
            path: get.get_ref().clone(),
            pointer: pointer.get_ref().clone(),
            next: owned(&file.next),
            cursor: owned(&file.cursor),
            max: file.max.as_ref().map_or(MAX_DEFAULT, |max| *max.get_ref()),
        })
    }

    fn order(&self, table: &str, file: &ValuesFile) -> Result<Order, MixError> {
        let pick = file.pick.as_ref().map_or("uniform", |pick| pick.get_ref());
        let skew = file
            .skew
            .as_ref()
            .map_or(SKEW_DEFAULT, |skew| *skew.get_ref());
        if let Some(given) = &file.skew {
            let key = format!("{table}.skew");
            if pick != "zipf" {
                return Err(self.refuse(&key, given, "only goes with pick = \"zipf\""));
            }
            if !(skew > 0.0 && skew <= 5.0) {
                return Err(self.refuse(&key, given, "expected above 0, up to 5"));
            }
        }
        match (pick, &file.pick) {
            ("zipf", _) => Ok(Order::Zipf { skew }),
            ("sequence", _) => Ok(Order::Sequence),
            (_, Some(given)) if pick != "uniform" => {
                let problem = "expected \"uniform\", \"zipf\" or \"sequence\"";
                Err(self.refuse(&format!("{table}.pick"), given, problem))
            }
            _ => Ok(Order::Uniform),
        }
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
/// Values taken from the target when the mix does not say.
const MAX_DEFAULT: usize = 1_000;
/// Of Zipf's own law: the second is half as frequent as the first.
const SKEW_DEFAULT: f64 = 1.0;
/// Characters of a value in an error.
const VALUE_SHOWN: usize = 60;

/// The line, from 1, of a place in `text`.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}
