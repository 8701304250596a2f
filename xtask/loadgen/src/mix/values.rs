//! Where the values of placeholders come from: a list, a file, a range, or the target itself.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::MixError;
use super::picker::Pick;
use super::sampler::Sampler;
use crate::{Target, http};

/// Most values of one name.
pub(super) const VALUES_MAX: usize = 1_000_000;

/// Most bytes of all values that a target gives: one that sends more is broken, or means us harm.
const VALUES_BYTES_MAX: usize = 64 << 20;

/// Longest cursor or path of a next page.
const NEXT_MAX: usize = 8 << 10;

/// All pages together may take so many times as long as one answer.
const PAGES_PATIENCE: u32 = 10;

/// Values under one name.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) order: Order,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    List(Vec<String>),
    /// One a line; empty lines are left out.
    File(PathBuf),
    Range(RangeInclusive<i64>),
    Target(Listing),
}

/// A list that the target shows page by page.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) path: String,
    /// JSON pointer to the values; `*` stands for every element of an array.
    pub(super) pointer: String,
    /// JSON pointer to what leads to the next page.
    pub(super) next: Option<String>,
    /// The query parameter that takes what `next` points to; without one it is a path or a URL.
    pub(super) cursor: Option<String>,
    pub(super) max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    Uniform,
    Sequence,
    Zipf { skew: f64 },
}

impl Values {
    /// At least one value and at most [`VALUES_MAX`].
    pub(super) fn load(
        &self,
        target: &Target,
        headers: &[(String, String)],
        timeout: Duration,
    ) -> Result<Vec<String>, MixError> {
        let texts = match &self.source {
            Source::List(list) => list.clone(),
            Source::Range(range) => range.clone().map(|number| number.to_string()).collect(),
            Source::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| MixError::File {
                    name: self.name.clone(),
                    path: path.clone(),
                    source,
                })?;
                let lines = text
                    .lines()
                    .map(str::trim_end)
                    .filter(|line| !line.is_empty());
                lines.map(str::to_owned).collect()
            }
            Source::Target(listing) => {
                let (began, patience) = (Instant::now(), timeout.saturating_mul(PAGES_PATIENCE));
                let get = |path: &str| {
                    let timeout = timeout.min(patience.saturating_sub(began.elapsed()));
                    let answer = http::get(target.address, &target.host, path, headers, timeout);
                    let answer = answer.map_err(|error| error.to_string())?;
                    match answer.status {
                        200 => Ok(answer.body),
                        status => Err(format!("answered {status} instead of 200")),
                    }
                };
                listing
                    .collect(get)
                    .map_err(|(path, problem)| MixError::Fetch {
                        name: self.name.clone(),
                        path,
                        problem,
                    })?
            }
        };
        let problem = match texts.len() {
            0 => "there is none".to_owned(),
            count if count > VALUES_MAX => format!("{count} are more than {VALUES_MAX}"),
            _ => return Ok(texts),
        };
        let name = self.name.clone();
        Err(MixError::Unfit { name, problem })
    }

    pub(super) fn pick(&self, values: usize) -> Pick {
        match self.order {
            Order::Uniform => Pick::Uniform { values },
            Order::Sequence => Pick::Sequence { values },
            Order::Zipf { skew } => Pick::Weighted(Sampler::zipf(values, skew)),
        }
    }
}

impl Listing {
    /// Asks for page after page; an error names the page.
    fn collect(
        &self,
        mut get: impl FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<String>, (String, String)> {
        let (mut values, mut bytes) = (Vec::new(), 0);
        let mut path = self.path.clone();
        loop {
            let before = values.len();
            let next = get(&path)
                .and_then(|body| self.read(&body, &mut values))
                .map_err(|problem| (path.clone(), problem))?;
            bytes += values[before..].iter().map(String::len).sum::<usize>();
            if bytes > VALUES_BYTES_MAX {
                let problem = format!("the values are longer than {VALUES_BYTES_MAX} bytes");
                return Err((path, problem));
            }
            match next {
                // A page that adds nothing would be followed for ever by a target that always names a next one.
                Some(next) if values.len() < self.max && values.len() > before => {
                    path = self.follow(&next).map_err(|problem| (path, problem))?;
                }
                _ if values.is_empty() => {
                    let problem = format!("no value at {}; is the target empty?", self.pointer);
                    return Err((path, problem));
                }
                _ => break,
            }
        }
        values.truncate(self.max);
        Ok(values)
    }

    /// Adds the values of one page and returns what leads to the next one.
    fn read(&self, body: &[u8], values: &mut Vec<String>) -> Result<Option<String>, String> {
        let page: Value =
            serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
        let steps: Vec<&str> = self.pointer.split('/').skip(1).collect();
        walk(&page, &steps, &mut |found| match text(found) {
            Some(text) => {
                values.push(text);
                Ok(())
            }
            None => Err(format!(
                "{} is neither text nor a number there",
                self.pointer
            )),
        })?;
        Ok(self
            .next
            .as_ref()
            .and_then(|next| page.pointer(next))
            .and_then(text))
    }

    fn follow(&self, next: &str) -> Result<String, String> {
        if next.len() > NEXT_MAX {
            return Err(format!(
                "what leads to the next page is longer than {NEXT_MAX} bytes"
            ));
        }
        if let Some(cursor) = &self.cursor {
            let joint = if self.path.contains('?') { '&' } else { '?' };
            let mut path = format!("{}{joint}{cursor}=", self.path);
            super::prepare::percent_encode(next, &mut path);
            return Ok(path);
        }
        let path = match next.strip_prefix("http://") {
            Some(rest) => rest.find('/').map(|at| &rest[at..]),
            None => next.starts_with('/').then_some(next),
        };
        match path {
            Some(path) if super::file::path_problem(path).is_none() => Ok(path.to_owned()),
            _ => Err(format!(
                "the next page {next:?} is no path; name the query parameter that takes it as `cursor`"
            )),
        }
    }
}

/// Calls `found` for each value that the steps of a pointer lead to; what is not there is left out.
fn walk(
    value: &Value,
    steps: &[&str],
    found: &mut impl FnMut(&Value) -> Result<(), String>,
) -> Result<(), String> {
    match (steps, value) {
        ([], value) => found(value),
        (["*", rest @ ..], Value::Array(elements)) => elements
            .iter()
            .try_for_each(|element| walk(element, rest, found)),
        ([step, rest @ ..], value) => match value.pointer(&format!("/{step}")) {
            Some(value) => walk(value, rest, found),
            None => Ok(()),
        },
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(cursor: Option<&str>, max: usize) -> Listing {
        Listing {
            path: "/items?limit=2".to_owned(),
            pointer: "/items/*/id".to_owned(),
            next: Some("/next".to_owned()),
            cursor: cursor.map(str::to_owned),
            max,
        }
    }

    /// Answers each path once, in this order.
    fn pages<'a>(
        script: &'a [(&str, &str)],
    ) -> impl FnMut(&str) -> Result<Vec<u8>, String> + use<'a> {
        let mut pages = script.iter();
        move |path| {
            let (expected, body) = pages.next().expect("another page");
            assert_eq!(path, *expected);
            Ok(body.as_bytes().to_vec())
        }
    }

