//! What the service starts: one function per component, its parameters are what it needs.
//!
//! The graph starts everything as soon as its parameters are there and stops it in reverse. Add a
//! component by writing a function and one line in [`graph`]; its name and limits stand beside it.

use std::sync::Arc;

use db_pool::{BackendKind, ResultStore};
use init_graph::{After, BoxError, Context, Dep, Graph, component};
use perf_monitor::{Monitor, Sample};
use startup_progress::{Health, Progress};
use tiered_cache::{
    Caches, DiskStatus, LogState, RedisStatus, TieredCache, WarmOptions, WarmWatch,
};
use uuid::Uuid;

use crate::{
    commands::demo,
    config::Config,
    data_dir::DataLock,
    domain::Record,
    failure::DataError,
    http::problem::chain,
    shared_results::SharedResults,
    state::AppState,
    store::{DataHold, Hold, Store},
};

/// What the components are given: everything that exists before the graph runs.
#[derive(Clone, Debug)]
pub struct Given {
    /// The checked configuration.
    pub config: Config,
    /// Progress and health checks.
    pub progress: Progress,
    /// Metrics, unless switched off.
    pub monitor: Option<Monitor>,
    /// Whether an empty database is filled with the sample.
    pub demo: bool,
}

/// The database is at the newest schema.
#[derive(Debug)]
pub struct Schema {
    /// Raised by every writer that bypasses the service's caches.
    pub cache_epoch: u64,
}

/// Copies are taken, if they are wished.
#[derive(Debug)]
pub struct Copies;

/// The sample is there, if it was asked for.
#[derive(Debug)]
pub struct Sampled;

/// Listings are read as they are to be read: through the query cache or not.
#[derive(Debug)]
pub struct Listings;

/// What the last process read most is in memory.
#[derive(Debug)]
pub struct Warmed;

/// Every component of the service.
pub fn graph(given: Given) -> Graph {
    let mut graph = Graph::new();
    graph.stop_timeout(given.config.shutdown.timeout);
    graph.observe(given.progress.observer());
    graph.value(given);
    graph.add_blocking(data_lock);
    graph.add(store);
    graph.add(hold);
    graph.add(schema);
    graph.add(backups);
    graph.add(sample);
    graph.add(caches);
    graph.add(records);
    graph.add(listings);
    graph.add(warm);
    graph.add(state);
    graph
}

/// Opens and locks a file, which may block: it gets a thread where that is allowed.
#[component(blocking, name = "data folder", stage = "storage")]
fn data_lock(given: Dep<Given>) -> Result<DataLock, BoxError> {
    Ok(DataLock::take(&given.config.database.pool())?)
}

#[component(name = "database", stage = "storage", timeout = "30s")]
async fn store(
    given: Dep<Given>,
    _folder: Dep<DataLock>,
    context: Context,
) -> Result<Store, BoxError> {
    let config = &given.config.database;
    let store = match config.servers() {
        Some(servers) => Store::connect_replicated(servers).await?,
        None => Store::connect(config.pool()).await?,
    };
    context.on_stop({
        let store = store.clone();
        async move || {
            store.close().await;
            Ok(())
        }
    });
    if let Some(monitor) = &given.monitor {
        let store = store.clone();
        monitor.probe("database", move |sample: &mut Sample| {
            let status = store.status();
            for (name, count) in [
                ("size", status.size),
                ("in_use", status.in_use),
                ("waiting", status.waiting),
            ] {
                sample.gauge(name, u32::try_from(count).unwrap_or(u32::MAX).into());
            }
        });
    }
    Ok(store)
}

