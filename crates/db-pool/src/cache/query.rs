//! `pool.cached(query)`: what a cached read says about itself, and how it is answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::query_builder::{AsQuery, QueryFragment};
use diesel_async::AsyncConnectionCore;
use diesel_async::methods::LoadQuery;
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::config::{CacheError, IntoDuration};
use super::flight::Seat;
use super::key::KeyBuilder;
use super::knowledge::tables_of;
use super::ledger::{Stamps, unix_now};
use super::results::{Found, Lifetime, Results};
use super::store;
use super::tokens::normal;
use crate::backend::Backend;
use crate::lane::Lane;
use crate::pool::Pool;
use crate::scope::Scope;

/// What the queries of a backend are made of.
type Db<B> = <<B as Backend>::Connection as AsyncConnectionCore>::Backend;

/// A read through the query cache; made by [`Pool::cached`].
#[must_use = "nothing is read before `load`, `first` or `optional`"]
pub struct CachedQuery<'a, B: Backend, Q> {
    pool: &'a Pool<B>,
    query: Q,
    asked: Asked,
    problem: Option<CacheError>,
}

/// The same, answered with an outdated result while a fresh one is fetched; made by [`CachedQuery::swr`].
#[must_use = "nothing is read before `load`, `first` or `optional`"]
pub struct RefreshedQuery<'a, B: Backend, Q>(CachedQuery<'a, B, Q>);

/// What the caller asked for.
struct Asked {
    lifetime: Lifetime,
    /// Declared by hand.
    tables: Option<Vec<Box<str>>>,
    parts: Vec<String>,
    bypass: bool,
}

impl<B: Backend> Pool<B> {
    /// Reads through the query cache: `pool.cached(query).ttl("5m").load::<Row>().await?`.
    ///
    /// A result is used until its TTL ends or a table behind it is written through this pool, whichever comes first;
    /// with a bus in [`QueryCacheConfig`](crate::QueryCacheConfig) also when another process writes it. A read never
    /// returns a value older than a write through this pool that completed before the read began. Reads inside a
    /// [`Scope`] that has an open transaction which wrote bypass the cache.
    ///
    /// Which tables are behind a query is read from its SQL and the schema: views, partitions and cascades are
    /// followed. What is not understood is asked of the database each time.
    pub fn cached<Q: AsQuery>(&self, query: Q) -> CachedQuery<'_, B, Q::Query> {
        let results = self.results();
        CachedQuery {
            pool: self,
            query: query.as_query(),
            asked: Asked {
                lifetime: Lifetime {
                    ttl: results.config.ttl,
                    negative: None,
                    swr: Duration::ZERO,
                },
                tables: None,
                parts: Vec::new(),
                bypass: false,
            },
            problem: None,
        }
    }
}

impl<'a, B: Backend, Q> CachedQuery<'a, B, Q> {
    /// How long the result is good, as a `Duration` or as text such as `"5m"`; give or take a tenth.
    ///
    /// Text that is no duration shows as the error of the load.
    pub fn ttl(mut self, ttl: impl IntoDuration) -> Self {
        let ttl = self.duration(ttl);
        self.asked.lifetime.ttl = ttl.unwrap_or(self.asked.lifetime.ttl);
        self
    }

    /// How long a result without rows is good. Default: as any other.
    pub fn negative(mut self, ttl: impl IntoDuration) -> Self {
        self.asked.lifetime.negative = self.duration(ttl);
        self
    }

