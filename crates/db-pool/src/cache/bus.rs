//! How processes tell each other which tables they have written, and what happens when they cannot.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use futures_util::future::{self, Either};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::knowledge::Tables;
use super::ledger::{Ledger, Writing};
use super::store::StoreError;
use super::tokens::normal;
use crate::shared::Shared;

/// Tables that somebody has written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Raised {
    /// Which cache tells it: a random number, so that each can leave out its own.
    pub origin: u64,
    /// The tables; `None` stands for all of them.
    pub tables: Option<Vec<String>>,
    /// The schema changed, too.
    pub schema: bool,
}

impl Raised {
    /// For a bus of your own that has another way to write it down.
    pub fn new(origin: u64, tables: Option<Vec<String>>, schema: bool) -> Self {
        Self {
            origin,
            tables,
            schema,
        }
    }

    /// A few lines of text, at most `max_bytes`; where the names do not fit, or there are none, or one holds a line
    /// break, it says "all tables".
    pub fn encode(&self, max_bytes: usize) -> String {
        let schema = if self.schema { "!" } else { "" };
        let head = format!("{:x}{schema}", self.origin);
        let all = || format!("{head}\n*");
        let Some(tables) = &self.tables else {
            return all();
        };
        let text = format!("{head}\n{}", tables.join("\n"));
        let strange = |name: &String| name.contains('\n') || name == "*" || name.is_empty();
        // No names at all would be read as one without letters.
        if text.len() > max_bytes || tables.is_empty() || tables.iter().any(strange) {
            return all();
        }
        text
    }

    /// What `encode` wrote; what it cannot read says "all tables" of an unknown origin.
    pub fn decode(text: &str) -> Self {
        let mut lines = text.split('\n');
        let head = lines.next().unwrap_or("");
        let hex = head.strip_suffix('!').unwrap_or(head);
        let origin = u64::from_str_radix(hex, 16).ok();
        let tables: Vec<_> = lines.map(str::to_owned).collect();
        let all = origin.is_none() || tables.is_empty() || tables.iter().any(|name| name == "*");
        Self {
            origin: origin.unwrap_or(0),
            tables: (!all).then_some(tables),
            schema: origin.is_none() || hex.len() < head.len(),
        }
    }
}

/// What a subscriber hears; its end means that something may have been missed.
pub type RaisedStream = std::pin::Pin<Box<dyn Stream<Item = Raised> + Send>>;

/// Tells all processes what each has written.
///
/// Messages may come late and twice. A message that is lost without the stream ending leaves stale results until their
/// TTL, so a bus that may have missed something ends its stream.
pub trait InvalidationBus: Send + Sync + 'static {
    /// Begins to listen; whatever is published after it returns arrives.
    ///
    /// # Errors
    /// Whatever keeps it from listening; tried again until it works.
    fn subscribe(&self) -> BoxFuture<'_, Result<RaisedStream, StoreError>>;

    /// Tells everybody.
    ///
    /// # Errors
    /// Whatever keeps it from telling; the bus then counts as lost, and all tables are told when it is back.
    fn publish(&self, raised: Raised) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// A bus between the pools of one process; and for tests one that can be cut.
pub struct MemoryBus {
    sender: broadcast::Sender<Option<Raised>>,
    cut: AtomicBool,
}

impl MemoryBus {
    /// A bus with nobody on it.
    pub fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(1_024),
            cut: AtomicBool::new(false),
        }
    }

    /// Ends all streams and refuses everything until `mend`.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        // Fails only if nobody listens.
        let _ = self.sender.send(None);
    }

    /// Works again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::Release);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.cut.load(Ordering::Acquire) {
            return Err("the bus is cut".into());
        }
        Ok(())
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").finish_non_exhaustive()
    }
}

impl InvalidationBus for MemoryBus {
    fn subscribe(&self) -> BoxFuture<'_, Result<RaisedStream, StoreError>> {
        let receiver = self.sender.subscribe();
        let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
            // An end: cut, fallen behind, or nobody can send any more.
            let raised = receiver.recv().await.ok()??;
            Some((raised, receiver))
        });
        let result = self.check().map(|()| Box::pin(stream) as RaisedStream);
        Box::pin(std::future::ready(result))
    }

    fn publish(&self, raised: Raised) -> BoxFuture<'_, Result<(), StoreError>> {
        let result = self.check().map(|()| {
            // Fails only if nobody listens.
            let _ = self.sender.send(Some(raised));
        });
        Box::pin(std::future::ready(result))
    }
}

