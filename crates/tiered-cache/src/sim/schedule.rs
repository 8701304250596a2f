//! One schedule: random steps from a seed, then everything is mended and must come to rest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    database::all_tags,
    dice::Dice,
    disk::DiskMood,
    history::{History, Scope},
    lock,
    op::{How, Op, key},
    profile::{PER_CACHE, Profile},
    replica::{Host, Process, cache_id},
    store::Wrong,
    world::{LineMood, World},
};
use crate::{Effect, TierSet, coherence::Target, key::key_hash, tag::Tag};

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) wrong: Wrong,
    /// Whether the trace is kept as text.
    pub(super) tell: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) hash: u64,
    pub(super) wrongs: Vec<String>,
    pub(super) lines: Vec<String>,
}

struct Schedule {
    world: Arc<World>,
    dice: Dice,
    profile: Profile,
    hosts: Vec<Host>,
    tasks: Vec<(usize, JoinHandle<()>)>,
}

/// Runs the schedule of a seed in virtual time.
pub(super) fn run(plan: Plan) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
    let panics = super::panics();
    runtime.block_on(async {
        let mut schedule = Schedule::new(plan);
        schedule.play().await;
        schedule.mend().await;
        schedule.settle().await;
        let world = &schedule.world;
        if super::panics() > panics {
            world.wrong("something panicked".to_owned());
        }
        world.with(|state, _| Outcome {
            hash: state.trace.hash(),
            wrongs: state.wrongs.clone(),
            lines: state.trace.take_lines(),
        })
    })
}

impl Schedule {
    fn new(plan: Plan) -> Self {
        let dice = Dice::seeded(plan.seed);
        let profile = Profile::draw(&dice);
        let policy = &profile.policy;
        let ttl = policy.ttl.max(policy.negative_ttl);
        let fresh_bound_ms = ttl.as_millis() as u64 + FRESH_SLACK_MS;
        let history = History::new(targets(), SILENT_BOUND_MS, fresh_bound_ms);
        let world = World::new(dice.fork(), 2 * PER_CACHE, history, plan.tell);
        world.with(|state, _| state.store.wrong = plan.wrong);
        world.note(format_args!("{profile:?}"));
        let hosts = (0..profile.replicas).map(|_| Host::new(&profile)).collect();
        Self {
            world,
            dice,
            profile,
            hosts,
            tasks: Vec::new(),
        }
    }

    async fn play(&mut self) {
        for host in 0..self.hosts.len() {
            self.start(host).await;
        }
        for _ in 0..self.profile.steps {
            self.bury();
            if self.profile.fault_every > 0 && self.dice.one_in(self.profile.fault_every) {
                self.fault();
            }
            if self.profile.kill_every > 0 && self.dice.one_in(self.profile.kill_every) {
                self.kill_or_start().await;
            }
            self.call();
            let pause_ms = match self.dice.below(8) {
                0..=2 => 0,
                3..=5 => self.dice.below(20),
                6 => self.dice.below(1_000),
                _ => self
                    .dice
                    .pick(&[1_000, 2_000, 2_000, 5_000, 5_000, 16_000, 45_000]),
            };
            if pause_ms > 0 {
                sleep(Duration::from_millis(pause_ms)).await;
            }
        }
    }

    // === steps ===

    /// Somebody calls the caches of some running process.
    fn call(&mut self) {
        let host = self.dice.index(self.hosts.len());
        let op = Op::draw(&self.dice, 2 * PER_CACHE);
        let patience = (self.dice.one_in(8)).then(|| self.dice.below(400));
        let Some(process) = self.hosts[host].running.clone() else {
            return;
        };
        self.spawn(process, op, patience);
    }

    fn spawn(&mut self, process: Arc<Process>, op: Op, patience_ms: Option<u64>) {
        let world = Arc::clone(&self.world);
        let number = process.number;
        let bound = bound(&op);
        let name = format!("{op:?}");
        let task = tokio::spawn(async move {
            let call = Box::pin(op.run(Arc::clone(&world), Arc::clone(&process)));
            let Some(patience_ms) = patience_ms else {
                if timeout(bound, call).await.is_err() && !process.is_dead() {
                    world.wrong(format!("process {number}: no end of {name}"));
                }
                return;
            };
            let patience = Duration::from_millis(patience_ms);
            if timeout(patience, call).await.is_err() {
                world.note(format_args!("process {number}: dropped {name}"));
            }
        });
        self.tasks.push((number, task));
    }

