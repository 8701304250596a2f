//! What callers do with the caches of one process, and what they check of every answer.

use std::{
    future::pending,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::{
    database::{Value, tags},
    history::{Answer, Began},
    load::{Away, LoadEnd, LoadPlan},
    lock,
    op::{BatchEnd, How, KEYS, Op, key},
    profile::PER_CACHE,
    replica::Process,
    store::Wrong,
    world::World,
};
use crate::{
    Cached, Effect, Invalidation, LoadContext, LoadError, Lookup, TierKind, TierSet, TieredCache,
};

impl Op {
    pub(super) async fn run(self, world: Arc<World>, process: Arc<Process>) {
        let caller = Caller { world, process };
        match self {
            Self::Get { row, tiers } => {
                let began = caller.begin(format_args!("get {row} in {tiers:?}"));
                let key = key(row);
                let found = caller.cache(row).entry(&key).tiers(tiers).get().await;
                caller.check(began, row, &found);
            }
            Self::Peek { row } => {
                let began = caller.begin(format_args!("peek {row}"));
                let found = caller.cache(row).peek(&key(row));
                caller.check_peek(began, row, found);
            }
            Self::Load { row, tiers, plan } => caller.load(row, tiers, plan).await,
            Self::GetMany { cache } => caller.get_many(cache).await,
            Self::LoadMany { cache, plan } => caller.load_many(cache, plan).await,
            Self::Write {
                row,
                present,
                pause_ms,
                how,
            } => caller.write(row, present, pause_ms, how).await,
            Self::Batch {
                row,
                how,
                pauses_ms,
                end,
            } => caller.batch(row, how, pauses_ms, end).await,
        }
    }
}

/// One caller in one process.
struct Caller {
    world: Arc<World>,
    process: Arc<Process>,
}

impl Caller {
    fn begin(&self, what: std::fmt::Arguments<'_>) -> Began {
        let process = self.process.number;
        self.world.note(format_args!("process {process}: {what}"))
    }

    fn cache(&self, row: usize) -> &TieredCache<String, Value> {
        match row / PER_CACHE {
            0 => &self.process.users,
            _ => &self.process.posts,
        }
    }

    // === reads ===

    async fn load(&self, row: usize, tiers: TierSet, plan: LoadPlan) {
        let began = self.begin(format_args!("load {row} in {tiers:?}, {plan:?}"));
        let world = Arc::clone(&self.world);
        self.expect_trouble(row, plan);
        let key = key(row);
        let entry = self.cache(row).entry(&key).tiers(tiers);
        let found = entry
            .get_or_load_with(move |cx| {
                let shown = cx.stale.map(|stale| stale.version);
                plan.run(world, row, shown)
            })
            .await;
        self.check_load(began, row, found);
    }

    async fn get_many(&self, cache: usize) {
        let rows: Vec<usize> = (0..PER_CACHE).map(|at| cache * PER_CACHE + at).collect();
        let keys: Vec<String> = rows.iter().map(|row| key(*row)).collect();
        let began = self.begin(format_args!("get many of {cache}"));
        let found = self.cache(rows[0]).get_many(&keys).await;
        assert_eq!(found.len(), rows.len(), "one answer for each key");
        for (row, found) in rows.into_iter().zip(&found) {
            self.check(began, row, found);
        }
    }

    async fn load_many(&self, cache: usize, plan: LoadPlan) {
        let rows: Vec<usize> = (0..PER_CACHE).map(|at| cache * PER_CACHE + at).collect();
        let keys: Vec<String> = rows.iter().map(|row| key(*row)).collect();
        let began = self.begin(format_args!("load many of {cache}, {plan:?}"));
        for row in &rows {
            self.expect_trouble(*row, plan);
        }
        let world = Arc::clone(&self.world);
        let first = rows[0];
        let loader = move |missing: Vec<LoadContext<String, Value>>| async move {
            let each = missing.into_iter().map(|context| {
                let place = KEYS.iter().position(|key| *key == context.key);
                let row = first + place.unwrap_or_default();
                let shown = context.stale.map(|stale| stale.version);
                let load = plan.run(Arc::clone(&world), row, shown);
                async move { Ok::<_, Away>((context.key, load.await?)) }
            });
            try_join_all(each).await
        };
        let found = self.cache(first).get_or_load_many_with(&keys, loader).await;
        match found {
            Ok(found) => {
                for (row, found) in rows.into_iter().zip(&found) {
                    self.check(began, row, found);
                }
            }
            Err(error) => self.check_error(first..first + PER_CACHE, &error),
        }
    }

    /// Loads of the row may fail for a while.
    fn expect_trouble(&self, row: usize, plan: LoadPlan) {
        if plan.end != LoadEnd::Value {
            let process = self.process.number;
            self.world.with(|state, now_ms| {
                state.troubled.insert((process, row), now_ms);
            });
        }
    }

    fn check_load(&self, began: Began, row: usize, found: Result<Lookup<Value>, LoadError>) {
        match found {
            Ok(found) => self.check(began, row, &found),
            Err(error) => self.check_error(row..row + 1, &error),
        }
    }

    /// A load that failed must be one of a loader that did, for one of these rows.
    fn check_error(&self, rows: Range<usize>, error: &LoadError) {
        let process = self.process.number;
        self.world
            .note(format_args!("process {process}: {rows:?} gave {error}"));
        let troubled = self.world.with(|state, _| {
            let mut rows = rows.clone();
            rows.any(|row| state.troubled.contains_key(&(process, row)))
        });
        if !troubled {
            self.world.wrong(format!(
                "rows {rows:?}: no loader failed, and yet: {error:?}"
            ));
        }
    }

    fn check(&self, began: Began, row: usize, found: &Lookup<Value>) {
        let (answer, value) = match found {
            Lookup::Hit { value, .. } | Lookup::Loaded { value } => {
                (Answer::Fresh(value.version), Some(value))
            }
            Lookup::Stale { value, .. } => (Answer::Stale(value.version), Some(value)),
            Lookup::Absent => (Answer::Absent, None),
            Lookup::Miss => return,
        };
        self.judge(began, row, answer, value, found.tier());
    }

    fn check_peek(&self, began: Began, row: usize, found: Option<Cached<Value>>) {
        let Some(value) = found else { return };
        let answer = match value.is_stale() {
            true => Answer::Stale(value.version),
            false => Answer::Fresh(value.version),
        };
        self.judge(began, row, answer, Some(&value), Some(TierKind::Memory));
    }

    fn judge(
        &self,
        began: Began,
        row: usize,
        answer: Answer,
        value: Option<&Cached<Value>>,
        tier: Option<TierKind>,
    ) {
        let process = self.process.number;
        self.world.note(format_args!(
            "process {process}: {row} is {answer:?} from {tier:?}, asked at {} ms",
            began.at_ms
        ));
        if value.is_some_and(|value| value.row != row) {
            self.world
                .wrong(format!("row {row}: the value of another row"));
        }
        let verdict = self.world.with(|state, _| {
            let history = &state.history;
            history.check(process, began, row, answer, &state.database)
        });
        if let Err(why) = verdict {
            self.world
                .wrong(format!("process {process}, from {tier:?}: {why}"));
        }
    }

    // === writes ===

    fn commit(&self, row: usize, present: bool) -> u64 {
        let version = self
            .world
            .with(|state, now_ms| state.database.commit(row, present, now_ms));
        self.begin(format_args!("commit {row} at version {version}, {present}"));
        version
    }

    /// Notes that a call begins from whose first poll on this process knows.
    fn call(&self, how: &How, row: usize) -> usize {
        let began = self.begin(format_args!("{how:?} for {row}"));
        let process = self.process.number;
        self.world.with(|state, _| {
            let versions = state.database.versions();
            let (scope, effect) = (how.scope(row), how.effect());
            state
                .history
                .called(process, scope, effect, versions, began)
        })
    }

    fn returned(&self, calls: &[usize]) {
        let began = self.begin(format_args!("returned {calls:?}"));
        self.world.with(|state, _| {
            for call in calls {
                state.history.returned(*call);
                state.acknowledged.push((*call, self.process.number));
            }
        });
        let _ = began;
    }

    async fn write(&self, row: usize, present: bool, pause_ms: u64, how: How) {
        if how == How::Insert {
            return self.insert(row).await;
        }
        self.commit(row, present);
        sleep(Duration::from_millis(pause_ms)).await;
        let cache = self.cache(row);
        let call = self.call(&how, row);
        match &how {
            How::Key(Effect::Remove) => cache.remove(&key(row)).await,
            How::Key(_) => cache.expire(&key(row)).await,
            How::Many => {
                let first = row / PER_CACHE * PER_CACHE;
                let keys: Vec<String> = (first..first + PER_CACHE).map(key).collect();
                cache.remove_many(&keys).await;
            }
            How::Insert => {}
            How::Tag(tag, effect) => {
                let caches = &self.process.caches;
                caches.invalidate_tag(tag.as_str(), *effect).await;
            }
            How::Prefix(prefix, effect) => cache.invalidate_prefix(prefix, *effect).await,
            How::Cache(Effect::Remove) => cache.clear().await,
            How::Cache(_) => cache.expire_all().await,
        }
        self.returned(&[call]);
    }

    async fn insert(&self, row: usize) {
        let version = self.commit(row, true);
        let value = self.world.with(|state, _| {
            let old = state.store.wrong == Wrong::InsertionsAreOld;
            let shown = version - u64::from(old);
            state.database.read_at(row, shown)
        });
        let Some(value) = value else { return };
        let insertion = self
            .world
            .with(|state, now_ms| state.history.inserting(row, version, now_ms));
        let _ends = Inserting {
            world: Arc::clone(&self.world),
            insertion,
        };
        let call = self.call(&How::Insert, row);
        let [first, second] = tags(row, version);
        let key = key(row);
        let entry = self.cache(row).entry(&key);
        entry.tag(first).tag(second).insert(value).await;
        self.returned(&[call]);
    }

    async fn batch(&self, row: usize, how: [How; 2], pauses_ms: [u64; 2], end: BatchEnd) {
        self.begin(format_args!("batch for {row}: {how:?}, {end:?}"));
        let dropped = Dropped {
            caller: self,
            how: &how,
            row,
            armed: Mutex::new(true),
        };
        let mut batch = self.process.caches.invalidations().begin();
        for how in &how {
            batch.push(self.invalidation(how, row));
        }
        let prepared = batch.prepare().await;
        let losses = self.world.with(|state, _| state.store.losses());
        self.begin(format_args!("prepared: {}", prepared.is_ok()));
        sleep(Duration::from_millis(pauses_ms[0])).await;
        if prepared.is_err() || end == BatchEnd::RollBack {
            *lock(&dropped.armed) = false;
            batch.rollback().await;
            return;
        }
        self.commit(row, true);
        sleep(Duration::from_millis(pauses_ms[1])).await;
        match end {
            BatchEnd::Drop => drop(batch),
            BatchEnd::Crash => {
                *lock(&dropped.armed) = false;
                let calls = how.iter().map(|how| self.call(how, row)).collect();
                self.process.kill();
                self.begin(format_args!("dies before the batch's commit"));
                self.world.with(|state, _| {
                    state.promises.push((calls, losses, self.process.number));
                });
                pending::<()>().await;
            }
            _ => {
                *lock(&dropped.armed) = false;
                let calls: Vec<usize> = how.iter().map(|how| self.call(how, row)).collect();
                batch.commit().await;
                self.returned(&calls);
            }
        }
    }

    fn invalidation(&self, how: &How, row: usize) -> Invalidation {
        let cache = self.cache(row);
        let invalidation = match how {
            How::Key(_) | How::Insert | How::Many => Invalidation::key(cache, &key(row)),
            How::Tag(tag, _) => Invalidation::tag(tag.as_str()),
            How::Prefix(prefix, _) => Invalidation::prefix(cache, prefix),
            How::Cache(_) => Invalidation::cache(cache),
        };
        match how.effect() {
            Effect::Remove => invalidation.remove(),
            _ => invalidation.expire(),
        }
    }
}

/// What an insertion has sent may land for a while after its end.
struct Inserting {
    world: Arc<World>,
    insertion: usize,
}

impl Drop for Inserting {
    fn drop(&mut self) {
        self.world.with(|state, now_ms| {
            let until_ms = now_ms + IN_FLIGHT_MS;
            state.history.inserted(self.insertion, until_ms);
        });
    }
}

/// A batch that is dropped without a word invalidates: its fate in the database is not known. Declared
/// before the batch, so that it goes after it.
struct Dropped<'a> {
    caller: &'a Caller,
    how: &'a [How; 2],
    row: usize,
    armed: Mutex<bool>,
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if *lock(&self.armed) {
            for how in self.how {
                self.caller.call(how, self.row);
            }
        }
    }
}

/// How long after its caller went away a command may still be carried out.
const IN_FLIGHT_MS: u64 = 12_000;
