//! Counters for the path of a hit: each thread counts in a cache line of its own, readers add them up.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Up to [`SLOTS`] counters that many threads raise at once; 4 KiB.
///
/// The first [`OWNED`] threads that count at the same time have a line each, which they raise by a plain
/// load and store (1 ns); further threads share the other lines by an atomic addition.
pub(super) struct Stripes {
    lines: [Line; LINES],
}

/// A pair of cache lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; SLOTS]);

impl Stripes {
    pub(super) fn new() -> Self {
        Self {
            lines: [const { Line([const { AtomicU64::new(0) }; SLOTS]) }; LINES],
        }
    }

    /// Adds one to the counter in `slot`, which is below [`SLOTS`].
    #[inline]
    pub(super) fn add(&self, slot: usize) {
        let line = line_of_thread();
        let counter = &self.lines[line % LINES].0[slot % SLOTS];
        if line < OWNED {
            // No other thread writes to this line while this one owns it.
            let count = counter.load(Ordering::Relaxed);
            counter.store(count.wrapping_add(1), Ordering::Relaxed);
        } else {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sum over all threads: what was added before it was asked for, and perhaps what is added
    /// meanwhile.
    pub(super) fn sum(&self, slot: usize) -> u64 {
        self.lines
            .iter()
            .map(|line| line.0[slot % SLOTS].load(Ordering::Relaxed))
            .sum()
    }
}

impl fmt::Debug for Stripes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries((0..SLOTS).map(|slot| self.sum(slot)))
            .finish()
    }
}

// === Which line a thread counts in ===

thread_local! {
    // Without a destructor, so that reading it is one load at an offset.
    static LINE: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Lease = Lease::take();
}

#[inline]
fn line_of_thread() -> usize {
    let line = LINE.get();
    if line == UNKNOWN { choose_line() } else { line }
}

#[cold]
fn choose_line() -> usize {
    // A thread that is ending has given its lease back and counts in a shared line.
    let line = LEASE.try_with(|lease| lease.0).unwrap_or(OWNED);
    LINE.set(line);
    line
}

/// The line of one thread, given back when the thread ends.
struct Lease(usize);

/// Bit `n` is set while line `n` has an owner. The lock orders the counts of one owner before those of
/// the next.
static OWNERS: Mutex<u32> = Mutex::new(0);
static SHARERS: AtomicUsize = AtomicUsize::new(0);

impl Lease {
    fn take() -> Self {
        let mut owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = owners.trailing_ones() as usize;
        if free < OWNED {
            *owners |= 1 << free;
            return Self(free);
        }
        let sharer = SHARERS.fetch_add(1, Ordering::Relaxed);
        Self(OWNED + sharer % (LINES - OWNED))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First, so that a later destructor of this thread that counts does not use the line.
        LINE.set(OWNED);
        if self.0 < OWNED {
            *OWNERS.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.0);
        }
    }
}

pub(super) const SLOTS: usize = 16;
const LINES: usize = 32;
/// As many as a large machine has worker threads in use at once; the bits of `OWNERS` allow 31.
const OWNED: usize = 24;
const UNKNOWN: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::{LINES, Stripes};

    #[test]
    fn no_count_is_lost_among_more_threads_than_lines() {
        let stripes = Arc::new(Stripes::new());
        // Twice, so that lines change owners.
        for round in 1..=2_u64 {
            let threads: Vec<_> = (0..LINES + 16)
                .map(|_| {
                    let stripes = Arc::clone(&stripes);
                    thread::spawn(move || (0..5_000).for_each(|_| stripes.add(3)))
                })
                .collect();
            for thread in threads {
                thread.join().expect("it only counts");
            }
            assert_eq!(stripes.sum(3), round * (LINES as u64 + 16) * 5_000);
        }
        assert_eq!(stripes.sum(4), 0);
    }
}
