//! Gathering keys into batches, and the tasks that fetch them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::batch::{Answer, Batch, Seat};
use super::error::LoaderError;
use super::options::LoaderOptions;

type Fetch<K, V> = Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Answer<K, V>> + Send + Sync>;

/// What all clones of a loader share.
pub(super) struct Gathering<K, V> {
    options: LoaderOptions,
    fetch: Fetch<K, V>,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    /// Takes more keys.
    open: Option<Gathered<K, V>>,
    /// Full, in the order of asking.
    full: VecDeque<Gathered<K, V>>,
    /// Keys in both.
    waiting: usize,
    /// Tasks that fetch, and those among them that are about to take the next batch.
    runners: usize,
    ready: usize,
    memo: HashMap<K, Arc<Batch<K, V>>>,
}

struct Gathered<K, V> {
    keys: Vec<K>,
    batch: Arc<Batch<K, V>>,
}

impl<K, V> Gathering<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(options: LoaderOptions, fetch: Fetch<K, V>) -> Arc<Self> {
        let state = State {
            open: None,
            full: VecDeque::new(),
            waiting: 0,
            runners: 0,
            ready: 0,
            memo: HashMap::new(),
        };
        Arc::new(Self {
            options,
            fetch,
            state: Mutex::new(state),
        })
    }

    /// Puts a key into the batch that gathers now.
    pub(super) fn ask(self: &Arc<Self>, key: K) -> Result<Seat<K, V>, LoaderError> {
        let mut state = self.state();
        if let Some(batch) = state.memo.get(&key)
            && !batch.has_failed()
        {
            let batch = Arc::clone(batch);
            drop(state);
            return Ok(Seat::new(batch, key));
        }
        if state.waiting >= self.options.waiting_max {
            let waiting = state.waiting;
            return Err(LoaderError::Overloaded { waiting });
        }
        let batch = state.add(key.clone(), self.options.batch_max);
        if self.options.memo > state.memo.len() || state.memo.contains_key(&key) {
            state.memo.insert(key.clone(), Arc::clone(&batch));
        }
        // One that is about to take a batch will take this one; otherwise more help is worth a task.
        let help = state.ready == 0 && state.runners < self.options.batches_in_flight.max(1);
        if help {
            state.runners += 1;
            state.ready += 1;
        }
        drop(state);
        if help {
            // Made here, so that waiters hear of it even if the task never begins.
            let runner = Runner::new(Arc::clone(self));
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(run(runner))),
                Err(_) => drop(runner),
            }
        }
        Ok(Seat::new(batch, key))
    }

    pub(super) fn forget(&self) {
        self.state().memo.clear();
    }
}

impl<K, V> Gathering<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> State<K, V> {
    fn add(&mut self, key: K, batch_max: usize) -> Arc<Batch<K, V>> {
        self.waiting += 1;
        let open = self.open.get_or_insert_with(|| Gathered {
            keys: Vec::new(),
            batch: Batch::new(),
        });
        open.keys.push(key);
        let batch = Arc::clone(&open.batch);
        if open.keys.len() >= batch_max {
            self.full.extend(self.open.take());
        }
        batch
    }

    fn next(&mut self) -> Option<Gathered<K, V>> {
        let next = self.full.pop_front().or_else(|| self.open.take())?;
        self.waiting -= next.keys.len();
        Some(next)
    }
}

/// Fetches batch after batch until nothing has gathered.
async fn run<K, V>(mut runner: Runner<K, V>)
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    loop {
        // The tick: all tasks that can run now ask first.
        tokio::task::yield_now().await;
        let Some(mut keys) = runner.take() else {
            return;
        };
        let mut seen = HashSet::with_capacity(keys.len());
        keys.retain(|key| seen.insert(key.clone()));
        drop(seen);
        // Making the future may panic as well as running it.
        let fetching = AssertUnwindSafe(async { (runner.gathering.fetch)(keys).await });
        let answer = fetching.catch_unwind().await;
        runner.tell(answer.unwrap_or(Err(LoaderError::Panicked)));
    }
}

/// A task that fetches; dropped before its end, it fails whoever waits.
struct Runner<K, V> {
    gathering: Arc<Gathering<K, V>>,
    /// What is being fetched; between batches there is nothing.
    batch: Option<Arc<Batch<K, V>>>,
    over: bool,
}

impl<K, V> Runner<K, V> {
    fn new(gathering: Arc<Gathering<K, V>>) -> Self {
        Self {
            gathering,
            batch: None,
            over: false,
        }
    }

    /// The keys of the next batch. Without one this runner is over, in the same moment.
    fn take(&mut self) -> Option<Vec<K>> {
        let mut state = self.gathering.state();
        state.ready -= 1;
        let Some(Gathered { keys, batch }) = state.next() else {
            state.runners -= 1;
            self.over = true;
            return None;
        };
        self.batch = Some(batch);
        Some(keys)
    }

    fn tell(&mut self, answer: Answer<K, V>) {
        // Ready before anybody wakes: who asks again needs no further task.
        self.gathering.state().ready += 1;
        if let Some(batch) = self.batch.take() {
            batch.tell(answer);
        }
    }
}

/// Only the end of the runtime drops a runner that is not over, so nobody else would serve those who wait.
impl<K, V> Drop for Runner<K, V> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.gathering.state();
        state.runners -= 1;
        let mut left: Vec<_> = self.batch.take().into_iter().collect();
        if left.is_empty() {
            state.ready -= 1;
        }
        if state.runners == 0 {
            left.extend(std::iter::from_fn(|| state.next()).map(|gathered| gathered.batch));
        }
        drop(state);
        for batch in left {
            batch.tell(Err(LoaderError::Stopped));
        }
    }
}
