#![doc = include_str!("../README.md")]

// What a user writes.
mod class;
mod component;
mod condition;
mod declared;
mod graph;
mod handles;
mod into_component;
mod options;
mod policy;
mod retry;
mod settings;

// What an initialiser takes.
mod all;
mod context;
mod dep;
mod failure;
mod lazy;
mod live;
mod param;

// For tests of graphs.
#[cfg(feature = "testing")]
pub mod testing;

// What a user gets.
mod error;
mod event;
mod history;
mod plan;
mod render;
mod report;
mod restart;
mod run_until;
mod running;
#[cfg(feature = "signals")]
mod signals;
mod wiring_error;

// How a graph is checked, before anything runs.
mod wiring;

// How it runs and stops.
mod core;
mod exec;
mod guard;
mod life;
mod observers;
mod rank;
mod run;
mod stop;
mod telemetry;
mod values;
mod waiting;

pub use crate::class::Class;
pub use crate::component::{Component, ComponentId, Target};
pub use crate::condition::IntoCondition;
pub use crate::graph::Graph;
pub use crate::into_component::{IntoBlocking, IntoComponent};
pub use crate::policy::Policy;
pub use crate::retry::Retry;

pub use crate::all::All;
pub use crate::context::Context;
pub use crate::dep::{After, Dep};
pub use crate::failure::Failure;
pub use crate::lazy::{Lazy, LazyError};
pub use crate::live::Live;
pub use crate::param::Param;

pub use crate::history::{History, PastNode, PastRun};
pub use crate::plan::{Edge, EdgeKind, Node, NodeId, Plan};
pub use crate::report::{Comparison, NodeReport, Outcome, Report, Slower, StopReport};
pub use crate::restart::{RestartError, RestartReport};
pub use crate::run_until::{RunError, RunFailure};
pub use crate::running::{Handle, Running};

pub use crate::event::{Event, Observer};

pub use crate::error::{BoxError, Cause, GraphError, NodeError, Result, StartError, StopError};
pub use crate::wiring_error::{WiringError, WiringErrorKind, WiringErrors};

#[cfg(feature = "history")]
pub use crate::history::HistoryError;

#[cfg(feature = "macros")]
#[doc(inline)]
pub use init_graph_macros::{Deps, component};

/// For the code that the macros write; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::class::Class;
    pub use crate::component::Component;
    pub use crate::condition::Made;
    pub use crate::declared::{
        Declaration, Declared, IntoError, Mistaken, Outcome, Parameter, Returned, outcome,
        parameter,
    };
    pub use crate::param::sealed::Sealed;
    pub use crate::param::{Fetch, Needs, Param};
    pub use crate::retry::Retry;
}
