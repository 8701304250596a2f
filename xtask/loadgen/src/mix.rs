//! Which requests are sent, how often each, and which answers are right: a mix, read from TOML.

use std::path::Path;
use std::time::Duration;

use crate::Target;

/// The requests of a run, with their weights and what is expected of the answers.
#[derive(Clone, Debug)]
pub struct Mix {}

/// A mix that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {}

/// A mix whose values are there: ready to write requests.
#[derive(Clone, Debug)]
pub struct Prepared {}

/// Writes requests of a mix one after another, from a seed.
#[derive(Debug)]
pub struct Picker<'a> {
    _mix: &'a Prepared,
}

/// Whether an answer is what the mix expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is.
    Fine,
    /// Another status.
    Status,
    /// Another body.
    Body,
}

impl Mix {
    /// One `GET` of the target's own path, any status below 400 expected.
    pub fn get(_path: &str) -> Self {
        todo!()
    }
    /// Reads a mix; files that it names are found relative to `folder`.
    ///
    /// # Errors
    /// Names the key and what is wrong.
    pub fn parse(_text: &str, _folder: &Path) -> Result<Self, MixError> {
        todo!()
    }
    /// Adds a header to each request: `Authorization`, say.
    #[must_use]
    pub fn with_header(self, _name: &str, _value: &str) -> Self {
        todo!()
    }
    /// Fetches the values that the mix takes from the target itself.
    ///
    /// # Errors
    /// If the target does not answer, or not with values.
    pub fn prepare(&self, _target: &Target, _timeout: Duration) -> Result<Prepared, MixError> {
        todo!()
    }
}

impl Prepared {
    /// Names of the routes, in the order of their numbers.
    pub fn routes(&self) -> Vec<String> {
        todo!()
    }
    /// The same seed picks the same requests.
    pub fn picker(&self, _seed: u64) -> Picker<'_> {
        todo!()
    }
    /// Whether the answer to a request of `route` is one to a `HEAD`: without a body whatever its head says.
    pub fn is_head(&self, _route: usize) -> bool {
        todo!()
    }
    /// Whether [`Prepared::check`] looks at the body; otherwise it need not be kept.
    pub fn reads_body(&self, _route: usize) -> bool {
        todo!()
    }
    /// Compares an answer with what the mix expects of `route`.
    pub fn check(&self, _route: usize, _status: u16, _body: &[u8]) -> Check {
        todo!()
    }
}

impl Picker<'_> {
    /// Appends one whole HTTP/1.1 request to `out` and returns the number of its route. Does not allocate once `out`
    /// has grown.
    pub fn next(&mut self, _out: &mut Vec<u8>) -> usize {
        todo!()
    }
}
