//! What can be wrong, as found; said in words only when everything is known.

use super::cycle::Knot;
use crate::options::{Provide, WireTo};
use crate::param::{Need, TypeKey};

/// Problems with the position of the component that they are reported at.
pub(super) type Problems<'a> = Vec<(u32, Problem<'a>)>;

pub(super) enum Problem<'a> {
    Missing(&'a Need),
    /// Several providers of what one consumer wants one of.
    Ambiguous(&'a Need, &'a TypeKey),
    NeedsOptional(&'a Need, u32),
    /// The wire, and the component of its name if there is one.
    WrongWire(&'a WireTo, Option<u32>),
    UnusedWire(&'a WireTo),
    ForeignHandle,
    WrongProvide(&'a Provide),
    EmptyName,
    /// The first component of the same name.
    DoubledName(u32),
    /// All providers that nothing tells apart, with the type as they provide it.
    DoubledType(Vec<u32>, &'static str, Option<&'static str>),
    /// A time limit of the component.
    ZeroTimeout(&'static str),
    NoAttempt,
    /// A setting of the graph: whether it is a time, what is wrong and what to do.
    Setting(bool, String, &'static str),
    Cycle(Knot),
}
