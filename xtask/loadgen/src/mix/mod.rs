//! Which requests are sent, how often each, and which answers are right: a mix, read from TOML.

mod file;
mod picker;
mod prepare;
pub(crate) mod sampler;
mod template;
mod values;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::template::Template;
use self::values::Values;
use crate::Target;

pub use picker::{Check, Picker, Prepared};

/// The requests of a run, with their weights and what is expected of the answers.
#[derive(Clone, Debug)]
pub struct Mix {
    routes: Vec<Route>,
    values: Vec<Values>,
    headers: Vec<(String, String)>,
}

/// A mix that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// It is not TOML, or a key is unknown, missing or of another type.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Line of the file, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A value that cannot be used.
    #[error("line {line}: {key} = {value}: {problem}")]
    Value {
        /// Line of the file, from 1.
        line: usize,
        /// The key with the tables around it.
        key: String,
        /// Its value, shortened.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A header given beside the mix that cannot be sent.
    #[error("header {name}: {problem}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of values that cannot be read.
    #[error("values.{name}: cannot read {}", path.display())]
    File {
        /// Name of the values.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Values that the target did not give.
    #[error("values.{name}: GET {path}: {problem}")]
    Fetch {
        /// Name of the values.
        name: String,
        /// What was asked.
        path: String,
        /// What came instead.
        problem: String,
    },
    /// Values that are there and cannot be sent.
    #[error("values.{name}: {problem}")]
    Unfit {
        /// Name of the values.
        name: String,
        /// What is wrong with them.
        problem: String,
    },
}

/// One kind of request.
#[derive(Clone, Debug)]
struct Route {
    name: String,
    weight: f64,
    method: String,
    path: Template,
    headers: Vec<(String, Template)>,
    body: Option<Template>,
    status: Vec<RangeInclusive<u16>>,
    contains: Option<String>,
}

impl Mix {
    /// One `GET` of the target's own path, any status below 400 expected.
    pub fn get(path: &str) -> Self {
        Self {
            routes: vec![Route {
                name: "get".to_owned(),
                weight: 1.0,
                method: "GET".to_owned(),
                path: Template::literal(path),
                headers: Vec::new(),
                body: None,
                status: vec![DEFAULT_STATUS],
                contains: None,
            }],
            values: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Reads a mix; files that it names are found relative to `folder`.
    ///
    /// # Errors
    /// Names the line, the key and what is wrong.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, MixError> {
        file::parse(text, folder)
    }

    /// Adds a header to each request, `Authorization`, say, instead of one of this name that the mix has. The value is
    /// sent as it is, without placeholders. One that cannot be sent is an error of [`Mix::prepare`].
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names of the routes, in the order of their numbers.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| &*route.name)
    }

    /// Fetches the values that the mix takes from the target itself and writes down all that does not change.
    ///
    /// # Errors
    /// If the target does not answer, or not with values; if a header cannot be sent.
    pub fn prepare(&self, target: &Target, timeout: Duration) -> Result<Prepared, MixError> {
        prepare::prepare(self, target, timeout)
    }
}

const DEFAULT_STATUS: RangeInclusive<u16> = 100..=399;