/// Whether the bus can be relied on now.
#[derive(Default)]
pub(super) struct Link {
    up: AtomicBool,
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }
}

/// Keeps `ledger` and the bus up to date with each other until the pool is closed or dropped.
pub(super) async fn run(
    bus: Arc<dyn InvalidationBus>,
    link: Arc<Link>,
    ledger: Weak<Ledger>,
    shared: Weak<Shared>,
) {
    let Some(over) = shared.upgrade().map(|shared| shared.over()) else {
        return;
    };
    tokio::select! {
        biased;
        () = over => {}
        () = follow(&*bus, &link, &ledger) => {}
    }
    // From here on nobody listens.
    link.up.store(false, Ordering::Release);
}

/// Until the ledger is gone: listens, and begins again whenever the bus is lost.
async fn follow(bus: &dyn InvalidationBus, link: &Link, ledger: &Weak<Ledger>) {
    let origin = fastrand::u64(1..);
    let mut wait = WAIT_MIN;
    loop {
        match bus.subscribe().await {
            Ok(stream) => {
                wait = WAIT_MIN;
                let why = listen(bus, stream, origin, link, ledger).await;
                link.up.store(false, Ordering::Release);
                let Some(ledger) = ledger.upgrade() else {
                    return;
                };
                ledger.counters.bus_losses.add(1);
                tracing::warn!(
                    why,
                    "the bus of the query cache is lost; reading without the cache"
                );
            }
            Err(error) => {
                tracing::debug!(%error, "the bus of the query cache cannot be reached");
            }
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Until the bus is lost, which is told, or the pool is gone.
async fn listen(
    bus: &dyn InvalidationBus,
    mut stream: RaisedStream,
    origin: u64,
    link: &Link,
    ledger: &Weak<Ledger>,
) -> &'static str {
    let Some(strong) = ledger.upgrade() else {
        return "";
    };
    // What was written while nobody listened, here and elsewhere, may be anything.
    let everything = || Raised::new(origin, None, true);
    if bus.publish(everything()).await.is_err() {
        return "telling failed";
    }
    strong.raise_here(writing(everything()));
    link.up.store(true, Ordering::Release);
    drop(strong);
    loop {
        let Some(strong) = ledger.upgrade() else {
            return "";
        };
        // Cancel-safe: both take what they return as their last step.
        let told = std::pin::pin!(strong.outbox.take());
        let either = future::select(stream.next(), told);
        match timeout(TICK, either).await {
            Ok(Either::Left((None, _))) => return "its stream ended",
            Ok(Either::Left((Some(raised), _))) if raised.origin == origin => {}
            Ok(Either::Left((Some(raised), _))) => strong.raise_here(writing(raised)),
            Ok(Either::Right((told, _))) => {
                let tables = match told.tables {
                    Tables::All => None,
                    Tables::Only(names) => Some(names.iter().map(ToString::to_string).collect()),
                };
                let raised = Raised::new(origin, tables, told.schema);
                if bus.publish(raised).await.is_err() {
                    return "telling failed";
                }
            }
            Err(_) => strong.raise_due(),
        }
    }
}

fn writing(raised: Raised) -> Writing {
    Writing {
        tables: match raised.tables {
            None => Tables::All,
            Some(names) => Tables::Only(
                names
                    .iter()
                    .map(|name| normal(name))
                    .collect::<BTreeSet<_>>(),
            ),
        },
        schema: raised.schema,
    }
}

/// How often the time is looked at.
const TICK: Duration = Duration::from_secs(1);
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back_or_says_all_tables() {
        let some = |names: &[&str]| {
            Raised::new(
                0xabc,
                Some(names.iter().map(ToString::to_string).collect()),
                false,
            )
        };
        for raised in [some(&["users", "a b,c"]), Raised::new(7, None, true)] {
            assert_eq!(Raised::decode(&raised.encode(8_000)), raised);
        }
        for strange in [
            some(&["a\nb"]),
            some(&["*"]),
            some(&[]),
            some(&["users"; 9]),
        ] {
            assert_eq!(
                Raised::decode(&strange.encode(30)).tables,
                None,
                "{strange:?}"
            );
        }
        assert_eq!(Raised::decode("nonsense").tables, None);
    }
}
