//! Which component has which name: given names as they are, default names with a number where they are taken.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use crate::component::Component;

/// The names of all components. Those of default names are worked out only when somebody looks at them.
pub(crate) struct Names<'a> {
    components: &'a [Component],
    given: Table,
    /// Hashes and positions of given names that are not in the table yet.
    pending: Vec<(u64, u32)>,
    defaults: OnceCell<Defaults>,
    /// The first of a given name and a later one.
    pub(super) doubled: Vec<(u32, u32)>,
}

struct Defaults {
    table: Table,
    /// What is appended to the default name of each component, as in `closure-2`; 0 for nothing.
    numbers: Vec<u32>,
}

impl<'a> Names<'a> {
    pub(super) fn new(components: &'a [Component]) -> Self {
        Self {
            components,
            given: Table::with_capacity(components.len()),
            pending: Vec::with_capacity(PENDING_MAX),
            defaults: OnceCell::new(),
            doubled: Vec::new(),
        }
    }

    /// Takes the name of the next component into account; each has to come by once, then [`flush`](Self::flush), before
    /// anything is asked.
    pub(super) fn add(&mut self, at: u32, component: &Component) {
        if component.named {
            self.pending.push((hash(&component.name), at));
            if self.pending.len() == PENDING_MAX {
                self.flush();
            }
        }
    }

    /// Puts many names in at a time: with nothing else in between, the processor waits for their places at once.
    pub(super) fn flush(&mut self) {
        let name = |at: u32| &self.components[at as usize].name;
        for (hash, at) in self.pending.drain(..) {
            let same = |other| name(other) == name(at);
            if let Some(first) = self.given.insert(hash, at, same) {
                self.doubled.push((first, at));
            }
        }
    }

    /// The final name of the component at this position.
    pub(super) fn of(&self, at: usize) -> Cow<'a, str> {
        let component = &self.components[at];
        match component.named {
            true => Cow::Borrowed(&component.name),
            false => numbered(&component.name, self.defaults().numbers[at]),
        }
    }

    /// As [`of`](Self::of), to keep.
    pub(super) fn to_keep(&self, at: usize) -> Cow<'static, str> {
        let component = &self.components[at];
        match component.named || self.defaults().numbers[at] == 0 {
            true => component.name.clone(),
            false => self.of(at).into_owned().into(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        let hash = hash(name);
        let given = self
            .given
            .find(hash, |other| self.components[other as usize].name == name);
        given.or_else(|| {
            let Defaults { table, numbers } = self.defaults();
            table.find(hash, |other| self.is_default(other, numbers, name))
        })
    }

    fn defaults(&self) -> &Defaults {
        self.defaults.get_or_init(|| self.number())
    }

    fn number(&self) -> Defaults {
        let mut table = Table::with_capacity(self.components.len());
        let mut numbers = vec![0; self.components.len()];
        let mut last: HashMap<&str, u32, FixedState> = HashMap::default();
        let unnamed = self.components.iter().enumerate();
        for (at, component) in unnamed.filter(|(_, component)| !component.named) {
            let last = last.entry(&component.name).or_insert(0);
            loop {
                // `name`, then `name-2` and so on.
                *last += 1;
                numbers[at] = if *last == 1 { 0 } else { *last };
                let name = numbered(&component.name, numbers[at]);
                let hash = hash(&name);
                let given = self
                    .given
                    .find(hash, |other| self.components[other as usize].name == name);
                let same = |other| self.is_default(other, &numbers, &name);
                if given.is_none() && table.insert(hash, at as u32, same).is_none() {
                    break;
                }
            }
        }
        Defaults { table, numbers }
    }

    fn is_default(&self, at: u32, numbers: &[u32], name: &str) -> bool {
        let base = &*self.components[at as usize].name;
        match numbers[at as usize] {
            0 => base == name,
            number => {
                let rest = name.strip_prefix(base);
                let digits = rest.and_then(|rest| rest.strip_prefix('-'));
                digits.is_some_and(|digits| digits == number.to_string())
            }
        }
    }
}

fn numbered(name: &str, number: u32) -> Cow<'_, str> {
    match number {
        0 => Cow::Borrowed(name),
        number => Cow::Owned(format!("{name}-{number}")),
    }
}

fn hash(name: &str) -> u64 {
    FixedState::default().hash_one(name)
}

/// Finds positions by the hash of their names: open addressing with eight bytes for each, so that a million names are
/// one visit to memory each, and no name is copied.
struct Table {
    /// The upper half of the hash, then the position plus one; 0 for a free place.
    slots: Box<[u64]>,
}

impl Table {
    fn with_capacity(count: usize) -> Self {
        // At most half of the places are ever taken.
        let size = (count * 2 + 1).next_power_of_two();
        Self {
            slots: vec![0; size].into(),
        }
    }

    /// Puts `at` in, unless there is the same name already: then its position is returned.
    fn insert(&mut self, hash: u64, at: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        let (place, found) = self.place(hash, same);
        if found.is_none() {
            self.slots[place] = hash & TAG | (u64::from(at) + 1);
        }
        found
    }

    fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, same).1
    }

    /// The place of the name, with its position when it is there.
    fn place(&self, hash: u64, same: impl Fn(u32) -> bool) -> (usize, Option<u32>) {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot == 0 {
                return (place, None);
            }
            let at = (slot & !TAG) as u32 - 1;
            if slot & TAG == hash & TAG && same(at) {
                return (place, Some(at));
            }
            place = (place + 1) & mask;
        }
    }
}

const TAG: u64 = !0 << 32;

/// Names that are put in at a time.
const PENDING_MAX: usize = 64;
