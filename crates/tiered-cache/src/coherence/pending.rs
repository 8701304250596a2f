//! Invalidations that the shared tiers have not confirmed: while one is pending, what it covers is not
//! read from them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Change, Effect, Target, Version, change};

/// A bounded set. Those whose caller is still at work are bounded by their callers; of those that wait
/// to be tried again, too many become "the whole cache".
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
    /// Read without the lock by every read of a shared tier.
    count: AtomicUsize,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    items: BTreeMap<u64, Item>,
    /// How many items cover each target.
    covered: BTreeMap<Target, usize>,
    /// Changes of the items that nobody has in hand.
    waiting: usize,
    /// Rises when the log may have lost what it confirmed before.
    generation: u64,
    recent: Recent,
}

/// What was settled lately: a log that fails over may have lost it.
#[derive(Debug, Default)]
struct Recent {
    settled: VecDeque<(u64, Arc<[Change]>)>,
    changes: usize,
    /// When one was forgotten because there were too many.
    forgotten: Option<u64>,
}

/// What one call invalidated, and how far it has come.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) changes: Arc<[Change]>,
    /// For each change that was appended to the log, its version, in order.
    pub(super) appended: Vec<Version>,
    /// To be completed when all is appended.
    pub(super) intent: Option<u64>,
    /// Of the log in which it was appended; see [`lost`](Pending::lost).
    pub(super) generation: u64,
    in_hand: bool,
}

/// What became of an item that was let go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// It was settled.
    Gone,
    /// It waits to be tried again.
    Waiting,
    /// So many wait that they became one.
    Collapsed(Collapsed),
}

/// Items that became one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collapsed {
    pub(super) id: u64,
    pub(super) changes: Arc<[Change]>,
    pub(super) replaced: Vec<u64>,
}