    /// For this long after the TTL the outdated result is returned at once, and one fresh one fetched in the
    /// background. A result that is older than a write is never returned.
    pub fn swr(mut self, more: impl IntoDuration) -> RefreshedQuery<'a, B, Q> {
        let more = self.duration(more);
        self.asked.lifetime.swr = more.unwrap_or_default();
        RefreshedQuery(self)
    }

    /// The tables that the result depends on, instead of those that its SQL names; for what SQL does not show, such as
    /// a function that reads.
    pub fn tables<T: AsRef<str>>(mut self, tables: impl IntoIterator<Item = T>) -> Self {
        let tables = tables.into_iter().map(|name| normal(name.as_ref()));
        self.asked.tables = Some(tables.collect());
        self
    }

    /// Keeps results apart that the SQL does not: a tenant, a role, a version of the row type.
    pub fn key_part(mut self, part: impl fmt::Display) -> Self {
        self.asked.parts.push(part.to_string());
        self
    }

    /// Whether to ask the database this time, and keep nothing.
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.asked.bypass = bypass;
        self
    }

    /// All rows.
    ///
    /// Of many callers that miss the same result one asks the database; if it is dropped, another does. Dropping the
    /// future is safe at any time.
    ///
    /// # Errors
    /// See [`CacheError`]. Errors are not kept.
    pub async fn load<'q, U>(self) -> Result<Arc<Vec<U>>, CacheError>
    where
        Q: QueryFragment<Db<B>> + LoadQuery<'q, Lane<B>, U> + Send + 'q,
        U: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let read = Read::new::<Q, U>(self.pool, &self.query, self.asked)?;
        match read.look() {
            Some(Found::Fresh(rows) | Found::Stale(rows)) => Ok(rows),
            None => read.ask(self.query).await,
        }
    }

    /// The first row; put a limit of one into a query that may find more.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`CacheError::is_not_found`] if there is none.
    pub async fn first<'q, U>(self) -> Result<U, CacheError>
    where
        Q: QueryFragment<Db<B>> + LoadQuery<'q, Lane<B>, U> + Send + 'q,
        U: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let first = self.optional().await?;
        first.ok_or(CacheError::Query(diesel::result::Error::NotFound))
    }

    /// The first row, or `None`; that there is none is kept as well.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn optional<'q, U>(self) -> Result<Option<U>, CacheError>
    where
        Q: QueryFragment<Db<B>> + LoadQuery<'q, Lane<B>, U> + Send + 'q,
        U: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Ok(self.load().await?.first().cloned())
    }

    fn duration(&mut self, duration: impl IntoDuration) -> Option<Duration> {
        match duration.into_duration() {
            Ok(duration) => Some(duration),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                None
            }
        }
    }
}

impl<B: Backend, Q> RefreshedQuery<'_, B, Q> {
    /// All rows; see [`CachedQuery::load`].
    ///
    /// # Errors
    /// As there. A refresh that fails is logged, and tried again by the next read.
    pub async fn load<U>(self) -> Result<Arc<Vec<U>>, CacheError>
    where
        Q: QueryFragment<Db<B>> + LoadQuery<'static, Lane<B>, U> + Send + 'static,
        U: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let Self(this) = self;
        if let Some(problem) = this.problem {
            return Err(problem);
        }
        let read = Read::new::<Q, U>(this.pool, &this.query, this.asked)?;
        match read.look() {
            Some(Found::Fresh(rows)) => Ok(rows),
            Some(Found::Stale(rows)) => {
                read.refresh(this.query);
                Ok(rows)
            }
            None => read.ask(this.query).await,
        }
    }

    /// The first row; see [`CachedQuery::first`].
    ///
    /// # Errors
    /// As there.
    pub async fn first<U>(self) -> Result<U, CacheError>
    where
        Q: QueryFragment<Db<B>> + LoadQuery<'static, Lane<B>, U> + Send + 'static,
        U: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let first = self.optional().await?;
        first.ok_or(CacheError::Query(diesel::result::Error::NotFound))
    }

    /// The first row, or `None`; see [`CachedQuery::optional`].
    ///
    /// # Errors
    /// As there.
    pub async fn optional<U>(self) -> Result<Option<U>, CacheError>
    where
        Q: QueryFragment<Db<B>> + LoadQuery<'static, Lane<B>, U> + Send + 'static,
        U: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Ok(self.load().await?.first().cloned())
    }
}

/// One cached read: its key is built, its query waits to be sent if need be.
struct Read<B: Backend> {
    pool: Pool<B>,
    results: Arc<Results>,
    key: KeyBuilder,
    sql: String,
    asked: Asked,
}

impl<B: Backend> Read<B> {
    fn new<Q, U>(pool: &Pool<B>, query: &Q, asked: Asked) -> Result<Self, CacheError>
    where
        Q: QueryFragment<Db<B>>,
    {
        let mut key = KeyBuilder::new::<U>();
        key.part(&asked.parts.len().to_le_bytes());
        for part in &asked.parts {
            key.part(part.as_bytes());
        }
        let sql = B::encode(query, &mut key)?;
        Ok(Self {
            pool: pool.clone(),
            results: Arc::clone(pool.results()),
            key,
            sql,
            asked,
        })
    }