    /// Something begins to go wrong, or ends to.
    fn fault(&mut self) {
        let host = self.dice.index(self.hosts.len());
        let host = &self.hosts[host];
        let mood = self.dice.pick(&LineMood::ALL);
        let world = &self.world;
        match self.dice.below(14) {
            0..=2 => {
                world.note(format_args!("values of {:?}: {mood:?}", host.number()));
                *lock(&host.lines.values) = mood;
            }
            3..=5 => {
                world.note(format_args!("log of {:?}: {mood:?}", host.number()));
                *lock(&host.lines.log) = mood;
            }
            6 => {
                world.note(format_args!("all lines: {mood:?}"));
                for host in &self.hosts {
                    *lock(&host.lines.values) = mood;
                    *lock(&host.lines.log) = mood;
                }
            }
            7 | 8 => {
                let mood = self.dice.pick(&DiskMood::ALL);
                world.note(format_args!("disk of {:?}: {mood:?}", host.number()));
                *lock(&host.disk_mood) = mood;
            }
            _ => self.strike_server(),
        }
    }

    fn strike_server(&self) {
        let dice = &self.dice;
        let what = dice.below(8);
        let count = dice.index(5);
        let skew_ms = dice.pick(&[0, -2_000, -60_000, 5_000]);
        let key_at = dice.number() as usize;
        self.world.with(|state, now_ms| {
            let store = &mut state.store;
            let event = match what {
                0 => {
                    store.flush();
                    "flushed".to_owned()
                }
                1 => {
                    store.fail_over(count);
                    format!("fails over, {count} appends lost")
                }
                2 => {
                    store.restart();
                    "restarts".to_owned()
                }
                3 => {
                    store.trim(count);
                    format!("trims the log to {count}")
                }
                4 => {
                    store.evict_log();
                    "evicts a part of the log".to_owned()
                }
                5 => {
                    store.evict_intents();
                    "evicts the intents".to_owned()
                }
                6 => {
                    store.skew_ms = skew_ms;
                    format!("clock is {skew_ms} ms ahead")
                }
                _ => {
                    let keys = store.keys();
                    let key = keys.get(key_at % keys.len().max(1)).cloned();
                    store.evict(key.as_deref().unwrap_or_default());
                    format!("evicts {key:?}")
                }
            };
            let store = &state.store;
            state
                .history
                .disturbed(|version| store.has_record(version), now_ms);
            state.trace.note(now_ms, format_args!("redis: {event}"));
        });
        self.world.log_moved.notify_waiters();
    }

    async fn kill_or_start(&mut self) {
        let host = self.dice.index(self.hosts.len());
        let lose_folder = self.dice.one_in(4);
        match &self.hosts[host].running {
            Some(process) => process.kill(),
            None => self.start(host).await,
        }
        self.bury();
        if lose_folder && self.hosts[host].running.is_none() {
            self.hosts[host].lose_folder();
            self.world
                .note(format_args!("host {host} loses its folder"));
        }
    }

    async fn start(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.start(&self.world, &self.profile, self.dice.fork())
            .await;
    }

    /// Processes that died leave nothing behind but their folder.
    fn bury(&mut self) {
        for host in &mut self.hosts {
            if let Some(number) = host.bury() {
                self.world.note(format_args!("process {number} is dead"));
                for (_, task) in self.tasks.iter().filter(|(of, _)| *of == number) {
                    task.abort();
                }
            }
        }
        self.tasks.retain(|(_, task)| !task.is_finished());
    }

    // === the end ===

    /// All that is broken is mended, and all processes run.
    async fn mend(&mut self) {
        self.world.note(format_args!("all is mended"));
        for host in &self.hosts {
            *lock(&host.lines.values) = LineMood::Well;
            *lock(&host.lines.log) = LineMood::Well;
            *lock(&host.disk_mood) = DiskMood::Well;
        }
        // Calls that are under way end, and some with the death of their process.
        for _ in 0..WRITE_BOUND.as_secs() {
            self.bury();
            if self.tasks.is_empty() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.bury();
        for host in 0..self.hosts.len() {
            if self.hosts[host].running.is_none() {
                self.start(host).await;
            }
        }
        sleep(REST_MIN).await;
        let mut rested = REST_MIN;
        while rested < REST_MAX && self.unrest().is_some() {
            sleep(Duration::from_secs(1)).await;
            rested += Duration::from_secs(1);
        }
        let settled: Vec<usize> = self.hosts.iter().flat_map(Host::lineage).collect();
        self.world.with(|state, now_ms| {
            for (call, process) in state.acknowledged.clone() {
                if settled.contains(&process) {
                    state.history.everybody_knows(call, now_ms);
                }
            }
            let losses = state.store.losses();
            for (calls, losses_then, process) in state.promises.clone() {
                if losses == losses_then && self.profile.redis || settled.contains(&process) {
                    for call in calls {
                        state.history.everybody_knows(call, now_ms);
                    }
                }
            }
        });
        sleep(Duration::from_millis(1)).await;
    }

    async fn settle(&mut self) {
        for (_, task) in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await
                && error.is_panic()
            {
                self.world.wrong(format!("a caller panicked: {error}"));
            }
        }
        if let Some(unrest) = self.unrest() {
            self.world.wrong(unrest);
        }
        self.read_all().await;
        self.one_more_round().await;
    }

