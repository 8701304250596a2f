//! What the next process finds after this one was closed or killed: nothing that was removed or
//! replaced, and nearly all of the rest.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tiered_cache::{Caches, Capacity, DiskConfig, Effect, Policy, TierKind, TieredCache};

/// A value that says which write of which key it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    id: u64,
    write: u64,
    text: String,
}

fn page(id: u64, write: u64) -> Page {
    Page {
        id,
        write,
        text: format!("page {id} ").repeat(50),
    }
}

async fn open(folder: &Path, queue_entries: usize) -> (Caches, TieredCache<u64, Page>) {
    let disk = DiskConfig {
        path: folder.to_owned(),
        capacity_bytes: 64 << 20,
        queue_entries,
        // Far above what a busy machine needs: these tests are not about time.
        read_timeout: Duration::from_secs(30),
        open_wait: Duration::from_secs(30),
        insert_wait: Duration::from_secs(30),
        ..DiskConfig::default()
    };
    let caches = Caches::builder().namespace("restarts").disk(disk).build();
    let caches = caches.await.expect("the folder is usable");
    let policy = Policy {
        capacity: Capacity::Entries(300),
        ..Policy::default()
    };
    let pages = caches.cache("pages", policy).expect("the policy is sound");
    (caches, pages)
}

/// The write of the key that a read finds.
async fn found(pages: &TieredCache<u64, Page>, id: u64) -> Option<u64> {
    let lookup = pages.get(&id).await;
    let found = lookup.value()?;
    assert_eq!(**found, page(id, found.write), "never a wrong value");
    Some(found.write)
}

/// Waits until nothing is on its way to the disk.
async fn settled(caches: &Caches) {
    while caches.status().disk_use.queued_entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Numbers that look drawn, the same ones each time.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// This test binary again, with one test of it, which knows by the variable that it is the child.
fn child(test: &str, folder: &Path, round: u64) -> Child {
    let binary = std::env::current_exe().expect("a test has a path");
    let mut command = Command::new(binary);
    command
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped());
    command.spawn().expect("the test binary starts")
}

fn round() -> u64 {
    let round = std::env::var(ROUND).expect("the parent set it");
    round.parse().expect("it is a number")
}

const FOLDER: &str = "TIERED_CACHE_RESTART_FOLDER";
const ROUND: &str = "TIERED_CACHE_RESTART_ROUND";
const KEYS: u64 = 40;
const GROUPS: u64 = 5;

/// Inserts and removes, says what before and that after, until it is killed.
#[expect(clippy::print_stdout, reason = "the parent listens")]
async fn change_for_ever(folder: &Path) {
    let (caches, pages) = open(folder, 16_384).await;
    let round = round();
    let mut draws = Draws(round);
    for number in 1.. {
        let id = draws.below(KEYS);
        match draws.below(20) {
            0 => {
                let group = draws.below(GROUPS);
                println!("@ group {group} 0");
                let tag = format!("group:{group}");
                caches.invalidate_tag(tag, Effect::Remove).await;
            }
            1..6 => {
                println!("@ remove {id} 0");
                pages.remove(&id).await;
            }
            _ => {
                let write = round * 1_000_000 + number;
                println!("@ insert {id} {write}");
                let tag = format!("group:{}", id % GROUPS);
                pages.entry(&id).tag(tag).insert(page(id, write)).await;
            }
        }
        println!("@ done 0 0");
    }
}

/// What each key may hold: the last write that nothing undid.
#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<u64, u64>);

impl Model {
    fn apply(&mut self, what: &str, id: u64, write: u64) {
        match what {
            "insert" => {
                self.0.insert(id, write);
            }
            "remove" => {
                self.0.remove(&id);
            }
            "group" => self.0.retain(|key, _| key % GROUPS != id),
            other => panic!("the child said {other:?}"),
        }
    }
}

/// Goal: a kill at any moment undoes no removal, no invalidation of a tag and no replacement. Method: a
/// child that says what it does is killed at five moments and goes on in the same folder; what is found
/// then is the newest of each key, or nothing. Only the step it was killed in may have happened or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_brings_no_removed_or_replaced_value_back() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return change_for_ever(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut model, mut hits) = (Model::default(), 0);
    for (round, steps) in [300, 17, 1_000, 150, 600].into_iter().enumerate() {
        let test = "disk_restart::kill_9_at_any_moment_brings_no_removed_or_replaced_value_back";
        let mut child = child(test, folder.path(), round as u64);
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        let (mut begun, mut done) = (None, 0);
        for line in output.lines().map_while(Result::ok) {
            let Some(said) = line.strip_prefix("@ ") else {
                continue;
            };
            let mut words = said.split(' ');
            let what = words.next().expect("three words").to_owned();
            let mut number = || words.next().expect("three words").parse::<u64>();
            let (id, write) = (number().expect("a number"), number().expect("a number"));
            if what == "done" {
                let (what, id, write): (String, u64, u64) = begun.take().expect("it said what");
                model.apply(&what, id, write);
                done += 1;
                if done == steps {
                    // It runs on until it is gone; all that it still says is read.
                    child.kill().expect("SIGKILL");
                }
            } else {
                begun = Some((what, id, write));
            }
        }
        child.wait().expect("it ends");
        assert!(done >= steps, "{done} steps");
        let mut either = model.clone();
        if let Some((what, id, write)) = &begun {
            either.apply(what, *id, *write);
        }

        let (caches, pages) = open(folder.path(), 16_384).await;
        for id in 0..KEYS {
            let found = found(&pages, id).await;
            let allowed = [model.0.get(&id), either.0.get(&id)];
            assert!(
                found.is_none_or(|found| allowed.contains(&Some(&found))),
                "round {round}, key {id}: {found:?} is back, {allowed:?} could be there"
            );
            hits += u64::from(found.is_some());
            // What the next round begins with.
            match found {
                Some(write) => model.0.insert(id, write),
                None => model.0.remove(&id),
            };
        }
        caches.close().await;
    }
    assert!(hits > 0, "something was kept");
}

