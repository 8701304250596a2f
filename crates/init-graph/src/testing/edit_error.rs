//! What is wrong with a change that a test makes to a graph.

use std::any::type_name;
use std::error::Error;
use std::fmt;
use std::panic::Location;

use crate::error::GraphError;
use crate::wiring::names::type_label;

/// A change to a graph that cannot be made; it names the place of the call and the way out.
#[derive(Debug)]
pub struct EditError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: EditErrorKind,
    text: String,
    at: &'static Location<'static>,
    source: Option<GraphError>,
}

/// In what way a change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// Nobody provides the type, or there is no component of the name.
    Missing,
    /// Several provide the type and none of them is the one without a name.
    Ambiguous,
    /// The component, or what was to replace it, makes another type.
    OtherType,
    /// A value or a mere point in the order has no initialiser where a fault could happen.
    NoInitialiser,
    /// The graph does not fit together; the source says why.
    Wiring,
}

impl EditError {
    /// In what way the change cannot be made.
    pub fn kind(&self) -> EditErrorKind {
        self.0.kind
    }

    /// The call that wanted the change.
    pub fn place(&self) -> &'static Location<'static> {
        self.0.at
    }

    fn new(kind: EditErrorKind, at: &'static Location<'static>, text: String) -> Self {
        Self(Box::new(Inner {
            kind,
            text,
            at,
            source: None,
        }))
    }

    pub(super) fn missing<T: ?Sized>(at: &'static Location<'static>, provided: &[String]) -> Self {
        let wanted = type_label(type_name::<T>());
        let mut text = format!("nothing provides `{wanted}`");
        if !provided.is_empty() {
            text.push_str("; there are ");
            text.push_str(&provided.join(", "));
        }
        text.push_str("\n  help: name the type that the consumers take, not that of the fake");
        Self::new(EditErrorKind::Missing, at, text)
    }

    pub(super) fn no_such_name(at: &'static Location<'static>, name: &str) -> Self {
        let text = format!(
            "there is no component named `{name}`\n  help: names are those given by `named`, or the functions' own"
        );
        Self::new(EditErrorKind::Missing, at, text)
    }

    pub(super) fn ambiguous<T: ?Sized>(
        at: &'static Location<'static>,
        names: &[String],
        way_out: &str,
    ) -> Self {
        let wanted = type_label(type_name::<T>());
        let text = format!(
            "{} components provide `{wanted}`: {}\n  help: {way_out}",
            names.len(),
            names.join(", ")
        );
        Self::new(EditErrorKind::Ambiguous, at, text)
    }

    pub(super) fn other_type<T: ?Sized>(
        at: &'static Location<'static>,
        who: &str,
        makes: Option<&'static str>,
    ) -> Self {
        let wanted = type_label(type_name::<T>());
        let makes = makes.map_or_else(
            || "nothing".to_owned(),
            |makes| format!("`{}`", type_label(makes)),
        );
        let text = format!("{who} makes {makes}, not `{wanted}`");
        Self::new(EditErrorKind::OtherType, at, text)
    }

    pub(super) fn no_initialiser(at: &'static Location<'static>, name: &str) -> Self {
        let text = format!("`{name}` runs nothing, so nothing can happen to it");
        Self::new(EditErrorKind::NoInitialiser, at, text)
    }

    pub(super) fn wiring(at: &'static Location<'static>, error: GraphError) -> Self {
        let mut made = Self::new(
            EditErrorKind::Wiring,
            at,
            "the graph does not fit together".to_owned(),
        );
        made.0.source = Some(error);
        made
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { text, at, .. } = &*self.0;
        write!(f, "{text}\n  asked for at {}:{}", at.file(), at.line())
    }
}

impl Error for EditError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|error| error as _)
    }
}
