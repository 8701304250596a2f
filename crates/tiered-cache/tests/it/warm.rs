//! Warming: given keys, what an earlier process used most, and sets that are kept warm.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tiered_cache::{
    CacheBuilder, Caches, ConfigError, Policy, TieredCache, WarmOptions, WarmSchedule, WarmWatch,
};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

/// Loads of a cache whose value under `n` is `n` times ten; there is none under 404, and 500 fails.
#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<Mutex<Vec<u32>>>);

impl Origin {
    pub(crate) fn builder(&self) -> CacheBuilder<u32, u32> {
        let origin = self.clone();
        TieredCache::builder("numbers").loader(move |key: u32, _| {
            origin.0.lock().expect("nobody panics").push(key);
            async move {
                sleep(Duration::from_millis(10)).await;
                match key {
                    404 => Ok(None),
                    500 => Err("the origin is down"),
                    _ => Ok(Some(key * 10)),
                }
            }
        })
    }

    pub(crate) fn cache(&self) -> TieredCache<u32, u32> {
        self.builder().build_in_memory().expect("it is sound")
    }

    /// What was loaded since the last call, in ascending order.
    pub(crate) fn loads(&self) -> Vec<u32> {
        let mut loads = std::mem::take(&mut *self.0.lock().expect("nobody panics"));
        loads.sort_unstable();
        loads
    }
}

#[tokio::test(start_paused = true)]
async fn warming_says_what_was_warmed_and_what_was_not() {
    let origin = Origin::default();
    let cache = origin.cache();
    cache.insert(&1, 10).await;
    let report = cache.warm([1, 2, 3, 404, 500]).await;
    assert_eq!(
        (
            report.present,
            report.warmed,
            report.absent,
            report.failures,
            report.skipped
        ),
        (1, 2, 1, 1, 0)
    );
    assert_eq!(report.failed[0].key, "500");
    assert_eq!(
        report.failed[0].error,
        "the loader failed: the origin is down"
    );
    assert_eq!(origin.loads(), [2, 3, 404, 500]);
    assert_eq!(cache.peek(&3).as_deref(), Some(&30));
    let stats = cache.stats();
    assert_eq!(
        (stats.warmed, stats.reads()),
        (2, 0),
        "warming is no reading"
    );
}

