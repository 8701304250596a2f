//! The ways to start the parts of a shape, ours and its peers, each as its documentation says is fastest. All build what
//! they need from the same [`Shape`] and keep the order that it asks for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::parts::Body;
use crate::shapes::Shape;
use crate::{ours, peers};

/// How long the phases of a start took; what a subject does not know is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    /// From a shape to what can be started.
    pub(crate) build: Duration,
    /// That it fits together and has no cycle.
    pub(crate) check: Option<Duration>,
    /// Until every part has run. What is checked again meanwhile is part of it.
    pub(crate) run: Duration,
    pub(crate) report: Option<Duration>,
    pub(crate) stop: Option<Duration>,
}

/// One way to start parts.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// As peers are labelled; ours is the first of [`WAYS`].
    pub(crate) label: &'static str,
    pub(crate) start: fn(Arc<Shape>, Body) -> Starting,
    /// Whether it can do this shape at all.
    pub(crate) can: fn(&Shape) -> bool,
}

pub(crate) type Starting = Pin<Box<dyn Future<Output = Took> + Send>>;

macro_rules! way {
    ($label:literal, $start:path, $can:expr) => {
        Way {
            label: $label,
            start: |shape, body| Box::pin(async move { $start(&shape, &body).await }),
            can: $can,
        }
    };
}

/// Ours with every phase that it has.
pub(crate) const OURS: Way = way!("Graph", ours::start, |_| true);

/// Ours with the phases that peers have too.
pub(crate) const OURS_ONLY_START: Way = way!("Graph", ours::only_start, |_| true);

/// The peers; `floor:` does less than the job, as it starts one part at a time.
pub(crate) const PEERS: [Way; 5] = [
    way!("floor:one after another", peers::one_after_another, |_| {
        true
    }),
    way!("JoinSet by hand", peers::join_set, |_| true),
    way!("petgraph FuturesUnordered", peers::petgraph, |_| true),
    // Dependencies are tuples of up to eight.
    way!("dagx", peers::dagx, |shape| shape.needs_max() <= 3),
    // Its time grows with the square of what one part needs or is needed by, half a minute at 100,000; and a million
    // parts take 4 GB.
    way!("dagrs", peers::dagrs, |shape| {
        shape.widest() <= 10_000 && shape.parts() <= 100_000
    }),
];

/// A barrier after each layer, as many start-ups are written.
pub(crate) const LAYERS: Way = way!("JoinSet by layer", peers::join_set_by_layer, |_| true);
