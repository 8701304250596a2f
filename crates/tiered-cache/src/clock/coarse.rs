//! The one word that readers of the clock and its ticker share; apart, so that the model checker can
//! run this very file.

use super::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The time of the last tick, or why there is none.
///
/// Alone on its cache line: it is read by every hit and written a hundred times a second.
// Every access is relaxed: the word says all there is to know, and orders nothing else.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Coarse {
    /// A time, or one of the three marks below.
    word: AtomicU64,
    /// Whether somebody read since the last tick.
    read: AtomicBool,
}

/// What a reader is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The time of the last tick.
    At(u64),
    /// Nobody ticks now: read the exact clock.
    Exact,
    /// As `Exact`, and this reader must wake the ticker: nobody else is told to.
    Wake,
}

/// The ticker sleeps, and nobody has asked for it.
const ASLEEP: u64 = 0;
/// A reader is about to wake the ticker.
const WAKING: u64 = 1;
/// There is no ticker, and there will be none.
const EXACT: u64 = 2;

impl Coarse {
    /// With a ticker that is about to run, or without one.
    pub(crate) fn new(ticker: bool) -> Self {
        Self {
            word: AtomicU64::new(if ticker { WAKING } else { EXACT }),
            read: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn read(&self) -> Reading {
        let word = self.word.load(Ordering::Relaxed);
        if word > EXACT {
            // Looks before it writes: a hot line that all threads write would cost more than the
            // exact clock.
            if !self.read.load(Ordering::Relaxed) {
                self.read.store(true, Ordering::Relaxed);
            }
            return Reading::At(word);
        }
        self.read_awake(word)
    }

    #[cold]
    fn read_awake(&self, word: u64) -> Reading {
        if word != ASLEEP {
            return Reading::Exact;
        }
        let woken =
            self.word
                .compare_exchange(ASLEEP, WAKING, Ordering::Relaxed, Ordering::Relaxed);
        match woken {
            Ok(_) => Reading::Wake,
            Err(_) => Reading::Exact,
        }
    }

    /// A reader saw `seen` and knows that it is `exact` by now: the ticker is held up.
    ///
    /// Changes nothing if anything happened since, so it never undoes the ticker's sleep or end.
    pub(crate) fn catch_up(&self, seen: u64, exact: u64) {
        let _ = self
            .word
            .compare_exchange(seen, exact, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The ticker's: says what time it is, and returns whether somebody read since the last tick.
    pub(crate) fn tick(&self, exact: u64) -> bool {
        // A reader that caught up may be a moment ahead.
        self.word.fetch_max(exact, Ordering::Relaxed);
        self.read.swap(false, Ordering::Relaxed)
    }

    /// The ticker's: from now on readers use the exact clock, and the first of them wakes it.
    pub(crate) fn sleep(&self) {
        // A swap, as all that change the word: each then sees what the one before it left.
        self.word.swap(ASLEEP, Ordering::Relaxed);
    }

    /// The ticker's, when it ends: from now on readers use the exact clock.
    pub(crate) fn end(&self) {
        self.word.swap(EXACT, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn is_ticking(&self) -> bool {
        self.word.load(Ordering::Relaxed) > EXACT
    }
}
