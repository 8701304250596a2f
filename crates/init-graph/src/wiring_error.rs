//! Every way in which components can fail to fit together, each with the places to look at and what to change.

use std::error::Error;
use std::fmt;

/// All wiring errors of a graph at once; `Display` prints each with its places and a way out.
#[derive(Clone, Debug)]
pub struct WiringErrors {
    errors: Box<[WiringError]>,
}

impl WiringErrors {
    pub(crate) fn new(errors: Vec<WiringError>) -> Self {
        Self {
            errors: errors.into(),
        }
    }

    /// The errors, in the order in which the components were added; at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, WiringError> {
        self.errors.iter()
    }
}

impl<'a> IntoIterator for &'a WiringErrors {
    type Item = &'a WiringError;
    type IntoIter = std::slice::Iter<'a, WiringError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for WiringErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => {}
            count => writeln!(f, "{count} wiring errors")?,
        }
        for (position, error) in self.errors.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for WiringErrors {}

/// One reason why the components do not fit together.
#[derive(Clone, Debug)]
pub struct WiringError {
    kind: WiringErrorKind,
    text: String,
    nodes: Box<[String]>,
}

impl WiringError {
    pub(crate) fn new(kind: WiringErrorKind, text: String, nodes: Vec<String>) -> Self {
        Self {
            kind,
            text,
            nodes: nodes.into(),
        }
    }

    /// The names of the nodes that it is about: of a cycle every member, each before the one that it depends on; of
    /// what is doubled every provider; otherwise first the one at fault, and where it has to choose the first eight
    /// among which. Empty for settings of the graph.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// What sort of error this is.
    pub fn kind(&self) -> WiringErrorKind {
        self.kind
    }
}

impl fmt::Display for WiringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for WiringError {}

/// The sorts of [`WiringError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WiringErrorKind {
    /// A parameter's type, or a name given to `after` or `wire`, has no provider.
    Missing,
    /// Several nodes provide the same type and nothing tells them apart, in general or for one consumer.
    DuplicateType,
    /// Two nodes were given the same name.
    DuplicateName,
    /// A name is empty, or nothing but white space.
    EmptyName,
    /// Components wait for each other, or one for itself.
    Cycle,
    /// A component that must start needs one that may fail.
    NeedsOptional,
    /// A choice by `wire` that the named node cannot meet, or that no parameter goes by.
    WrongWire,
    /// A view by `provide` of a type that the component does not make.
    WrongProvide,
    /// A handle of another graph.
    ForeignHandle,
    /// A time limit of zero, which nothing can meet.
    ZeroTimeout,
    /// A number of attempts, a limit of a class or a concurrency of zero, with which nothing can run.
    ZeroLimit,
    /// A start that is to return at something that is no milestone.
    NoMilestone,
}
