//! Warming at the start, and the manifest that tells the next process what this one used most.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{Caches, Registered, Shared};
use crate::{
    cache::WarmJob,
    warm::{Manifest, WarmOptions, WarmReport},
};

/// What the last process left, and where this one leaves its own.
#[derive(Debug)]
pub(super) struct Warmth {
    path: Option<PathBuf>,
    last: Manifest,
    began: Instant,
    writing: Mutex<()>,
}

impl Caches {
    /// Brings into memory what the last process used most (for caches with
    /// [`hot_keys`](crate::CacheBuilder::hot_keys)) and the
    /// [warm sets](crate::CacheBuilder::warm_set), from the tiers below or by the registered loaders.
    ///
    /// Call it when the caches are made and before traffic comes. It never fails: the report says what
    /// was warmed and what was not. The caches take their turns, each with the share of the time that
    /// its keys are of all. Dropping the future begins nothing more; loads that were begun go on.
    pub async fn warm(&self, options: WarmOptions) -> WarmReport {
        let began = Instant::now();
        let named = began + options.naming();
        let jobs = self.shared.registry.caches().into_iter().map(|cache| {
            let section = self.shared.warmth.last.section(&cache.name()).cloned();
            cache.warm_job(section, named)
        });
        let jobs = join_all(jobs).await.into_iter().flatten().collect();
        let mut report = run(jobs, &options, began + options.within()).await;
        report.took = began.elapsed();
        tracing::info!(%report, "caches warmed");
        report
    }
}

async fn run(jobs: Vec<WarmJob>, options: &WarmOptions, until: Instant) -> WarmReport {
    let total = jobs.iter().map(|job| job.keys).sum::<usize>();
    let mut report = WarmReport::default();
    let mut done = 0;
    for job in jobs {
        let left = until.saturating_duration_since(Instant::now());
        let share = job.keys as f64 / (total - done).max(1) as f64;
        let own = WarmOptions {
            within: left.mul_f64(share.min(1.0)),
            watch: options.watch.after(done, total, report.failures),
            ..options.clone()
        };
        done += job.keys;
        report.add(&job.cache, (job.run)(own).await);
    }
    report
}

impl Warmth {
    /// Reads what the last process left at `path`; damage is a warning.
    pub(super) async fn open(path: Option<PathBuf>) -> Self {
        let last = match path.clone() {
            Some(path) => tokio::task::spawn_blocking(move || Manifest::read(&path))
                .await
                .unwrap_or_default(),
            None => Manifest::default(),
        };
        Self {
            path,
            last,
            began: Instant::now(),
            writing: Mutex::new(()),
        }
    }

    /// Writes down the hottest keys of these caches; a failure is a warning.
    pub(super) async fn write(&self, caches: Vec<Arc<dyn Registered>>) {
        let Some(path) = self.path.clone() else {
            return;
        };
        let sections: Vec<_> = caches
            .iter()
            .filter_map(|cache| cache.hot_section())
            .collect();
        drop(caches);
        if sections.is_empty() {
            return;
        }
        let young = self.began.elapsed() < YOUNG;
        let manifest = self.last.followed_by(sections, young);
        // One at a time: the closing may meet the housekeeping.
        let _writing = self.writing.lock().await;
        let shown = path.clone();
        let written = tokio::task::spawn_blocking(move || manifest.write(&path)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(path = %shown.display(), %error, "manifest of hot keys not written");
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.path.is_some()
    }
}

/// Writes the manifest each minute, for the process that ends without closing; ends by itself once the
/// last handle is gone.
pub(super) async fn keep_manifest(shared: Weak<Shared>) {
    loop {
        sleep(EACH).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        // The closing wrote it, and the folder may be another process's by now.
        if shared.common.tasks.is_closed() {
            return;
        }
        shared.warmth.write(shared.registry.caches()).await;
    }
}

const EACH: Duration = Duration::from_secs(60);
/// What the last process knew is not given up for what this one has seen in so short a time.
const YOUNG: Duration = Duration::from_secs(20 * 60);
