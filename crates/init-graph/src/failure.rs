//! Why a component is not there, for those who wanted it: shared, since several may ask.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::Cause;

/// Why a component fell away: it failed, was skipped or was given up; a cheap clone.
///
/// A parameter of type `Result<Dep<T>, Failure>` sees it when the provider is optional or the policy goes on.
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

struct Inner {
    name: Cow<'static, str>,
    why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    Failed(Arc<Cause>),
    /// A dependency of it fell away, with this failure at the root.
    Behind(Failure),
    /// Its condition was false.
    Condition,
    /// The start was given up, or the graph has stopped.
    GivenUp,
    /// There is no component of that name.
    Unknown,
}

impl Failure {
    pub(crate) fn new(name: Cow<'static, str>, why: Why) -> Self {
        let why = match why {
            // Straight to the root: a chain would grow with the graph, and so would the way along it.
            Why::Behind(failure) => Why::Behind(failure.root().clone()),
            why => why,
        };
        Self(Arc::new(Inner { name, why }))
    }

    /// The name of the component that is not there.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The failure at the root: this one, or that of the dependency that took this component with it.
    pub fn root(&self) -> &Self {
        match &self.0.why {
            Why::Behind(failure) => failure.root(),
            _ => self,
        }
    }

    /// In what way the component at the root failed; `None` when it did not fail but was skipped by its condition or
    /// given up.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.root().0.why {
            Why::Failed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether nothing failed: the condition at the root was false.
    pub fn is_condition(&self) -> bool {
        matches!(self.root().0.why, Why::Condition)
    }

    /// Whether there is no component of that name at all, as [`Handle::reached`](crate::Handle::reached) may tell.
    pub fn is_unknown(&self) -> bool {
        matches!(self.0.why, Why::Unknown)
    }

    /// The reason as a clause about the component at the root: "`cache` failed".
    pub(crate) fn clause(&self) -> String {
        let name = &self.root().0.name;
        match &self.root().0.why {
            Why::Failed(_) | Why::Behind(_) => format!("`{name}` failed"),
            Why::Condition => format!("the condition of `{name}` is false"),
            Why::GivenUp => "the start was given up".to_owned(),
            Why::Unknown => format!("there is no `{name}`"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.0.name;
        match &self.0.why {
            Why::Failed(cause) => match &**cause {
                Cause::Failed(_) => write!(f, "`{name}` failed"),
                cause => write!(f, "`{name}` {cause}"),
            },
            Why::Behind(failure) => {
                write!(f, "`{name}` was skipped because {}", failure.clause())
            }
            Why::Condition => write!(f, "`{name}` was skipped: its condition is false"),
            Why::GivenUp => write!(f, "`{name}` was given up: the graph is stopping"),
            Why::Unknown => write!(f, "there is no component or milestone `{name}`"),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("name", &self.0.name)
            .field("why", &self.0.why)
            .finish()
    }
}

impl Error for Failure {
    /// The error that the component at the root returned.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cause()? {
            Cause::Failed(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
