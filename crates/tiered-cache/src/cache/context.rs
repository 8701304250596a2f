//! What a loader is told, and how loaders are held.

use std::{fmt, future::Future, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use crate::{cached::Cached, error::BoxError, policy::Loaded};

/// What a loader may want to know of the load that it is called for.
#[non_exhaustive]
pub struct LoadContext<K, V> {
    /// The key that is asked for.
    pub key: K,
    /// The value that the cache still holds, past its time; a loader that finds it unchanged returns
    /// [`Loaded::not_modified`].
    pub stale: Option<Cached<V>>,
    /// The ETag or modification time that came with `stale`.
    pub validator: Option<String>,
    /// When the load is dropped at the latest.
    pub deadline: Instant,
}

/// A loader for one call.
pub(crate) type Load<K, V> =
    Box<dyn FnOnce(LoadContext<K, V>) -> BoxFuture<'static, Result<Loaded<V>, BoxError>> + Send>;

/// The loader that is registered with a cache.
pub(crate) type Loader<K, V> = Arc<
    dyn Fn(K, LoadContext<K, V>) -> BoxFuture<'static, Result<Loaded<V>, BoxError>> + Send + Sync,
>;

/// A closure that takes the context, as one shape for all.
pub(crate) fn load_of<K, V, F, Fut, R, E>(loader: F) -> Load<K, V>
where
    F: FnOnce(LoadContext<K, V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Loaded<V>>,
    E: Into<BoxError>,
{
    Box::new(move |context| answer_of(loader(context)))
}

/// The answer of a loader's future, as one type for all.
pub(crate) fn answer_of<V, Fut, R, E>(load: Fut) -> BoxFuture<'static, Result<Loaded<V>, BoxError>>
where
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Loaded<V>>,
    E: Into<BoxError>,
{
    load.map(|answer| answer.map(Into::into).map_err(Into::into))
        .boxed()
}

impl<K: fmt::Debug, V> fmt::Debug for LoadContext<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadContext")
            .field("key", &self.key)
            .field("has_stale", &self.stale.is_some())
            .field("validator", &self.validator)
            .finish_non_exhaustive()
    }
}