    /// What is not as it should be when nothing happens any more.
    fn unrest(&self) -> Option<String> {
        let intents = self.world.with(|state, _| state.store.intents());
        let running = self.hosts.iter().filter_map(|host| host.running.as_ref());
        let unrest = running.filter_map(|process| process.unrest());
        let intents = (intents > 0).then(|| format!("{intents} intents are left"));
        intents.into_iter().chain(unrest).next()
    }

    async fn read_all(&mut self) {
        for row in 0..2 * PER_CACHE {
            self.on_all(|| Op::Get {
                row,
                tiers: TierSet::ALL,
            })
            .await;
        }
    }

    /// In good health, everybody knows of a removal within [`DELIVERY`].
    async fn one_more_round(&mut self) {
        for row in 0..2 * PER_CACHE {
            let writer = row % self.hosts.len();
            let Some(process) = self.hosts[writer].running.clone() else {
                continue;
            };
            let write = Op::Write {
                row,
                present: true,
                pause_ms: 0,
                how: How::Key(Effect::Remove),
            };
            let before = self.world.with(|state, _| state.acknowledged.len());
            self.spawn(process, write, None);
            sleep(DELIVERY).await;
            self.world.with(|state, now_ms| {
                for (call, _) in state.acknowledged.split_off(before) {
                    state.history.everybody_knows(call, now_ms - 1);
                }
            });
        }
        self.read_all().await;
        for (_, task) in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
    }

    async fn on_all(&mut self, op: impl Fn() -> Op) {
        let running: Vec<_> = self
            .hosts
            .iter()
            .filter_map(|host| host.running.clone())
            .collect();
        for process in running {
            self.spawn(process, op(), None);
        }
        for (_, task) in std::mem::take(&mut self.tasks) {
            if task.await.is_err_and(|error| error.is_panic()) {
                self.world.wrong("a caller panicked".to_owned());
            }
        }
    }
}

/// What the hashes in records stand for.
fn targets() -> BTreeMap<Target, Scope> {
    let mut targets = BTreeMap::from([(Target::All, Scope::All)]);
    for tag in all_tags() {
        targets.insert(Target::Tag(Tag::new(&tag).hash), Scope::Tag(tag));
    }
    for cache in 0..2 {
        let id = cache_id(cache);
        let rows: Vec<usize> = (cache * PER_CACHE..(cache + 1) * PER_CACHE).collect();
        for prefix in ["a:", "b:"] {
            let matching = rows.iter().copied();
            let matching = matching.filter(|row| key(*row).starts_with(prefix));
            let hash = Tag::of_prefix(id, prefix).hash;
            targets.insert(Target::Tag(hash), Scope::Rows(matching.collect()));
        }
        for row in &rows {
            let hash = key_hash(&key(*row), id);
            targets.insert(Target::Key(hash), Scope::Rows(vec![*row]));
        }
        targets.insert(Target::Cache(id), Scope::Rows(rows));
    }
    targets
}

/// Within which time every call ends, whatever is broken.
fn bound(op: &Op) -> Duration {
    match op {
        Op::Get { .. } | Op::Peek { .. } | Op::GetMany { .. } => READ_BOUND,
        Op::Load { .. } | Op::LoadMany { .. } => LOAD_BOUND,
        Op::Write { .. } | Op::Batch { .. } => WRITE_BOUND,
    }
}

const READ_BOUND: Duration = Duration::from_secs(5);
const LOAD_BOUND: Duration = Duration::from_secs(10);
const WRITE_BOUND: Duration = Duration::from_secs(10);
const SILENT_BOUND_MS: u64 = 40_000;
const FRESH_SLACK_MS: u64 = 10_000;
/// Pages of the log arrive. Intents that are not yet due are no rest.
const REST_MIN: Duration = Duration::from_secs(3);
/// Breakers close, and retries come through.
const REST_MAX: Duration = Duration::from_secs(60);
const DELIVERY: Duration = Duration::from_secs(1);
