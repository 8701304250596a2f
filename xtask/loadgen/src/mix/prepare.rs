//! Turns a mix into what the picker writes: values fetched and encoded for their places, everything fixed in one piece.

use std::collections::BTreeMap;
use std::time::Duration;

use memchr::memmem::Finder;

use super::picker::{PreparedRoute, Segment, Table};
use super::sampler::Sampler;
use super::template::{Part, Template};
use super::{Mix, MixError, Prepared, Route};
use crate::Target;

pub(super) fn prepare(mix: &Mix, target: &Target, timeout: Duration) -> Result<Prepared, MixError> {
    for (name, value) in &mix.headers {
        let problem = header_name_problem(name).or_else(|| header_value_problem(value));
        if let Some(problem) = problem {
            let (name, problem) = (name.clone(), problem.to_owned());
            return Err(MixError::Header { name, problem });
        }
    }
    let mut compiler = Compiler {
        mix,
        host: &target.host,
        texts: Vec::new(),
        tables: Vec::new(),
        known: BTreeMap::new(),
    };
    for values in &mix.values {
        compiler
            .texts
            .push(values.load(target, &mix.headers, timeout)?);
    }
    let routes = mix
        .routes
        .iter()
        .map(|route| compiler.route(route))
        .collect::<Result<_, _>>()?;
    let picks = mix.values.iter().zip(&compiler.texts);
    let weights: Vec<f64> = mix.routes.iter().map(|route| route.weight).collect();
    Ok(Prepared {
        routes,
        choice: Sampler::new(&weights),
        picks: picks
            .map(|(values, texts)| values.pick(texts.len()))
            .collect(),
        tables: compiler.tables.into(),
    })
}

/// Why a header of this name cannot be sent.
pub(super) fn header_name_problem(name: &str) -> Option<&'static str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some("not a header name: letters, digits and - are");
    }
    [
        "connection",
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
    ]
    .iter()
    .any(|own| name.eq_ignore_ascii_case(own))
    .then_some("says where a message ends or who speaks: loadgen alone sets it")
}

/// Why a header of this value cannot be sent.
pub(super) fn header_value_problem(value: &str) -> Option<&'static str> {
    value
        .contains(|letter: char| letter.is_control() && letter != '\t')
        .then_some("a line break or another control character would end the header")
}

/// Writes everything but unreserved characters (RFC 3986) as `%XX`.
pub(super) fn percent_encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

struct Compiler<'a> {
    mix: &'a Mix,
    host: &'a str,
    /// Of each set of values.
    texts: Vec<Vec<String>>,
    tables: Vec<Table>,
    /// Number of the table of a set of values at a kind of place.
    known: BTreeMap<(usize, Place), usize>,
}

/// Where a value is written, which decides how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Percent-encoded, so that no value adds a segment, a parameter or a line.
    Url,
    /// As it is; one with a control character is refused.
    Header,
    /// Escaped as within a JSON string.
    Json,
    /// As it is.
    Text,
}

