//! One process: its caches over memory, the scripted Redis and its scripted disk; how it starts, and
//! how it dies.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tempfile::TempDir;

use super::{
    database::Value,
    dice::Dice,
    disk::{DiskMood, Folder, SimDisk},
    line::{Line, SimLog, SimRedis},
    lock,
    profile::Profile,
    store::SINCE_2020_MS,
    world::{Lines, World},
};
use crate::{
    Caches, TieredCache, caches::Simulated, chance::Chance, coherence::Log, hash, tier::Tier,
};

/// A place where one process after the other runs.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) lines: Arc<Lines>,
    pub(super) disk_mood: Arc<Mutex<DiskMood>>,
    pub(super) running: Option<Arc<Process>>,
    disk: Arc<Mutex<Folder>>,
    /// Holds the folder of the local log; each process has a copy of what the one before left.
    folders: Option<TempDir>,
    last_folder: Option<PathBuf>,
    /// The processes that wrote the folder, one after the other.
    lineage: Vec<usize>,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: usize,
    pub(super) caches: Caches,
    pub(super) users: TieredCache<String, Value>,
    pub(super) posts: TieredCache<String, Value>,
    line: Arc<Line>,
    folder: Option<PathBuf>,
    /// The folder as it was when the process was killed.
    left: Mutex<Option<PathBuf>>,
}

impl Host {
    pub(super) fn new(profile: &Profile) -> Self {
        let folders = profile.disk.then(|| {
            // In memory where there is such a place: thousands of schedules write there.
            let memory = Path::new("/dev/shm");
            let base = match memory.is_dir() {
                true => memory.to_owned(),
                false => std::env::temp_dir(),
            };
            TempDir::new_in(base).expect("a place for temporary folders")
        });
        Self {
            lines: Arc::default(),
            disk_mood: Arc::default(),
            running: None,
            disk: Arc::default(),
            folders,
            last_folder: None,
            lineage: Vec::new(),
        }
    }

    pub(super) fn number(&self) -> Option<usize> {
        self.running.as_ref().map(|process| process.number)
    }

    /// The running process and those whose folder it has.
    pub(super) fn lineage(&self) -> Vec<usize> {
        self.lineage.clone()
    }

    pub(super) async fn start(&mut self, world: &Arc<World>, profile: &Profile, dice: Dice) {
        let began = world.note(format_args!("a process starts"));
        if self.folders.is_none() {
            self.lineage.clear();
        }
        let heir_of = self.lineage.last().copied();
        let number = world.with(|state, _| {
            let trimmed = state.store.trimmed();
            state.history.start(began, heir_of, trimmed)
        });
        self.lineage.push(number);
        let folder = self.folder(number);
        let line = Arc::new(Line {
            world: Arc::clone(world),
            lines: Arc::clone(&self.lines),
            process: number,
            instance: dice.number(),
            seen: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            floors: OnceLock::new(),
        });
        let mut tiers: Vec<Arc<dyn Tier>> = Vec::new();
        if profile.redis {
            tiers.push(Arc::new(SimRedis(Arc::clone(&line))));
        }
        if profile.disk {
            let (disk, mood) = (Arc::clone(&self.disk), Arc::clone(&self.disk_mood));
            tiers.push(Arc::new(SimDisk::new(disk, mood, dice.fork())));
        }
        let log = profile.redis.then(|| {
            let log: Arc<dyn Log> = Arc::new(SimLog(Arc::clone(&line)));
            log
        });
        let parts = Simulated {
            tiers,
            log,
            folder: folder.clone(),
            chance: Chance::seeded(dice.number()),
            unix_ms: SINCE_2020_MS + UNIX_2020_MS + world.now_ms(),
            instance: line.instance,
        };
        let caches = Caches::builder()
            .namespace("sim")
            .build_simulated(parts)
            .await;
        let caches = caches.expect("a folder of its own, and nothing to open");
        let _ = line.floors.set(Arc::clone(&caches.common().floors));
        let cache = |name| {
            let builder = TieredCache::builder(name).policy(profile.policy.clone());
            let cache = builder.prefixes(':').build(&caches);
            cache.expect("a policy that can work")
        };
        self.running = Some(Arc::new(Process {
            number,
            users: cache(CACHES[0]),
            posts: cache(CACHES[1]),
            caches,
            line,
            folder,
            left: Mutex::default(),
        }));
        world.note(format_args!("process {number} runs"));
    }

    /// A copy of the folder that the last process left, for the next to write to.
    fn folder(&mut self, number: usize) -> Option<PathBuf> {
        let folder = self.folders.as_ref()?.path().join(number.to_string());
        copy(self.last_folder.as_deref(), &folder);
        self.last_folder = Some(folder.clone());
        Some(folder)
    }

    /// Takes note that the process was killed; gives its number.
    pub(super) fn bury(&mut self) -> Option<usize> {
        let process = self.running.take_if(|process| process.is_dead())?;
        if let Some(left) = lock(&process.left).take() {
            self.last_folder = Some(left);
        }
        Some(process.number)
    }

    /// The machine is replaced by one with an empty disk.
    pub(super) fn lose_folder(&mut self) {
        self.last_folder = None;
        self.lineage.clear();
        *lock(&self.disk) = Folder::default();
    }
}

impl Process {
    pub(super) fn is_dead(&self) -> bool {
        self.line.dead.load(Ordering::Relaxed)
    }

    /// From here on nothing that the process does counts: it gets no answer, and what it writes to its
    /// folder is not what the next one finds.
    pub(super) fn kill(&self) {
        if self.line.dead.swap(true, Ordering::Relaxed) {
            return;
        }
        *lock(&self.left) = self.folder.as_ref().map(|folder| {
            let left = folder.with_extension("left");
            copy(Some(folder), &left);
            left
        });
    }

    /// What is not as it should be when nothing happens any more.
    pub(super) fn unrest(&self) -> Option<String> {
        let common = self.caches.common();
        let log = common.ledger.log_status();
        let flights = [&self.users, &self.posts].map(|cache| cache.inner.flights.len());
        let calm = flights == [0, 0]
            && log
                .as_ref()
                .is_none_or(|log| log.ready && log.pending == 0 && log.silent_for.is_none());
        let number = self.number;
        (!calm).then(|| format!("process {number}: flights {flights:?}, log {log:?}"))
    }
}

fn copy(from: Option<&Path>, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable temporary folder");
    let Some(from) = from else { return };
    let files = std::fs::read_dir(from).expect("a folder that was written before");
    for file in files {
        let file = file.expect("a file in a folder of ours");
        let to = to.join(file.file_name());
        std::fs::copy(file.path(), to).expect("a writable temporary folder");
    }
}

/// The hash by which floors and log name the cache.
pub(super) fn cache_id(cache: usize) -> u64 {
    hash::text_hash(&format!("sim:{}", CACHES[cache]))
}

pub(super) const CACHES: [&str; 2] = ["users", "posts"];
const UNIX_2020_MS: u64 = 1_577_836_800_000;
