//! A loader whose batches are queries on a lane.

use std::error::Error;
use std::future::Future;
use std::hash::Hash;

use diesel::QueryResult;

use super::{Loader, LoaderOptions};
use crate::backend::Backend;
use crate::lane::Lane;
use crate::pool::Pool;
use crate::url::BackendKind;

impl<B: Backend> Pool<B> {
    /// A loader whose `fetch` gets a lane and keys, and returns the rows that it finds as pairs of key and value.
    ///
    /// ```ignore
    /// let names = pool.loader(async |lane: &mut Lane<Postgres>, ids: Vec<i32>| {
    ///     users::table.filter(users::id.eq_any(ids)).select((users::id, users::name)).load(lane).await
    /// });
    /// let name: Option<String> = names.load_one(7).await?;
    /// ```
    ///
    /// It keeps the pool alive. See [`LoaderOptions`] for its bounds.
    pub fn loader<K, V, R, F>(&self, fetch: F) -> Loader<K, V>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        R: IntoIterator<Item = (K, V)> + Send + 'static,
        for<'r> F: AsyncFnOnce(&'r mut Lane<B>, Vec<K>) -> QueryResult<R>
            + AsyncFetch<&'r mut Lane<B>, Vec<K>, QueryResult<R>, Fut: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.loader_with(LoaderOptions::default(), fetch)
    }

    /// The same with other bounds, or with a memo.
    pub fn loader_with<K, V, R, F>(&self, mut options: LoaderOptions, fetch: F) -> Loader<K, V>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        R: IntoIterator<Item = (K, V)> + Send + 'static,
        for<'r> F: AsyncFnOnce(&'r mut Lane<B>, Vec<K>) -> QueryResult<R>
            + AsyncFetch<&'r mut Lane<B>, Vec<K>, QueryResult<R>, Fut: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        if B::KIND == BackendKind::Sqlite {
            options.batch_max = options.batch_max.min(SQLITE_VALUES);
        }
        let pool = self.clone();
        Loader::new(options, move |keys| {
            let (pool, fetch) = (pool.clone(), fetch.clone());
            async move {
                let mut lane = pool.read().await.map_err(boxed)?;
                fetch(&mut lane, keys).await.map_err(boxed)
            }
        })
    }
}

fn boxed(error: impl Error + Send + Sync + 'static) -> Box<dyn Error + Send + Sync> {
    Box::new(error)
}

/// An async closure of two arguments whose future can be named, and so be required to be `Send`; every fitting closure
/// implements it.
pub trait AsyncFetch<A, K, R>:
    AsyncFnOnce(A, K) -> R + FnOnce(A, K) -> <Self as AsyncFetch<A, K, R>>::Fut
{
    /// The future that the closure returns.
    type Fut: Future<Output = R>;
}

impl<F, A, K, Fut, R> AsyncFetch<A, K, R> for F
where
    F: AsyncFnOnce(A, K) -> R + FnOnce(A, K) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// SQLite takes 32,766 values in a statement; some are left for what else the query asks.
const SQLITE_VALUES: usize = 30_000;