/// Beside other servers, but never beside an import: it would leave their caches with old data.
#[component(name = "data lock", stage = "storage", timeout = "30s")]
async fn hold(given: Dep<Given>, store: Dep<Store>) -> Result<Arc<DataHold>, BoxError> {
    let in_use = || DataError::InUse {
        what: given.config.database.url.to_string(),
    };
    let hold = Arc::new(store.hold(Hold::Shared).await?.ok_or_else(in_use)?);
    if store.backend() == BackendKind::Sqlite {
        // The lock file cannot be lost: there is nothing to check.
        return Ok(hold);
    }
    given.progress.check("data lock", {
        // Weak: the check must not keep the lock beyond the component.
        let hold = Arc::downgrade(&hold);
        move || match hold.upgrade().and_then(|hold| hold.trouble()) {
            None => Health::Pass,
            Some(reason) => Health::Warn(reason),
        }
    });
    Ok(hold)
}

#[component(name = "migrations", stage = "storage", timeout = "10m")]
async fn schema(
    given: Dep<Given>,
    store: Dep<Store>,
    _hold: Dep<Arc<DataHold>>,
) -> Result<Schema, BoxError> {
    let applied = store.migrate().await?;
    tracing::debug!(?applied, "the schema is up to date");
    check_indexes(&given, &store).await?;
    given.progress.check("database", {
        let store = Dep::into_inner(store.clone());
        move || match store.health() {
            None => Health::Pass,
            Some(reason) => Health::Fail(reason),
        }
    });
    Ok(Schema {
        cache_epoch: store.cache_epoch().await?,
    })
}

/// A missing index makes the service slower, not wrong: it warns and stays ready.
async fn check_indexes(given: &Given, store: &Store) -> Result<(), BoxError> {
    let report = store.check_indexes().await?;
    if report.is_complete() {
        tracing::debug!(%report, "every declared index is there");
        return Ok(());
    }
    tracing::warn!(%report, "indexes that the service relies on are not as declared");
    let missing: Vec<_> = report
        .problems()
        .map(|entry| format!("{} {}", entry.declared, entry.state))
        .collect();
    let missing = missing.join("; ");
    given
        .progress
        .check("indexes", move || Health::Warn(missing.clone()));
    Ok(())
}

/// Takes copies at intervals, if that is wished; the one under way at the stop is given up.
#[component(name = "backups", stage = "storage")]
async fn backups(
    given: Dep<Given>,
    store: Dep<Store>,
    _schema: After<Schema>,
    context: Context,
) -> Result<Copies, BoxError> {
    let backup = given.config.database.backup.clone();
    let Some(folder) = &backup.folder else {
        return Ok(Copies);
    };
    let copies = backup.copies(folder);
    let task = tokio::spawn(async move {
        if let Err(error) = store.back_up_every(copies, backup.every).await {
            tracing::error!(error = chain(&error), "no backups are taken");
        }
    });
    context.on_stop(async move || {
        task.abort();
        // Cancelled is how it ends.
        let _ = task.await;
        Ok(())
    });
    Ok(Copies)
}

#[component(name = "sample", stage = "storage", timeout = "1m")]
async fn sample(
    given: Dep<Given>,
    store: Dep<Store>,
    _schema: After<Schema>,
) -> Result<Sampled, BoxError> {
    if given.demo && demo::fill_when_empty(&store).await? {
        tracing::info!("an empty database was filled with the sample");
    }
    Ok(Sampled)
}

#[component(name = "cache tiers", stage = "cache", timeout = "30s")]
async fn caches(
    given: Dep<Given>,
    schema: Dep<Schema>,
    context: Context,
) -> Result<Caches, BoxError> {
    let config = &given.config.cache;
    let mut builder = Caches::builder()
        .namespace("reference-service")
        .epoch(schema.cache_epoch);
    if let Some(redis) = config.redis_tier() {
        builder = builder.redis(redis);
    }
    if let Some(disk) = config.disk_tier() {
        builder = builder.disk(disk);
    }
    let caches = builder.build().await?;
    context.on_stop({
        let caches = caches.clone();
        async move || {
            caches.close().await;
            Ok(())
        }
    });
    check_caches(&given, &caches);
    Ok(caches)
}

