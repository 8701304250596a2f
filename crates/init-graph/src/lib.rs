#![doc = include_str!("../README.md")]

// What a user touches.
mod component;
mod context;
mod declared;
mod dep;
mod error;
mod event;
mod graph;
mod param;
mod plan;
mod render;
mod report;
mod running;
mod wiring_error;

// How a graph is checked, before anything runs.
mod csr;
mod cycle;
mod diagnose;
mod names;
mod wiring;

// How it runs.
mod core;
mod guard;
mod observers;
mod run;
mod start;
mod starter;
mod stop;
mod telemetry;
mod walk;

pub use crate::component::{Component, IntoComponent};
pub use crate::context::Context;
pub use crate::dep::{After, Dep};
pub use crate::graph::Graph;
pub use crate::param::Param;
pub use crate::running::Running;

pub use crate::event::{Event, Observer};
pub use crate::plan::{Node, NodeId, Plan};
pub use crate::report::{NodeReport, Outcome, Report, StopReport};

pub use crate::error::{BoxError, Cause, GraphError, NodeError, Result, StartError, StopError};
pub use crate::wiring_error::{WiringError, WiringErrorKind, WiringErrors};

#[cfg(feature = "macros")]
#[doc(inline)]
pub use init_graph_macros::component;

/// For the code that `#[component]` writes; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::component::Component;
    pub use crate::declared::{Declaration, Declared};
    pub use crate::param::{Fetch, Needs, is_parameter};
}