#[tokio::test(start_paused = true)]
async fn warming_without_a_loader_finds_nothing_to_warm() {
    let cache: TieredCache<u32, u32> =
        TieredCache::memory("plain", Policy::default()).expect("it is sound");
    let report = cache.warm([1]).await;
    assert_eq!((report.warmed, report.failures), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_warming_that_is_dropped_begins_no_more_loads() {
    let origin = Origin::default();
    let cache = origin.cache();
    let slow = WarmOptions {
        per_second: 10,
        ..WarmOptions::default()
    };
    let warming = cache.warm_with(0..100, &slow);
    let ended = tokio::time::timeout(Duration::from_millis(250), warming).await;
    ended.expect_err("it takes ten seconds");
    sleep(20 * SECOND).await;
    assert_eq!(origin.loads(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_joins_the_load_of_a_warming() {
    let origin = Origin::default();
    let cache = origin.cache();
    let (report, read) = tokio::join!(cache.warm([7]), cache.fetch(&7));
    assert_eq!(report.warmed, 1);
    assert_eq!(read.expect("it loads").value().map(|v| **v), Some(70));
    assert_eq!(origin.loads(), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_new_process_warms_what_the_old_one_used_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hot");
    let origin = Origin::default();
    let open = async || {
        let caches = Caches::builder()
            .manifest(&path)
            .build()
            .await
            .expect("it opens");
        let builder = origin.builder().hot_keys(5);
        let numbers = builder.build(&caches).expect("it is sound");
        (caches, numbers)
    };
    let (caches, numbers) = open().await;
    let first = caches.warm(WarmOptions::default()).await;
    assert_eq!(
        (first.warmed, first.skipped),
        (0, 0),
        "nothing is known yet"
    );
    for round in 0..2_000 {
        numbers.fetch(&(round % 5)).await.expect("it loads");
        numbers.fetch(&(1_000 + round)).await.expect("it loads");
    }
    caches.close().await;
    drop((caches, numbers));
    origin.loads();

    let (caches, numbers) = open().await;
    let seen = Arc::new(AtomicU64::new(0));
    let watch = {
        let seen = Arc::clone(&seen);
        WarmWatch::new(move |progress| {
            assert_eq!(progress.total, 5);
            seen.fetch_add(1, Ordering::Relaxed);
        })
    };
    let options = WarmOptions {
        watch,
        ..WarmOptions::default()
    };
    let report = caches.warm(options).await;
    assert_eq!(report.warmed, 5, "{report}");
    assert_eq!(origin.loads(), [0, 1, 2, 3, 4]);
    assert_eq!(seen.load(Ordering::Relaxed), 5);
    assert!((0..5).all(|key| numbers.peek(&key).is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_manifest_outlives_a_process_that_ends_without_closing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hot");
    let origin = Origin::default();
    let caches = Caches::builder()
        .manifest(&path)
        .build()
        .await
        .expect("it opens");
    let numbers = origin
        .builder()
        .hot_keys(3)
        .build(&caches)
        .expect("it is sound");
    for _ in 0..200 {
        for key in 0..3 {
            numbers.fetch(&key).await.expect("it loads");
        }
    }
    // The housekeeping writes it each minute, on a thread of its own.
    while !path.exists() {
        sleep(SECOND).await;
    }
    drop((caches, numbers));

    let caches = Caches::builder()
        .manifest(&path)
        .build()
        .await
        .expect("it opens");
    let numbers = origin
        .builder()
        .hot_keys(3)
        .build(&caches)
        .expect("it is sound");
    origin.loads();
    caches.warm(WarmOptions::default()).await;
    assert_eq!(origin.loads(), [0, 1, 2]);
    drop(numbers);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_manifest_warms_nothing_and_breaks_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hot");
    std::fs::write(&path, b"tiered-cache hot keys 1\nnonsense").expect("it is writable");
    let caches = Caches::builder()
        .manifest(&path)
        .build()
        .await
        .expect("it opens");
    let builder = Origin::default().builder().hot_keys(5);
    let numbers = builder.build(&caches).expect("it is sound");
    let report = caches.warm(WarmOptions::default()).await;
    assert_eq!((report.warmed, report.failures), (0, 0));
    assert!(numbers.fetch(&1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_warm_set_is_loaded_at_the_start_and_anew_on_schedule() {
    let origin = Origin::default();
    let caches = Caches::builder().build().await.expect("it opens");
    let schedule = WarmSchedule {
        every: 60 * SECOND,
        jitter: 0.0,
        ..WarmSchedule::default()
    };
    let builder = origin.builder().warm_set(schedule, || async { vec![1, 2] });
    let numbers = builder.build(&caches).expect("it is sound");
    let report = caches.warm(WarmOptions::default()).await;
    assert_eq!((report.warmed, origin.loads()), (2, vec![1, 2]));
    sleep(59 * SECOND).await;
    assert_eq!(origin.loads(), [0; 0]);
    sleep(2 * SECOND).await;
    assert_eq!(origin.loads(), [1, 2], "though they were fresh");
    sleep(60 * SECOND).await;
    assert_eq!(origin.loads(), [1, 2]);
    drop(numbers);
    sleep(600 * SECOND).await;
    assert_eq!(origin.loads(), [0; 0], "the task ended with the cache");
}

#[test]
fn settings_that_can_never_work_are_refused() {
    let field = |builder: CacheBuilder<u32, u32>| match builder.build_in_memory() {
        Err(ConfigError::Value { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let plain = || TieredCache::builder("plain");
    assert_eq!(field(plain().related(|_, _| Vec::new())), "related");
    assert_eq!(field(plain().learn_successors(0.5)), "learn_successors");
    let loading = || Origin::default().builder();
    assert_eq!(field(loading().learn_successors(1.5)), "learn_successors");
    assert_eq!(
        field(loading().learn_successors(f64::NAN)),
        "learn_successors"
    );
    assert_eq!(field(loading().hot_keys(100_001)), "hot_keys");
}

#[cfg(feature = "disk")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_disk_folder_leaves_its_manifest_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = async || {
        let disk = tiered_cache::DiskConfig {
            path: folder.path().join("cache"),
            capacity_bytes: 16 << 20,
            ..tiered_cache::DiskConfig::default()
        };
        Caches::builder()
            .disk(disk)
            .build()
            .await
            .expect("it opens")
    };
    let origin = Origin::default();
    let caches = open().await;
    let numbers = origin
        .builder()
        .hot_keys(3)
        .build(&caches)
        .expect("it is sound");
    for _ in 0..300 {
        for key in 0..3 {
            numbers.fetch(&key).await.expect("it loads");
        }
    }
    caches.close().await;
    drop((caches, numbers));
    origin.loads();

    let caches = open().await;
    let numbers = origin
        .builder()
        .hot_keys(3)
        .build(&caches)
        .expect("it is sound");
    let report = caches.warm(WarmOptions::default()).await;
    assert_eq!(report.warmed, 3, "{report}");
    assert_eq!(origin.loads(), [0; 0], "the disk had them");
    assert!((0..3).all(|key| numbers.peek(&key).is_some()));
    caches.close().await;
}

fn each_minute() -> WarmSchedule {
    WarmSchedule {
        every: 60 * SECOND,
        jitter: 0.0,
        ..WarmSchedule::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_warm_set_that_hangs_or_panics_costs_its_own_keys_alone_and_holds_no_cache() {
    let origin = Origin::default();
    let caches = Caches::builder().build().await.expect("it opens");
    let hanging = origin
        .builder()
        .warm_set(each_minute(), std::future::pending);
    let hanging = hanging.build(&caches).expect("it is sound");
    let builder = TieredCache::<u32, u32>::builder("others")
        .loader({
            let origin = origin.clone();
            move |key: u32, _| {
                origin.0.lock().expect("nobody panics").push(key);
                async move { Ok::<_, Infallible>(Some(key)) }
            }
        })
        .warm_set(each_minute(), || async { panic!("a fault of the set") })
        .warm_set(each_minute(), || async { vec![1] });
    let others = builder.build(&caches).expect("it is sound");
    let report = caches.warm(WarmOptions::default()).await;
    assert_eq!((report.warmed, origin.loads()), (1, vec![1]), "{report}");
    sleep(130 * SECOND).await;
    assert_eq!(origin.loads(), [1, 1], "two rounds more");
    drop((hanging, others, caches));
    sleep(40 * SECOND).await;
    assert_eq!(Arc::strong_count(&origin.0), 1, "the loaders are gone");
}

/// Goal: the keys of a type that was changed and kept its name are not taken for other ones. Method: two
/// types of the same name, one after the other, with the same manifest.
#[tokio::test(start_paused = true)]
async fn the_keys_of_a_type_that_changed_are_not_warmed() {
    macro_rules! warmed {
        ($path:expr, $loads:expr, $type:item, $key:expr) => {{
            #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
            $type
            impl std::fmt::Display for Key {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    write!(f, "{self:?}")
                }
            }
            let caches = Caches::builder().manifest($path).build().await;
            let caches = caches.expect("it opens");
            let numbers = TieredCache::<Key, u32>::builder("numbers")
                .loader(|_, _| async { Ok::<_, Infallible>(Some(1)) })
                .hot_keys(5)
                .build(&caches)
                .expect("it is sound");
            let report = caches.warm(WarmOptions::default()).await;
            let loads: usize = $loads;
            for _ in 0..loads {
                numbers.fetch(&$key).await.expect("it loads");
            }
            caches.close().await;
            (std::any::type_name::<Key>(), report.warmed)
        }};
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hot");
    let before = warmed!(
        &path,
        500,
        struct Key {
            user: u8,
            team: u8,
        },
        Key { user: 1, team: 2 }
    );
    let same = warmed!(
        &path,
        500,
        struct Key {
            user: u8,
            team: u8,
        },
        Key { user: 1, team: 2 }
    );
    let after = warmed!(
        &path,
        0,
        struct Key {
            team: u8,
            user: u8,
        },
        Key { user: 1, team: 2 }
    );
    assert_eq!(
        (before.0, before.0),
        (same.0, after.0),
        "the name is no help"
    );
    assert_eq!((before.1, same.1, after.1), (0, 1, 0));
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_manifest_that_cannot_be_written_in_time_does_not_hold_up_the_closing() {
    let folder = tempfile::tempdir().expect("a folder");
    let caches = Caches::builder()
        .manifest(folder.path().join("hot"))
        .build()
        .await
        .expect("it opens");
    let builder = Origin::default().builder().hot_keys(5);
    let numbers = builder.build(&caches).expect("it is sound");
    for _ in 0..500 {
        numbers.fetch(&1).await.expect("it loads");
    }
    // Whoever opens a pipe to write to it waits for a reader: a disk that does not answer.
    let pipe = folder
        .path()
        .join(format!("hot.{}.tmp", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    let closing = tokio::spawn(async move { caches.close().await });
    let mut waited = 0;
    while !closing.is_finished() && waited < 60 {
        tokio::time::advance(SECOND).await;
        waited += 1;
    }
    // Lets the thread go that writes.
    let reader = std::fs::File::open(&pipe).expect("it is there");
    closing.await.expect("it does not panic");
    drop(reader);
    assert!(waited < 60, "it waited for the manifest");
}
