//! Measuring HTTP requests: the layer, the table it records into and the admin router.

mod body;
mod endpoint;
mod guard;
mod histogram;
mod layer;
mod method;
#[cfg(feature = "axum")]
mod router;
mod store;

pub use body::PerfBody;
pub use layer::{PerfFuture, PerfLayer, PerfService, RouteName};
#[cfg(feature = "axum")]
pub use router::router;

pub(crate) use store::Store;