/// Reads through the cache, a few keys often and many now and then; the share that needed no load.
async fn read_through(pages: &TieredCache<u64, Page>, draws: &mut Draws, reads: u64) -> f64 {
    let loads = Arc::new(AtomicU64::new(0));
    for _ in 0..reads {
        let id = draws.below(2_000) * draws.below(2_000) / 2_000;
        let loads = Arc::clone(&loads);
        let load = move || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(Some(page(id, 1)))
        };
        let lookup = pages.get_or_load(&id, load).await.expect("it loads");
        assert_eq!(lookup.value().map(|found| found.id), Some(id));
    }
    1.0 - loads.load(Ordering::Relaxed) as f64 / reads as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_restart_keeps_the_hit_rate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut draws = Draws(1);
    let (caches, pages) = open(folder.path(), 16_384).await;
    read_through(&pages, &mut draws, 12_000).await;
    let before = read_through(&pages, &mut draws, 3_000).await;
    caches.close().await;
    drop((caches, pages));
    let (_caches, pages) = open(folder.path(), 16_384).await;
    let after = read_through(&pages, &mut draws, 3_000).await;
    assert!(before > 0.8, "{before}: there is something to keep");
    assert!(after >= 0.95 * before, "{before} before, {after} after");
}

/// What was written before the kill is on the disk, closed or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_kill_9_keeps_the_hit_rate() {
    const READS: u64 = 3_000;
    if let Some(folder) = std::env::var_os(FOLDER) {
        let (caches, pages) = open(Path::new(&folder), 16_384).await;
        let mut draws = Draws(1);
        read_through(&pages, &mut draws, 4 * READS).await;
        let before = read_through(&pages, &mut draws, READS).await;
        settled(&caches).await;
        println!("@ {before}");
        return std::future::pending().await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let test = "disk_restart::a_restart_after_kill_9_keeps_the_hit_rate";
    let mut child = child(test, folder.path(), 0);
    let output = BufReader::new(child.stdout.take().expect("it was piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let before = lines.find_map(|line| line.strip_prefix("@ ")?.parse::<f64>().ok());
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    let before = before.expect("the child said its hit rate");
    let (_caches, pages) = open(folder.path(), 16_384).await;
    let after = read_through(&pages, &mut Draws(2), READS).await;
    assert!(before > 0.8, "{before}: there is something to keep");
    assert!(after >= 0.95 * before, "{before} before, {after} after");
}

/// foyer's own queue keeps 1,536 to 4,096 of such a burst and says nothing of the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_insertions_waits_for_the_disk_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (caches, pages) = open(folder.path(), 64).await;
    for id in 0..5_000 {
        pages.insert(&id, page(id, 1)).await;
    }
    caches.close().await;
    let counts = caches.status().disk_use;
    assert_eq!((counts.written, counts.dropped), (5_000, 0));
    drop((caches, pages));
    let (_caches, pages) = open(folder.path(), 64).await;
    for id in 0..5_000 {
        assert_eq!(found(&pages, id).await, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_do_not_wait_for_the_disk_and_what_it_did_not_keep_is_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (caches, pages) = open(folder.path(), 64).await;
    let loads = (0..5_000).map(|id| {
        let pages = pages.clone();
        async move {
            let load = move || async move { Ok::<_, std::convert::Infallible>(Some(page(id, 1))) };
            pages.get_or_load(&id, load).await.expect("it loads");
        }
    });
    futures_util::future::join_all(loads).await;
    caches.close().await;
    let counts = caches.status().disk_use;
    assert_eq!(counts.written + counts.dropped, 5_000, "{counts:?}");
    drop((caches, pages));
    let (_caches, pages) = open(folder.path(), 64).await;
    let mut kept = 0;
    for id in 0..5_000 {
        let lookup = pages.get(&id).await;
        kept += u64::from(lookup.tier() == Some(TierKind::Disk));
    }
    assert_eq!(kept, counts.written);
}
