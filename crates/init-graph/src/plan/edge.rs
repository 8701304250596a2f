//! The edges of a plan: who waits for whom, and what for.

use crate::param::Kind;
use crate::plan::NodeId;

/// One edge of a [`Plan`](crate::Plan); it points the way that values go, which is the way of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Edge {
    /// The dependency.
    pub from: NodeId,
    /// The dependent.
    pub to: NodeId,
    /// What `to` wants of `from`.
    pub kind: EdgeKind,
}

/// What a dependent wants of its dependency; the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EdgeKind {
    /// The value, without which it is skipped: [`Dep`](crate::Dep), and [`needs`](crate::Component::needs).
    Hard,
    /// The value, in its latest version: [`Live`](crate::Live).
    Live,
    /// The value or why there is none: `Result<Dep<T>, Failure>`.
    Outcome,
    /// The value if there is one: `Option<Dep<T>>`.
    Soft,
    /// The value as one of many: [`All`](crate::All).
    All,
    /// Only the order: [`After`](crate::After), and [`after`](crate::Component::after).
    Order,
    /// The value when it asks for it, which no start waits for: [`Lazy`](crate::Lazy).
    Lazy,
}

impl EdgeKind {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Hard => Self::Hard,
            Kind::Live => Self::Live,
            Kind::Outcome => Self::Outcome,
            Kind::Soft => Self::Soft,
            Kind::All => Self::All,
            Kind::Order => Self::Order,
            Kind::Lazy => Self::Lazy,
        }
    }

    /// One word for it, as in [`Plan::to_json`](crate::Plan): `hard`, `live`, `outcome`, `soft`, `all`, `order`, `lazy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Live => "live",
            Self::Outcome => "outcome",
            Self::Soft => "soft",
            Self::All => "all",
            Self::Order => "order",
            Self::Lazy => "lazy",
        }
    }
}