    #[test]
    fn pages_are_followed_by_their_cursor() {
        let script = [
            (
                "/items?limit=2",
                r#"{"items": [{"id": "a"}, {"id": 2}], "next": "x&y"}"#,
            ),
            (
                "/items?limit=2&after=x%26y",
                r#"{"items": [{"id": "c"}], "next": null}"#,
            ),
        ];
        let values = listing(Some("after"), 10).collect(pages(&script));
        assert_eq!(values.expect("values"), ["a", "2", "c"]);
    }

    #[test]
    fn pages_are_followed_by_their_link() {
        let script = [
            (
                "/items?limit=2",
                r#"{"items": [{"id": "a"}], "next": "http://h:1/items?page=2"}"#,
            ),
            (
                "/items?page=2",
                r#"{"items": [{"id": "b"}, {}], "next": "/three"}"#,
            ),
            ("/three", r#"{"items": [{"id": "c"}]}"#),
        ];
        let values = listing(None, 10).collect(pages(&script));
        assert_eq!(values.expect("values"), ["a", "b", "c"]);
    }

    #[test]
    fn no_more_pages_are_asked_for_than_values_are_wanted() {
        let script = [(
            "/items?limit=2",
            r#"{"items": [{"id": 1}, {"id": 2}, {"id": 3}], "next": "x"}"#,
        )];
        assert_eq!(
            listing(Some("after"), 2)
                .collect(pages(&script))
                .expect("values"),
            ["1", "2"]
        );
    }

    #[test]
    fn a_next_page_without_end_is_not_followed_for_ever() {
        let endless = |_: &str| Ok(br#"{"items": [], "next": "x"}"#.to_vec());
        let (path, problem) = listing(Some("after"), 2)
            .collect(endless)
            .expect_err("no values");
        assert_eq!(path, "/items?limit=2");
        assert_eq!(problem, "no value at /items/*/id; is the target empty?");
    }

    #[test]
    fn a_target_that_sends_without_end_is_given_up() {
        let mut pages = 0;
        let megabytes = |_: &str| {
            pages += 1;
            let value = "x".repeat(8 << 20);
            Ok(format!(r#"{{"items": [{{"id": "{value}"}}], "next": "x"}}"#).into_bytes())
        };
        let (_, problem) = listing(Some("after"), VALUES_MAX)
            .collect(megabytes)
            .expect_err("too much");
        assert_eq!(problem, "the values are longer than 67108864 bytes");
        assert_eq!(pages, 9);
        let long = |_: &str| {
            let next = "x".repeat(NEXT_MAX + 1);
            Ok(format!(r#"{{"items": [{{"id": 1}}], "next": "{next}"}}"#).into_bytes())
        };
        let (_, problem) = listing(Some("after"), 2)
            .collect(long)
            .expect_err("too much");
        assert!(problem.ends_with("is longer than 8192 bytes"), "{problem}");
    }

    #[test]
    fn what_is_no_page_is_told() {
        let problem = |body: &'static str| {
            let collected = listing(None, 9).collect(|_: &str| Ok(body.as_bytes().to_vec()));
            collected.expect_err(body).1
        };
        assert!(
            problem("<html>").starts_with("no JSON: expected value"),
            "{}",
            problem("<html>")
        );
        let nested = r#"{"items": [{"id": {}}]}"#;
        assert_eq!(
            problem(nested),
            "/items/*/id is neither text nor a number there"
        );
        let relative = r#"{"items": [{"id": 1}], "next": "abc"}"#;
        assert!(
            problem(relative).contains("name the query parameter"),
            "{}",
            problem(relative)
        );
    }
}