impl Compiler<'_> {
    fn route(&mut self, route: &Route) -> Result<PreparedRoute, MixError> {
        let mut head = Pieces::default();
        head.text(&format!("{} ", route.method));
        self.template(&route.path, Place::Url, &mut head)?;
        head.text(" HTTP/1.1\r\n");
        let headers = self.headers(route);
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.text(&format!("host: {}\r\n", self.host));
        }
        for (name, value) in &headers {
            head.text(&format!("{name}: "));
            self.template(value, Place::Header, &mut head)?;
            head.text("\r\n");
        }
        let mut body = Pieces::default();
        if let Some(template) = &route.body {
            self.template(template, body_place(&headers), &mut body)?;
        }
        let takes_body = matches!(&*route.method, "POST" | "PUT" | "PATCH");
        let body = if let Some(fixed) = body.as_text() {
            if route.body.is_some() || takes_body {
                head.text(&format!("content-length: {}\r\n", fixed.len()));
            }
            head.text(&format!("\r\n{fixed}"));
            None
        } else {
            head.text("content-length: ");
            Some(body.segments())
        };
        let head = head.segments();
        let all = || head.iter().chain(body.iter().flatten());
        let mut picks: Vec<usize> = all().filter_map(Segment::pick).collect();
        picks.sort_unstable();
        picks.dedup();
        Ok(PreparedRoute {
            name: route.name.clone(),
            is_head: route.method == "HEAD",
            picks: picks.into(),
            uses_random: all().any(|segment| matches!(segment, Segment::Random)),
            head,
            body,
            status: route.status.clone().into(),
            contains: route
                .contains
                .as_ref()
                .map(|text| Finder::new(text).into_owned()),
        })
    }

    /// The route's headers, those given beside the mix in their place, and a content type for a body that has none.
    fn headers(&self, route: &Route) -> Vec<(String, Template)> {
        let given = |name: &str| {
            self.mix
                .headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        let mut headers: Vec<_> = route
            .headers
            .iter()
            .filter(|(name, _)| !given(name))
            .cloned()
            .collect();
        let literal = |(name, value): &(String, String)| (name.clone(), Template::literal(value));
        headers.extend(self.mix.headers.iter().map(literal));
        let typed = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && route.body.as_ref().is_some_and(looks_like_json) {
            headers.push((
                "content-type".to_owned(),
                Template::literal("application/json"),
            ));
        }
        headers
    }

    fn template(&mut self, from: &Template, place: Place, to: &mut Pieces) -> Result<(), MixError> {
        for part in &from.0 {
            match part {
                Part::Text(text) => to.text(text),
                Part::Name(name) if name == "n" => to.0.push(Segment::Counter),
                Part::Name(name) if name == "random" => to.0.push(Segment::Random),
                Part::Name(name) => {
                    let named = |values: &super::Values| values.name == *name;
                    let pick = self
                        .mix
                        .values
                        .iter()
                        .position(named)
                        .expect("names are checked on reading");
                    let table = self.table(pick, place)?;
                    to.0.push(Segment::Value { pick, table });
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, pick: usize, place: Place) -> Result<usize, MixError> {
        if let Some(&known) = self.known.get(&(pick, place)) {
            return Ok(known);
        }
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(self.texts[pick].len());
        for value in &self.texts[pick] {
            let end = place.write(value, &mut bytes).and_then(|()| {
                u32::try_from(bytes.len()).map_err(|_| "more than 4 GiB of values".to_owned())
            });
            ends.push(end.map_err(|problem| {
                let name = self.mix.values[pick].name.clone();
                MixError::Unfit { name, problem }
            })?);
        }
        self.tables.push(Table {
            bytes: bytes.into(),
            ends: ends.into(),
        });
        let number = self.tables.len() - 1;
        self.known.insert((pick, place), number);
        Ok(number)
    }
}

fn looks_like_json(body: &Template) -> bool {
    body.texts()
        .next()
        .is_some_and(|text| text.trim_start().starts_with(['{', '[']))
}

fn body_place(headers: &[(String, Template)]) -> Place {
    let content_type = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .and_then(|(_, value)| value.texts().next())
        .unwrap_or_default();
    if content_type.contains("json") {
        Place::Json
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        Place::Url
    } else {
        Place::Text
    }
}

impl Place {
    fn write(self, value: &str, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Url => {
                let mut encoded = String::new();
                percent_encode(value, &mut encoded);
                out.extend_from_slice(encoded.as_bytes());
            }
            Self::Header => {
                if let Some(problem) = header_value_problem(value) {
                    return Err(format!("{value:?} in a header: {problem}"));
                }
                out.extend_from_slice(value.as_bytes());
            }
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
            }
            Self::Text => out.extend_from_slice(value.as_bytes()),
        }
        Ok(())
    }
}

/// Segments under construction; neighbouring texts become one.
#[derive(Default)]
struct Pieces(Vec<Segment>);

impl Pieces {
    fn text(&mut self, text: &str) {
        self.0.push(Segment::Text(text.as_bytes().into()));
    }

    /// The whole, if nothing in it changes.
    fn as_text(&self) -> Option<String> {
        let texts = self.0.iter().map(|segment| match segment {
            Segment::Text(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        });
        texts.collect()
    }

    fn segments(self) -> Box<[Segment]> {
        let mut merged: Vec<Segment> = Vec::new();
        for segment in self.0 {
            match (merged.last_mut(), segment) {
                (Some(Segment::Text(before)), Segment::Text(text)) => {
                    *before = [&**before, &*text].concat().into();
                }
                (_, segment) => merged.push(segment),
            }
        }
        merged.into()
    }
}

impl Segment {
    fn pick(&self) -> Option<usize> {
        match self {
            Self::Value { pick, .. } => Some(*pick),
            _ => None,
        }
    }
}
