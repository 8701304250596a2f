//! An observer that keeps what it heard, and answers the questions of a test about it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::contract::{Violations, violations};
use super::recorded::{Recorded, What};
use crate::core::lock;
use crate::event::{Event, Observer};

/// Every event of a graph in the order in which it was heard; a cheap clone. `Display` is one line each.
///
/// At most a million are kept, and [`verify`](Self::verify) says when there were more.
///
/// ```
/// use init_graph::Graph;
/// use init_graph::testing::{self, EventLog, What};
///
/// # fn main() -> init_graph::Result<()> {
/// testing::run(async {
///     let mut graph = Graph::new();
///     graph.node("config");
///     graph.node("db").after("config");
///     let log = EventLog::new();
///     graph.observe(log.clone());
///     graph.start().await?.shutdown().await?;
///
///     log.assert_started_before("config", "db");
///     assert_eq!(log.order_of(What::Stopping), ["db", "config"]);
///     log.verify()?;
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Default)]
pub struct EventLog(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    begun: Option<Instant>,
    entries: Vec<Entry>,
    left_out: usize,
}

/// One event of an [`EventLog`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The time since the first event of the log.
    pub at: Duration,
    /// What was heard.
    pub event: Recorded,
}

impl EventLog {
    /// An empty log, for [`Graph::observe`](crate::Graph::observe); give it a clone and keep another.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0).entries.clone()
    }

    /// Everything so far, one line each, without the times.
    ///
    /// ```
    /// # init_graph::testing::run(async {
    /// let log = init_graph::testing::EventLog::new();
    /// let mut graph = init_graph::Graph::new();
    /// graph.node("db");
    /// graph.observe(log.clone());
    /// let running = graph.start().await.unwrap();
    /// assert_eq!(log.lines()[..2], ["planned 1", "starting db, attempt 1"]);
    /// # running.shutdown().await.unwrap();
    /// # });
    /// ```
    pub fn lines(&self) -> Vec<String> {
        let log = lock(&self.0);
        log.entries
            .iter()
            .map(|entry| entry.event.to_string())
            .collect()
    }

    /// The names of the nodes that this happened to, in order.
    pub fn order_of(&self, what: What) -> Vec<String> {
        let log = lock(&self.0);
        let matching = log.entries.iter().filter(|entry| entry.event.what == what);
        matching
            .filter_map(|entry| entry.event.node.clone())
            .collect()
    }

    /// How often this happened to the node named `node`.
    pub fn count(&self, what: What, node: &str) -> usize {
        let log = lock(&self.0);
        let matching = log.entries.iter().filter(|entry| entry.event.what == what);
        matching.filter(|entry| entry.event.is_of(node)).count()
    }

    /// How many of these events there are, whomever they are about.
    pub fn count_all(&self, what: What) -> usize {
        let log = lock(&self.0);
        log.entries
            .iter()
            .filter(|entry| entry.event.what == what)
            .count()
    }

    /// Whether every rule that [`Event`] documents was kept: order of dependency in the start and in the stop, every
    /// begin with its end, everything that was ready stopped exactly once.
    ///
    /// What must have happened by the end is asked for once the log has heard `Finished`.
    ///
    /// # Errors
    /// [`Violations`], which lists every break of a rule and then the log itself.
    pub fn verify(&self) -> Result<(), Violations> {
        let log = lock(&self.0);
        let events: Vec<_> = log.entries.iter().map(|entry| &entry.event).collect();
        let mut found = violations(&events);
        if log.left_out > 0 {
            found.push(format!("{} events more than a log can keep", log.left_out));
        }
        drop(log);
        if found.is_empty() {
            Ok(())
        } else {
            Err(Violations::new(found, self.lines()))
        }
    }

    /// Asserts that the node named `first` was ready before the one named `second` began.
    ///
    /// # Panics
    /// When it was not, with the log.
    #[track_caller]
    pub fn assert_started_before(&self, first: &str, second: &str) {
        let ready = self.place(What::Ready, first);
        let begun = self.place(What::Starting, second);
        assert!(
            ready < begun,
            "`{first}` was not ready before `{second}` began:\n{self}"
        );
    }

    /// Asserts that everything that was ready has stopped, each node after all of its dependents.
    ///
    /// # Panics
    /// When it has not, with every break of this or another rule of [`verify`](Self::verify) and the log.
    #[track_caller]
    pub fn assert_stopped_in_reverse(&self) {
        assert!(
            self.count_all(What::Finished) > 0,
            "the stop is not over:\n{self}"
        );
        if let Err(violations) = self.verify() {
            panic!("{violations}");
        }
    }

    /// Where this happened first to the node named `node`.
    #[track_caller]
    fn place(&self, what: What, node: &str) -> usize {
        let log = lock(&self.0);
        let mut events = log.entries.iter().map(|entry| &entry.event);
        let place = events.position(|event| event.what == what && event.is_of(node));
        drop(log);
        match place {
            Some(place) => place,
            None => panic!("there is no `{what} {node}`:\n{self}"),
        }
    }
}

impl Observer for EventLog {
    fn on_event(&self, event: &Event<'_>) {
        let event = Recorded::new(event);
        let mut log = lock(&self.0);
        if log.entries.len() == ENTRIES_MAX {
            log.left_out += 1;
            return;
        }
        let begun = *log.begun.get_or_insert_with(Instant::now);
        log.entries.push(Entry {
            at: begun.elapsed(),
            event,
        });
    }
}

impl fmt::Display for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

/// A bound of memory that no test should reach.
const ENTRIES_MAX: usize = 1_000_000;