impl Pending {
    /// Numbers its items from above `last_id` on.
    pub(super) fn new(waiting_max: usize, last_id: u64) -> Self {
        Self {
            state: Mutex::new(State {
                last_id,
                ..State::default()
            }),
            count: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Adds an item in the hand of its caller; [`release`](Self::release) it to have it tried again.
    pub(super) fn add(&self, changes: Arc<[Change]>, intent: Option<u64>) -> u64 {
        let mut state = self.lock();
        let id = state.insert(Item::new(changes, intent, true));
        self.publish(&state);
        id
    }

    /// The item, when it is still pending.
    pub(super) fn item(&self, id: u64) -> Option<Item> {
        let state = self.lock();
        let mut item = state.items.get(&id)?.clone();
        item.generation = state.generation;
        Some(item)
    }

    /// The next changes of the item are in the log of that generation under `version`.
    pub(super) fn appended(&self, id: u64, generation: u64, version: Version, changes: usize) {
        let mut state = self.lock();
        if state.generation == generation
            && let Some(item) = state.items.get_mut(&id)
        {
            item.appended.extend(std::iter::repeat_n(version, changes));
        }
    }

    /// The shared tiers have confirmed all of it; `false` when the log was lost meanwhile, and it has
    /// to be done again.
    pub(super) fn settled(&self, id: u64, generation: u64, now: u64) -> bool {
        let mut state = self.lock();
        if state.generation != generation {
            return false;
        }
        if let Some(item) = state.remove(id) {
            state.recent.push(now, item.changes);
        }
        self.publish(&state);
        true
    }

    /// The log may have lost what it confirmed: all that is pending is to be appended again, and so is
    /// what was settled lately, which is pending again as the items that are returned.
    pub(super) fn lost(&self, now: u64) -> Vec<(u64, Arc<[Change]>)> {
        let mut state = self.lock();
        state.generation += 1;
        for item in state.items.values_mut() {
            item.appended.clear();
        }
        let again = std::mem::take(&mut state.recent).within(now);
        let again = again.into_iter().map(|changes| {
            let id = state.insert(Item::new(Arc::clone(&changes), None, false));
            (id, changes)
        });
        let again = again.collect();
        self.publish(&state);
        again
    }

    /// Nobody has it in hand any more.
    pub(super) fn release(&self, id: u64) -> Released {
        let mut state = self.lock();
        let Some(item) = state.items.get_mut(&id) else {
            return Released::Gone;
        };
        let changes = if std::mem::take(&mut item.in_hand) {
            item.changes.len()
        } else {
            0
        };
        state.waiting += changes;
        if state.waiting <= self.waiting_max {
            return Released::Waiting;
        }
        let collapsed = state.collapse(self.waiting_max);
        self.publish(&state);
        Released::Collapsed(collapsed)
    }

    /// Takes the oldest waiting item in hand.
    pub(super) fn take_after(&self, after: u64) -> Option<u64> {
        let mut state = self.lock();
        let mut later = state.items.range_mut(after + 1..);
        let (id, changes) = later.find_map(|(id, item)| {
            (!item.in_hand).then(|| {
                item.in_hand = true;
                (*id, item.changes.len())
            })
        })?;
        state.waiting -= changes;
        Some(id)
    }

    /// Whether an entry may not be read from or written to a shared tier now.
    pub(super) fn blocks(&self, cache: u64, key: u64, tags: &[u64]) -> bool {
        if self.len() == 0 {
            return false;
        }
        let state = self.lock();
        let covered = |target| state.covered.contains_key(&target);
        covered(Target::Key(key))
            || covered(Target::Cache(cache))
            || covered(Target::All)
            || tags.iter().any(|tag| covered(Target::Tag(*tag)))
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    fn publish(&self, state: &State) {
        self.count.store(state.items.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    fn new(changes: Arc<[Change]>, intent: Option<u64>, in_hand: bool) -> Self {
        Self {
            changes,
            appended: Vec::new(),
            intent,
            generation: 0,
            in_hand,
        }
    }
}

impl Recent {
    fn push(&mut self, now: u64, changes: Arc<[Change]>) {
        self.changes += changes.len();
        self.settled.push_back((now, changes));
        while let Some((then, oldest)) = self.settled.front() {
            let old = now.saturating_sub(*then) > RECENT_MS;
            if !old && self.changes <= RECENT_MAX {
                break;
            }
            self.changes -= oldest.len();
            if !old {
                self.forgotten = Some(now);
            }
            self.settled.pop_front();
        }
    }

    /// What was settled so lately that a log may have lost it.
    fn within(self, now: u64) -> Vec<Arc<[Change]>> {
        let late = |then: u64| now.saturating_sub(then) <= RECENT_MS;
        if self.forgotten.is_some_and(late) {
            return vec![[Change::all(Effect::Remove)].into()];
        }
        let settled = self.settled.into_iter();
        settled
            .filter_map(|(then, changes)| late(then).then_some(changes))
            .collect()
    }
}

impl State {
    fn insert(&mut self, item: Item) -> u64 {
        self.last_id += 1;
        for change in &*item.changes {
            *self.covered.entry(change.target).or_default() += 1;
        }
        if !item.in_hand {
            self.waiting += item.changes.len();
        }
        self.items.insert(self.last_id, item);
        self.last_id
    }

    fn remove(&mut self, id: u64) -> Option<Item> {
        let item = self.items.remove(&id)?;
        if !item.in_hand {
            self.waiting -= item.changes.len();
        }
        for change in &*item.changes {
            if let Some(count) = self.covered.get_mut(&change.target) {
                *count -= 1;
                if *count == 0 {
                    self.covered.remove(&change.target);
                }
            }
        }
        Some(item)
    }

    /// Makes one item of all that wait: the caches of the keys instead of the keys.
    fn collapse(&mut self, most: usize) -> Collapsed {
        let waiting = self.items.iter().filter(|(_, item)| !item.in_hand);
        let replaced: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        let waiting: Vec<_> = replaced
            .iter()
            .flat_map(|id| self.items[id].changes.iter().cloned())
            .collect();
        let changes: Arc<[Change]> = change::widened(&waiting, most).into();
        // The new one first: nothing is uncovered in between.
        // An intent that is not completed is carried out by whoever finds it overdue.
        let id = self.insert(Item::new(Arc::clone(&changes), None, false));
        for id in &replaced {
            self.remove(*id);
        }
        Collapsed {
            id,
            changes,
            replaced,
        }
    }
}

/// Longer than a server takes to hand on what it confirmed, or to write it to its disk.
const RECENT_MS: u64 = 30_000;
const RECENT_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Collapsed, Pending, Released};
    use crate::coherence::{Change, Effect, Version};

    fn key(cache: u64, hash: u64) -> Arc<[Change]> {
        [Change::key(cache, hash, Effect::Remove, None)].into()
    }

    fn collapsed(released: Released) -> Collapsed {
        match released {
            Released::Collapsed(collapsed) => collapsed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_pending_blocks_its_key_tag_cache_or_everything() {
        let pending = Pending::new(10, 0);
        let covering = [
            Change::key(1, 7, Effect::Remove, None),
            Change::tag(5, Effect::Expire),
            Change::cache(1, Effect::Remove),
            Change::all(Effect::Remove),
        ];
        for change in covering {
            let id = pending.add([change].into(), None);
            assert!(pending.blocks(1, 7, &[4, 5]));
            assert!(pending.settled(id, 0, 0));
            assert!(!pending.blocks(1, 7, &[4, 5]));
        }
        pending.add(key(1, 8), None);
        assert!(
            !pending.blocks(1, 7, &[8]),
            "a tag of a key's hash is no key"
        );
    }

    #[test]
    fn a_later_invalidation_of_the_same_key_keeps_blocking_when_the_earlier_is_settled() {
        let pending = Pending::new(10, 0);
        let (first, second) = (pending.add(key(1, 7), None), pending.add(key(1, 7), None));
        pending.settled(first, 0, 0);
        assert!(pending.blocks(1, 7, &[]));
        pending.settled(second, 0, 0);
        assert!(!pending.blocks(1, 7, &[]));
        pending.settled(second, 0, 0);
        assert_eq!(pending.len(), 0, "settled twice is settled once");
    }

    #[test]
    fn too_many_that_wait_become_their_caches_and_stay_blocked() {
        let pending = Pending::new(3, 0);
        let kept = pending.add(key(9, 90), None);
        for hash in 0..3 {
            assert_eq!(
                pending.release(pending.add(key(1, hash), None)),
                Released::Waiting
            );
        }
        let collapsed = collapsed(pending.release(pending.add(key(2, 50), None)));
        assert_eq!(
            *collapsed.changes,
            [
                Change::cache(1, Effect::Remove),
                Change::cache(2, Effect::Remove)
            ]
        );
        assert_eq!(collapsed.replaced.len(), 4);
        assert_eq!(pending.len(), 2, "and the one in hand");
        assert!(pending.blocks(1, 2, &[]) && pending.blocks(2, 77, &[]));
        assert!(pending.blocks(9, 90, &[]) && !pending.blocks(9, 91, &[]));
        assert!(pending.item(kept).is_some());
    }

    #[test]
    fn tags_that_wait_in_too_great_number_become_everything() {
        let pending = Pending::new(1, 0);
        pending.release(pending.add([Change::tag(1, Effect::Expire)].into(), None));
        let released = pending.release(pending.add([Change::tag(2, Effect::Expire)].into(), None));
        let changes = collapsed(released).changes;
        assert_eq!(*changes, [Change::all(Effect::Expire)]);
    }

    #[test]
    fn what_is_in_hand_is_not_given_to_another() {
        let pending = Pending::new(10, 0);
        let id = pending.add(key(1, 7), None);
        assert_eq!(pending.take_after(0), None);
        pending.release(id);
        assert_eq!(pending.take_after(0), Some(id));
        assert_eq!(pending.take_after(0), None);
        assert_eq!(pending.waiting(), 0);
    }

    #[test]
    fn what_a_lost_log_confirmed_is_pending_again() {
        let pending = Pending::new(10, 0);
        let appended = |id| pending.item(id).map(|item| item.appended);
        let (old, late) = (pending.add(key(1, 5), None), pending.add(key(1, 6), None));
        assert!(pending.settled(old, 0, 1_000) && pending.settled(late, 0, 20_000));
        let id = pending.add(key(1, 7), None);
        pending.appended(id, 0, Version(5), 1);
        assert_eq!(appended(id), Some(vec![Version(5)]));

        let again = pending.lost(40_000);
        assert_eq!(again.len(), 1, "the older is everywhere by now");
        assert!(pending.blocks(1, 6, &[]) && !pending.blocks(1, 5, &[]));
        assert_eq!(appended(id), Some(vec![]));
        pending.appended(id, 0, Version(6), 1);
        assert_eq!(appended(id), Some(vec![]), "an answer of the lost log");
        assert!(!pending.settled(id, 0, 40_000));
        assert!(pending.settled(id, 1, 40_000));
        assert_eq!(
            pending.lost(80_000),
            [],
            "nobody settled the repeated one since"
        );
    }

    #[test]
    fn more_than_can_be_repeated_is_everything() {
        let pending = Pending::new(10, 0);
        for hash in 0..5_000 {
            pending.settled(pending.add(key(1, hash), None), 0, 7);
        }
        let again = pending.lost(7);
        assert_eq!(again.len(), 1);
        assert_eq!(*again[0].1, [Change::all(Effect::Remove)]);
    }

    #[test]
    fn releasing_twice_counts_once() {
        let pending = Pending::new(10, 0);
        let id = pending.add(key(1, 7), None);
        pending.release(id);
        pending.release(id);
        assert_eq!(pending.waiting(), 1);
        assert!(pending.settled(id, 0, 0));
        assert_eq!(pending.waiting(), 0);
        assert!(!pending.blocks(1, 7, &[]));
    }
}
