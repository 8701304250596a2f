//! `[values.NAME]`: where values come from and in which order they are taken.

use toml::Spanned;

use super::{RESERVED, Reader, RouteFile, ValuesFile, path_problem};
use crate::mix::MixError;
use crate::mix::template::{Template, is_name};
use crate::mix::values::{Listing, Order, Source, VALUES_MAX, Values};

impl Reader<'_> {
    pub(super) fn values(
        &self,
        name: &str,
        values: &Spanned<ValuesFile>,
    ) -> Result<Values, MixError> {
        let table = format!("values.{name}");
        let refuse =
            |problem: &str| Err(self.refuse_at(values.span().start, &table, name, problem));
        if RESERVED.contains(&name) {
            return refuse("n and random are there without values");
        }
        if !is_name(name) {
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
}

/// Values taken from the target when the mix does not say.
const MAX_DEFAULT: usize = 1_000;
/// Of Zipf's own law: the second is half as frequent as the first.
const SKEW_DEFAULT: f64 = 1.0;
