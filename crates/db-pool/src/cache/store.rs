//! Where results can be shared with other processes, as bytes.

use std::fmt;
use std::time::Duration;

use futures_core::future::BoxFuture;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::config::LONGEST;

/// Why a store could not answer.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// A place for results that several processes share, say Redis; used behind the memory of each process.
///
/// The cache never trusts it: what a store returns carries the moment at which it was read, and is dropped if a table
/// behind it was written since. A store that fails or is slow costs `store_timeout` at most, and the database is read.
pub trait ResultStore: Send + Sync + 'static {
    /// What was put under `key`; `None` if there is nothing or it has expired.
    ///
    /// # Errors
    /// Whatever keeps the store from answering; counted, and the database is read instead.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Keeps `value` under `key` for at most `ttl`.
    ///
    /// # Errors
    /// Whatever keeps the store from doing so; counted and otherwise ignored.
    fn put<'a>(
        &'a self,
        key: &'a [u8],
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A store in memory: shares results between several pools of one process, and shows what a store has to do.
pub struct MemoryResultStore {
    entries: Cache<Box<[u8]>, (Instant, Vec<u8>)>,
}

impl MemoryResultStore {
    /// Keeps at most `max_entries` results.
    pub fn new(max_entries: usize) -> Self {
        Self {
            entries: Cache::new(max_entries),
        }
    }
}

impl ResultStore for MemoryResultStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let found = self.entries.get(key);
        let alive = found.filter(|(expires, _)| Instant::now() < *expires);
        Box::pin(std::future::ready(Ok(alive.map(|(_, value)| value))))
    }

    fn put<'a>(
        &'a self,
        key: &'a [u8],
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.entries
            .insert(key.into(), (Instant::now() + ttl.min(LONGEST), value));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl fmt::Debug for MemoryResultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryResultStore")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// What lies in a store: the rows, and when their query was sent, in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Envelope<R> {
    format: u8,
    read_at: u64,
    rows: R,
}

/// `None` if the rows cannot be encoded.
pub(super) fn encode<U: Serialize>(rows: &[U], read_at: u64) -> Option<Vec<u8>> {
    let format = FORMAT;
    postcard::to_allocvec(&Envelope {
        format,
        read_at,
        rows,
    })
    .ok()
}

/// The rows and when they were read; `None` for what another version of the program has put.
pub(super) fn decode<U: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<(Vec<U>, u64)> {
    let (envelope, rest): (Envelope<Vec<U>>, _) = postcard::take_from_bytes(bytes).ok()?;
    (envelope.format == FORMAT && rest.is_empty()).then_some((envelope.rows, envelope.read_at))
}

/// Changes with the layout of the envelope.
const FORMAT: u8 = 1;
