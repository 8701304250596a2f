//! One bench: its subjects, how they are set up, and on how many lanes they run.

use std::collections::BTreeSet;
use std::fmt;

use crate::cores::Cores;
use crate::work::{Batched, Concurrent, Plain, Shared, Work};

/// One job, and who does it.
///
/// Subjects come in four kinds. A set-up is called once, and only if the bench is selected; it returns the operation
/// that is measured.
///
/// | kind | the set-up returns | for |
/// | --- | --- | --- |
/// | [`ours`](Self::ours) | `FnMut() -> T` | most |
/// | [`ours_shared`](Self::ours_shared) | `Fn(usize) -> impl FnMut() -> T` | several threads on shared state |
/// | [`ours_async`](Self::ours_async) | `AsyncFn() -> T` | futures, one at a time or many at once |
/// | [`ours_batched`](Self::ours_batched) | `(FnMut() -> I, FnMut(I) -> T)` | operations that use up their input |
///
/// What an operation returns goes through [`black_box`](std::hint::black_box) and is dropped within the measured time.
/// What it captures is opaque to the optimiser too, constants that it computes with are not.
#[derive(Debug)]
pub struct Bench {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) threads: Vec<usize>,
    pub(crate) concurrency: Vec<usize>,
    pub(crate) subjects: Vec<Subject>,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            about: String::new(),
            threads: vec![1],
            concurrency: vec![1],
            subjects: Vec::new(),
        }
    }

    /// What is measured, on one line, as `--list` shows it: the job, the sizes, the distribution of keys.
    pub fn about(&mut self, about: &str) -> &mut Self {
        about.clone_into(&mut self.about);
        self
    }

    /// How many threads run a [shared](Self::ours_shared) operation at once: each number is measured on its own, as
    /// `NAME`, `NAME-t2` and so on, if there is a core for each. Subjects of other kinds take part with one thread.
    /// Default: `[1]`.
    pub fn threads(&mut self, threads: &[usize]) -> &mut Self {
        threads.clone_into(&mut self.threads);
        self
    }

    /// How many futures of an [async](Self::ours_async) operation are under way at once, on one thread: each number is
    /// measured on its own, as `NAME`, `NAME-c64` and so on. Default: `[1]`.
    pub fn concurrency(&mut self, concurrency: &[usize]) -> &mut Self {
        concurrency.clone_into(&mut self.concurrency);
        self
    }

    /// Adds our subject. In `METRIC` lines it has the name of the suite.
    pub fn ours<Op, T>(&mut self, label: &str, set_up: impl FnOnce() -> Op + 'static) -> &mut Self
    where
        Op: FnMut() -> T + 'static,
        T: 'static,
    {
        self.subject(label, true, |_| Box::new(Plain::new(set_up())))
    }

    /// Adds a peer. In `METRIC` lines it has its label, with `-` for spaces.
    ///
    /// A label that begins with `floor:` names no peer but what the job costs at the very least, such as a bare counter
    /// beside a progress bar: reports show it and leave it out of every verdict.
    pub fn peer<Op, T>(&mut self, label: &str, set_up: impl FnOnce() -> Op + 'static) -> &mut Self
    where
        Op: FnMut() -> T + 'static,
        T: 'static,
    {
        self.subject(label, false, |_| Box::new(Plain::new(set_up())))
    }

    /// Adds our subject, for [several threads](Self::threads). The set-up makes the shared state and returns a closure
    /// that makes the operation of a thread, called on that thread with its number from 0.
    pub fn ours_shared<Make, Op, T>(
        &mut self,
        label: &str,
        set_up: impl FnOnce() -> Make + 'static,
    ) -> &mut Self
    where
        Make: Fn(usize) -> Op + Send + Sync + 'static,
        Op: FnMut() -> T + 'static,
        T: 'static,
    {
        self.subject(label, true, |cores| Box::new(Shared::new(set_up, cores)))
    }

    /// Adds a peer of [`ours_shared`](Self::ours_shared).
    pub fn peer_shared<Make, Op, T>(
        &mut self,
        label: &str,
        set_up: impl FnOnce() -> Make + 'static,
    ) -> &mut Self
    where
        Make: Fn(usize) -> Op + Send + Sync + 'static,
        Op: FnMut() -> T + 'static,
        T: 'static,
    {
        self.subject(label, false, |cores| Box::new(Shared::new(set_up, cores)))
    }

    /// Adds our subject, whose operation is async. Set-up and operation run on a current-thread runtime of tokio with
    /// timers and, where the feature is on, sockets. State that changes goes into a [`Cell`](std::cell::Cell): several
    /// futures of one operation may be [under way](Self::concurrency).
    pub fn ours_async<Op, T>(
        &mut self,
        label: &str,
        set_up: impl AsyncFnOnce() -> Op + 'static,
    ) -> &mut Self
    where
        Op: AsyncFn() -> T + 'static,
        T: 'static,
    {
        self.subject(label, true, |_| Box::new(Concurrent::new(set_up)))
    }

    /// Adds a peer of [`ours_async`](Self::ours_async).
    pub fn peer_async<Op, T>(
        &mut self,
        label: &str,
        set_up: impl AsyncFnOnce() -> Op + 'static,
    ) -> &mut Self
    where
        Op: AsyncFn() -> T + 'static,
        T: 'static,
    {
        self.subject(label, false, |_| Box::new(Concurrent::new(set_up)))
    }

    /// Adds our subject, whose operation uses up its input. The first closure makes an input outside the measured time,
    /// the second is measured. As many inputs exist at once as take the second 10 us, 256 at most, so that they come from
    /// colder caches than an input that is used again: compare batched subjects with batched ones.
    pub fn ours_batched<Prepare, Input, Op, T>(
        &mut self,
        label: &str,
        set_up: impl FnOnce() -> (Prepare, Op) + 'static,
    ) -> &mut Self
    where
        Prepare: FnMut() -> Input + 'static,
        Input: 'static,
        Op: FnMut(Input) -> T + 'static,
        T: 'static,
    {
        self.subject(label, true, |_| Box::new(Batched::new(set_up())))
    }

    /// Adds a peer of [`ours_batched`](Self::ours_batched).
    pub fn peer_batched<Prepare, Input, Op, T>(
        &mut self,
        label: &str,
        set_up: impl FnOnce() -> (Prepare, Op) + 'static,
    ) -> &mut Self
    where
        Prepare: FnMut() -> Input + 'static,
        Input: 'static,
        Op: FnMut(Input) -> T + 'static,
        T: 'static,
    {
        self.subject(label, false, |_| Box::new(Batched::new(set_up())))
    }

    /// The names of its rows, as far as its subjects have them.
    pub(crate) fn rows(&self) -> Vec<String> {
        let of = |counts: &[usize], letter: char| -> Vec<_> {
            let several = counts.iter().filter(|count| **count > 1);
            several
                .map(|count| format!("{}-{letter}{count}", self.name))
                .collect()
        };
        let threads = of(&self.threads, 't');
        let futures = of(&self.concurrency, 'c');
        [vec![self.name.clone()], threads, futures].concat()
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn problem(&self, suite: &str) -> Option<String> {
        let counts = [&self.threads, &self.concurrency];
        if counts.iter().any(|counts| {
            !counts.is_sorted_by(|a, b| a < b) || counts.first().is_none_or(|least| *least == 0)
        }) {
            return Some("numbers of threads or futures rise, from 1 or more".to_owned());
        }
        let labels = self.subjects.iter().map(|subject| &subject.label);
        let mut texts = labels.chain([&self.about]);
        if let Some(text) = texts.find(|text| text.contains(char::is_control)) {
            return Some(format!("{text:?} is not one line"));
        }
        let mut seen = BTreeSet::new();
        let mut words = self.subjects.iter().map(|subject| subject.word(suite));
        words.find_map(|word| {
            if word.is_empty() {
                return Some("a peer has no label".to_owned());
            }
            (!seen.insert(word.clone())).then(|| format!("two subjects are called {word}"))
        })
    }

    fn subject(
        &mut self,
        label: &str,
        ours: bool,
        set_up: impl FnOnce(&Cores) -> Box<dyn Work> + 'static,
    ) -> &mut Self {
        self.subjects.push(Subject {
            label: label.to_owned(),
            ours,
            set_up: Box::new(set_up),
        });
        self
    }
}

/// Called on the core of the program; operations for several threads also need theirs.
pub(crate) type SetUp = Box<dyn FnOnce(&Cores) -> Box<dyn Work>>;

/// Ours or a peer, not yet set up.
pub(crate) struct Subject {
    pub(crate) label: String,
    pub(crate) ours: bool,
    pub(crate) set_up: SetUp,
}

impl Subject {
    /// Its word in `METRIC` lines of `suite`.
    pub(crate) fn word(&self, suite: &str) -> String {
        if self.ours {
            suite.to_owned()
        } else {
            self.label.replace(' ', "-")
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("label", &self.label)
            .field("ours", &self.ours)
            .finish_non_exhaustive()
    }
}
