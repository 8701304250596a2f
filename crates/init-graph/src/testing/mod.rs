//! For tests of graphs: fakes in place of components, scripted components, faults at every node, virtual time and a log
//! of events that proves how a run went. Feature `testing`.
//!
//! A test builds the graph of the service, changes it and runs it on a paused clock:
//!
//! ```
//! use init_graph::testing::{self, EventLog};
//! use init_graph::{BoxError, Dep, Graph, Result};
//!
//! struct Database(&'static str);
//! struct Api(String);
//!
//! fn service() -> Graph {
//!     let mut graph = Graph::new();
//!     graph.add(async || Err::<Database, BoxError>("no database in tests".into()));
//!     graph.add(async |db: Dep<Database>| Ok::<_, BoxError>(Api(format!("on {}", db.0))));
//!     graph
//! }
//!
//! # fn main() -> Result<()> {
//! testing::run(async {
//!     let mut graph = service();
//!     graph.replace::<Database>(Database("a fake"))?;
//!     let log = EventLog::new();
//!     graph.observe(log.clone());
//!     let running = graph.start().await?;
//!     assert_eq!(running.get::<Api>().map(|api| api.0.clone()), Some("on a fake".into()));
//!     running.shutdown().await?;
//!     log.verify()?;
//!     log.assert_started_before("Database", "Api");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! | for | there is |
//! |---|---|
//! | fakes | [`Graph::replace`](crate::Graph::replace), [`Graph::replace_with`](crate::Graph::replace_with), [`Graph::decorate`](crate::Graph::decorate) |
//! | a part of the graph | [`Graph::only`](crate::Graph::only) |
//! | a component that does what the test says, step by step | [`Script`] |
//! | a fault at one place | [`Graph::inject`](crate::Graph::inject) with a [`Fault`] |
//! | a fault at every place in turn | [`each_fault`] |
//! | virtual time | [`run`] |
//! | what happened, and whether it was in order | [`EventLog`] |

mod contract;
mod each_fault;
mod edit;
mod edit_error;
mod event_log;
mod fault;
mod inject;
mod only;
mod recorded;
mod script;
mod virtual_time;

pub use self::contract::Violations;
pub use self::each_fault::{Case, Summary, Trial, each_fault};
pub use self::edit_error::{EditError, EditErrorKind};
pub use self::event_log::{Entry, EventLog};
pub use self::fault::{Fault, Injected, InjectedError};
pub use self::recorded::{Recorded, What};
pub use self::script::Script;
pub use self::virtual_time::run;
