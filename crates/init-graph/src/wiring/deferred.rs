//! Which components wait until somebody asks for them: those that only `Lazy` reaches.

use super::Csr;
use super::resolve::{Resolved, ResolvedWire};
use crate::param::Kind;

/// Per component whether it is started on demand only.
///
/// A component starts by itself when nobody depends on it and no `Lazy` points at it, and so does everything that such
/// a component depends on by anything but `Lazy`. A `Lazy` of one's own value counts for nothing. Where a group reaches
/// itself only through a `Lazy` of its own, the first of it that no `Lazy` points at starts.
pub(super) fn deferred(resolved: &Resolved, dependencies: &Csr) -> Vec<bool> {
    let count = dependencies.len();
    let mut targeted = vec![false; count];
    let lazy = |at: u32| {
        resolved
            .of(at)
            .iter()
            .filter(move |wire| wire.kind == Kind::Lazy && wire.provider != Some(at))
    };
    for at in 0..count as u32 {
        for provider in lazy(at).filter_map(|wire| wire.provider) {
            targeted[provider as usize] = true;
        }
    }
    let mut wanted = vec![false; count];
    for at in 0..count as u32 {
        for other in dependencies.of(at) {
            wanted[*other as usize] = true;
        }
    }
    let mut marks = Marks {
        eager: vec![false; count],
        reached: vec![false; count],
    };
    for at in (0..count).filter(|at| !targeted[*at] && !wanted[*at]) {
        marks.start(at as u32, dependencies, lazy);
    }
    for at in (0..count).filter(|at| !targeted[*at]) {
        if !marks.reached[at] {
            marks.start(at as u32, dependencies, lazy);
        }
    }
    marks.eager.iter().map(|eager| !eager).collect()
}

struct Marks {
    eager: Vec<bool>,
    /// By an eager component, over edges of any kind.
    reached: Vec<bool>,
}

impl Marks {
    fn start<'a, I>(&mut self, first: u32, dependencies: &Csr, lazy: impl Fn(u32) -> I)
    where
        I: Iterator<Item = &'a ResolvedWire>,
    {
        let mut open = vec![(first, true)];
        while let Some((at, eager)) = open.pop() {
            let index = at as usize;
            if self.eager[index] || (self.reached[index] && !eager) {
                continue;
            }
            self.reached[index] = true;
            self.eager[index] = eager;
            open.extend(dependencies.of(at).iter().map(|other| (*other, eager)));
            open.extend(
                lazy(at)
                    .filter_map(|wire| wire.provider)
                    .map(|other| (other, false)),
            );
        }
    }
}