    /// The result in memory.
    fn look<U: Send + Sync + 'static>(&self) -> Option<Found<U>> {
        if self.bypasses() {
            return None;
        }
        let found = self.results.get(self.key.bytes(), self.asked.lifetime);
        let counters = &self.results.ledger.counters;
        if let Some(found) = &found {
            counters.hits.add(1);
            if matches!(found, Found::Stale(_)) {
                counters.stale_hits.add(1);
            }
        }
        found
    }

    fn bypasses(&self) -> bool {
        self.asked.bypass
            || !self.results.is_usable()
            || Scope::current().is_some_and(|scope| scope.is_writing())
    }

    /// Asks the database, or waits for who does already.
    async fn ask<'q, Q, U>(self, query: Q) -> Result<Arc<Vec<U>>, CacheError>
    where
        Q: LoadQuery<'q, Lane<B>, U> + Send + 'q,
        U: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let counters = &self.results.ledger.counters;
        if self.bypasses() {
            counters.bypasses.add(1);
            return Ok(Arc::new(self.query(query).await?));
        }
        let key: Arc<[u8]> = self.key.bytes().into();
        let mut leader = None;
        // Who waits in vain, as the result could not be kept, asks by itself: a queue would be as slow as its length.
        for _ in 0..FLIGHTS {
            match self.results.flights.join(&key) {
                Seat::Leader(seat) => {
                    leader = Some(seat);
                    break;
                }
                Seat::Follower(seat) => seat.wait().await,
            }
            if let Some(Found::Fresh(rows) | Found::Stale(rows)) = self.look() {
                return Ok(rows);
            }
        }
        let rows = self.fetch(key, query).await;
        drop(leader);
        rows
    }

    /// Fetches a fresh result in the background, unless somebody does already.
    fn refresh<Q, U>(self, query: Q)
    where
        Q: LoadQuery<'static, Lane<B>, U> + Send + 'static,
        U: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let key: Arc<[u8]> = self.key.bytes().into();
        let results = Arc::clone(&self.results);
        if let Seat::Follower(_) = results.flights.join(&key) {
            return;
        }
        let runtime = self.pool.shared().runtime.clone();
        runtime.spawn(async move {
            let Seat::Leader(_leader) = results.flights.join(&key) else {
                return;
            };
            if let Err(error) = self.fetch(Arc::clone(&key), query).await {
                tracing::debug!(%error, "a cached result could not be refreshed");
            }
        });
    }

    /// From the shared store or the database, and into the cache if it may be kept.
    async fn fetch<'q, Q, U>(&self, key: Arc<[u8]>, query: Q) -> Result<Arc<Vec<U>>, CacheError>
    where
        Q: LoadQuery<'q, Lane<B>, U> + Send + 'q,
        U: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let counters = &self.results.ledger.counters;
        let stamps = match self.stamps().await? {
            Tables::Known(stamps) => Some(stamps),
            Tables::Busy => None,
            Tables::Unknown => {
                counters.bypasses.add(1);
                return Ok(Arc::new(self.query(query).await?));
            }
        };
        if let Some(stamps) = &stamps
            && let Some((rows, age)) = self.shared(stamps).await
        {
            counters.hits.add(1);
            let rows = Arc::new(rows);
            self.results.put(key, &rows, stamps.clone(), age);
            return Ok(rows);
        }
        counters.misses.add(1);
        let read_at = unix_now();
        let rows = Arc::new(self.query(query).await?);
        match stamps {
            // Lost meanwhile, the bus may have missed a write.
            Some(stamps) if self.results.is_usable() => {
                self.share(&rows, &stamps, read_at).await;
                self.results.put(key, &rows, stamps, Duration::ZERO);
            }
            Some(_) => {}
            None => counters.stale_puts.add(1),
        }
        Ok(rows)
    }

    async fn query<'q, Q, U>(&self, query: Q) -> Result<Vec<U>, CacheError>
    where
        Q: LoadQuery<'q, Lane<B>, U> + Send + 'q,
        U: Send,
    {
        let mut lane = self.pool.read().await?;
        let rows = query.internal_load(&mut lane).await?;
        Ok(rows.try_collect().await?)
    }

    /// The states of the tables behind the query, from before it is sent.
    async fn stamps(&self) -> Result<Tables, CacheError> {
        let ledger = &self.results.ledger;
        // First of all: while nothing is known every write counts as one to all tables, so all are always busy.
        self.pool.know_schema(false).await?;
        // Before the schema is looked at: should it change from here on, this stamp no longer holds.
        let everything = tables_of([].iter(), ledger);
        let Some(before) = ledger.stamps(&everything) else {
            return Ok(Tables::Busy);
        };
        let mut plan = ledger.plan(&self.sql);
        if plan.unknown_table && self.asked.tables.is_none() {
            self.pool.know_schema(true).await?;
            plan = ledger.plan(&self.sql);
        }
        let tables = match (&self.asked.tables, &plan.reads) {
            (Some(declared), _) => {
                let declared = declared.iter().cloned().collect();
                let knowledge = ledger.knowledge();
                let read = knowledge.relations().map(|known| known.read(&declared));
                tables_of(read.unwrap_or_default().union(&declared), ledger)
            }
            (None, Some(reads)) => Arc::clone(reads),
            (None, None) => return Ok(Tables::Unknown),
        };
        Ok(match ledger.stamps(&tables) {
            Some(stamps) if before.hold() => Tables::Known(stamps),
            _ => Tables::Busy,
        })
    }

    /// What another process has read, unless a table was written since.
    async fn shared<U: DeserializeOwned>(&self, stamps: &Stamps) -> Option<(Vec<U>, Duration)> {
        let config = &self.results.config;
        let store = config.store.as_ref()?;
        let found = self.store(store.get(&self.shared_key())).await??;
        let (rows, read_at) = store::decode::<U>(&found)?;
        let skew = u64::try_from(config.clock_skew.as_millis()).unwrap_or(u64::MAX);
        let settled = stamps.raised_at().saturating_add(skew);
        let age = Duration::from_millis(unix_now().saturating_sub(read_at));
        // One that its reader would find expired is as good as none.
        let fresh = age < self.asked.lifetime.ttl && (read_at > settled);
        fresh.then_some((rows, age))
    }

    async fn share<U: Serialize>(&self, rows: &[U], stamps: &Stamps, read_at: u64) {
        let Some(store) = &self.results.config.store else {
            return;
        };
        if !stamps.hold() {
            return;
        }
        let Lifetime { ttl, negative, .. } = self.asked.lifetime;
        let ttl = negative.filter(|_| rows.is_empty()).unwrap_or(ttl);
        if let Some(bytes) = store::encode(rows, read_at) {
            self.store(store.put(&self.shared_key(), bytes, ttl)).await;
        }
    }

    fn shared_key(&self) -> Vec<u8> {
        self.key.among(&self.pool.config().shown_url())
    }

    /// What the store answers in time; `None` when it fails.
    async fn store<T>(
        &self,
        answer: impl Future<Output = Result<T, store::StoreError>>,
    ) -> Option<T> {
        match timeout(self.results.config.store_timeout, answer).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => tracing::debug!(%error, "the shared store of the query cache failed"),
            Err(_) => tracing::debug!("the shared store of the query cache is too slow"),
        }
        self.results.ledger.counters.store_failures.add(1);
        None
    }
}

enum Tables {
    Known(Stamps),
    /// A commit to one of them is under way: nothing can be kept now.
    Busy,
    /// Nobody can tell which.
    Unknown,
}

impl<B: Backend, Q> fmt::Debug for CachedQuery<'_, B, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedQuery")
            .field("lifetime", &self.asked.lifetime)
            .field("bypass", &self.asked.bypass)
            .finish_non_exhaustive()
    }
}

impl<B: Backend, Q> fmt::Debug for RefreshedQuery<'_, B, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RefreshedQuery").field(&self.0).finish()
    }
}

/// How many queries of others a reader waits for.
const FLIGHTS: usize = 2;
