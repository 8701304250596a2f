//! Which parts there are and what each needs: families of graphs at any size, the same for every subject.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How the parts of a graph depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Chain,
    FanOut,
    FanIn,
    Lattice,
    Random,
}

impl Family {
    pub(crate) const ALL: [Self; 5] = [
        Self::Chain,
        Self::FanOut,
        Self::FanIn,
        Self::Lattice,
        Self::Random,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::FanOut => "fan-out",
            Self::FanIn => "fan-in",
            Self::Lattice => "lattice",
            Self::Random => "random",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Chain => "each after the one before",
            Self::FanOut => "all after the first",
            Self::FanIn => "the last after all others",
            Self::Lattice => {
                "a square of diamonds, each after the one above and the one to the left"
            }
            Self::Random => "each after three others, seeded",
        }
    }

    /// Of so many parts.
    pub(crate) fn of(self, parts: usize) -> Shape {
        let mut random = fastrand::Rng::with_seed(SEED);
        match self {
            Self::Chain => Shape::of(parts, |part, needs| needs.extend(part.checked_sub(1))),
            Self::FanOut => Shape::of(parts, |part, needs| needs.extend((part > 0).then_some(0))),
            Self::FanIn => Shape::of(parts, |part, needs| {
                if part + 1 == parts {
                    needs.extend(0..part);
                }
            }),
            Self::Lattice => {
                let width = parts.isqrt().max(1);
                Shape::of(parts, |part, needs| {
                    needs.extend(part.checked_sub(width));
                    needs.extend((part % width > 0).then(|| part - 1));
                })
            }
            Self::Random => Shape::random(parts, 3, &mut random),
        }
    }
}

/// A graph without a cycle: parts are numbered so that each needs only lower ones.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Where the needs of each begin, and the end of the last.
    first: Vec<u32>,
    needs: Vec<u32>,
    /// For ever, as the names of functions are.
    pub(crate) names: &'static [&'static str],
}

impl Shape {
    /// Of so many parts, of which `needs` lists what each needs.
    pub(crate) fn of(parts: usize, mut needs: impl FnMut(usize, &mut Vec<usize>)) -> Self {
        let mut shape = Self {
            first: vec![0],
            needs: Vec::new(),
            names: names(parts),
        };
        let mut of_part = Vec::new();
        for part in 0..parts {
            of_part.clear();
            needs(part, &mut of_part);
            shape.needs.extend(of_part.iter().map(|need| number(*need)));
            shape.first.push(number(shape.needs.len()));
        }
        shape
    }

    /// Each part needs so many others, fewer where there are none before it.
    pub(crate) fn random(parts: usize, degree: usize, random: &mut fastrand::Rng) -> Self {
        Self::of(parts, |part, needs| {
            let mut chosen = BTreeSet::new();
            while chosen.len() < degree.min(part) {
                chosen.insert(random.usize(..part));
            }
            needs.extend(chosen);
        })
    }

    /// Each part needs each one before it by the same chance, and so many others on the average: many need none, and
    /// there is work for several at once from the beginning.
    pub(crate) fn even(parts: usize, degree: f64, random: &mut fastrand::Rng) -> Self {
        let chance = 2.0 * degree / parts as f64;
        Self::of(parts, |part, needs| {
            needs.extend((0..part).filter(|_| random.f64() < chance));
        })
    }

    pub(crate) fn parts(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn needs(&self, part: usize) -> &[u32] {
        &self.needs[self.first[part] as usize..self.first[part + 1] as usize]
    }

    /// The most that one part needs.
    pub(crate) fn needs_max(&self) -> usize {
        let needs = (0..self.parts()).map(|part| self.needs(part).len());
        needs.max().unwrap_or_default()
    }

    /// The most that one part needs, or that need one part.
    pub(crate) fn widest(&self) -> usize {
        let mut followers = vec![0; self.parts()];
        self.needs
            .iter()
            .for_each(|need| followers[*need as usize] += 1);
        let followers = followers.into_iter().max();
        self.needs_max().max(followers.unwrap_or_default())
    }

    /// Per part those that need it.
    pub(crate) fn followers(&self) -> Vec<Vec<u32>> {
        let mut followers = vec![Vec::new(); self.parts()];
        for part in 0..self.parts() {
            for need in self.needs(part) {
                followers[*need as usize].push(number(part));
            }
        }
        followers
    }

    /// The longest path to the end of each part, if a part takes what `cost` says.
    pub(crate) fn longest(&self, cost: impl Fn(usize) -> f64) -> f64 {
        let mut ends = vec![0.0_f64; self.parts()];
        for part in 0..self.parts() {
            let begin = self.needs(part).iter().map(|need| ends[*need as usize]);
            ends[part] = begin.fold(0.0, f64::max) + cost(part);
        }
        ends.into_iter().fold(0.0, f64::max)
    }

    /// The parts by the number of parts on the longest way to them.
    pub(crate) fn layers(&self) -> Vec<Vec<u32>> {
        let mut depth = vec![0_usize; self.parts()];
        let mut layers: Vec<Vec<u32>> = Vec::new();
        for part in 0..self.parts() {
            let needs = self.needs(part).iter();
            let before = needs.map(|need| depth[*need as usize] + 1).max();
            depth[part] = before.unwrap_or_default();
            if layers.len() == depth[part] {
                layers.push(Vec::new());
            }
            layers[depth[part]].push(number(part));
        }
        layers
    }
}

/// As an index of 32 bits; no graph here has more parts or edges.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than four thousand million")
}

/// `part-0` and so on, made once for all shapes.
fn names(parts: usize) -> &'static [&'static str] {
    static NAMES: Mutex<&[&str]> = Mutex::new(&[]);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if names.len() < parts {
        let name = |part: usize| &*format!("part-{part}").leak();
        let more = (names.len()..parts).map(name);
        let all: Vec<&str> = names.iter().copied().chain(more).collect();
        *names = all.leak();
    }
    &names[..parts]
}

/// Of every random choice here.
pub(crate) const SEED: u64 = 4;