/// A tier that is away makes the service slower, not wrong: it warns and stays ready.
fn check_caches(given: &Given, caches: &Caches) {
    if given.config.cache.redis.url.is_some() {
        let caches = caches.clone();
        given.progress.check("redis", move || {
            let status = caches.status();
            match (status.redis, status.log) {
                (RedisStatus::Connected { .. }, LogState::Ok) => Health::Pass,
                // Connected, but other replicas' writes are not heard.
                (RedisStatus::Connected { .. }, log) => {
                    Health::Warn(format!("connected, log {log}"))
                }
                (redis, _) => Health::Warn(redis.to_string()),
            }
        });
    }
    if given.config.cache.disk.enabled {
        let caches = caches.clone();
        given
            .progress
            .check("disk", move || match caches.status().disk {
                DiskStatus::Ok => Health::Pass,
                status => Health::Warn(status.to_string()),
            });
    }
}

#[component(name = "records cache", stage = "cache")]
async fn records(
    given: Dep<Given>,
    store: Dep<Store>,
    caches: Dep<Caches>,
) -> Result<TieredCache<Uuid, Record>, BoxError> {
    let config = &given.config.cache;
    let records = TieredCache::<Uuid, Record>::builder("records")
        .policy(config.policy())
        .hot_keys(config.memory.hot_keys)
        .loader({
            let store = Dep::into_inner(store);
            move |id, _| {
                let store = Arc::clone(&store);
                async move { store.record(id).await }
            }
        })
        .build(&caches)?;
    if let Some(monitor) = &given.monitor {
        let records = records.clone();
        monitor.probe("records cache", move |sample: &mut Sample| {
            sample.gauge("hit_ratio", records.stats().hit_ratio());
        });
    }
    Ok(records)
}

/// First pages of listings are remembered from here on, if that is wished.
#[component(name = "query cache", stage = "cache")]
async fn listings(
    given: Dep<Given>,
    store: Dep<Store>,
    caches: Dep<Caches>,
    _sampled: After<Sampled>,
) -> Result<Listings, BoxError> {
    let config = &given.config.database.query_cache;
    let Some(ttl) = config.ttl else {
        return Ok(Listings);
    };
    let shared: Option<Arc<dyn ResultStore>> = match given.config.cache.redis.url {
        Some(_) => Some(Arc::new(SharedResults::new(&caches, ttl)?)),
        None => None,
    };
    store.cache_listings(ttl, config.max_entries, shared)?;
    Ok(Listings)
}

/// Fetches what the last process read most. Nobody waits for it: what is asked for meanwhile is fetched
/// as ever.
#[component(
    name = "warm-up",
    stage = "cache",
    background,
    optional,
    timeout = "1m"
)]
async fn warm(
    caches: Dep<Caches>,
    _records: After<TieredCache<Uuid, Record>>,
    _sampled: After<Sampled>,
    context: Context,
) -> Result<Warmed, BoxError> {
    let watch = WarmWatch::new(move |progress| {
        context.progress(progress.done as u64, progress.total as u64);
    });
    let report = caches.warm(WarmOptions {
        watch,
        ..WarmOptions::default()
    });
    let report = report.await;
    tracing::debug!(%report, "warm-up");
    Ok(Warmed)
}

#[component(name = "routes", stage = "http")]
async fn state(
    store: Dep<Store>,
    caches: Dep<Caches>,
    records: Dep<TieredCache<Uuid, Record>>,
    _listings: After<Listings>,
) -> Result<AppState, BoxError> {
    Ok(AppState {
        store: (*store).clone(),
        records: (*records).clone(),
        invalidations: caches.invalidations(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_components_fit_together() {
        let graph = graph(Given {
            config: Config::default(),
            progress: Progress::new("test"),
            monitor: None,
            demo: false,
        });
        graph.check().unwrap();
    }
}
