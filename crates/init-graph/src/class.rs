//! Classes of components: which of them share a limit on how many initialise at once.

use std::borrow::Cow;
use std::fmt;

/// A group of components that share a limit, set by [`Graph::limit`](crate::Graph::limit).
///
/// A class is known by its name alone, so two classes of one name are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class(Cow<'static, str>);

impl Class {
    /// Components that mostly wait; the default, without a limit.
    pub const IO: Self = Self(Cow::Borrowed("io"));
    /// Components that mostly compute; by default as many at once as the machine runs in parallel.
    pub const CPU: Self = Self(Cow::Borrowed("cpu"));
    /// Components that block a thread of their own; by default 64 at once.
    pub const BLOCKING: Self = Self(Cow::Borrowed("blocking"));

    /// A class of one's own; without a limit until it is given one.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Default for Class {
    fn default() -> Self {
        Self::IO
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
