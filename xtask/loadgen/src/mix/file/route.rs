//! `[[route]]`: what one kind of request has to be.

use std::ops::RangeInclusive;

use toml::Spanned;

use super::{Reader, RouteFile};
use crate::mix::prepare::{header_name_problem, header_value_problem};
use crate::mix::{DEFAULT_STATUS, MixError, Route};

impl Reader<'_> {
    pub(super) fn route(&self, route: &RouteFile) -> Result<Route, MixError> {
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
}
