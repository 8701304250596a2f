//! The parameter that follows its component through restarts: a cell for each view of a value that somebody follows.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::core::lock;
use crate::dep::Dep;
use crate::guard::drop_quietly;
use crate::param::{Fetch, Kind, Needs, Param, sealed};
use crate::plan::NodeId;
use crate::run::Run;

/// The current value of a component that may be [restarted](crate::Handle::restart) without its dependents; a cheap
/// clone.
///
/// As a parameter it is a dependency like `Dep<T>`, except that a restart of the provider leaves this component
/// running: it sees the new value at the next [`load`](Self::load).
///
/// ```
/// use init_graph::{Graph, Live, Result};
///
/// struct Limits { requests: u32 }
/// struct Api { limits: Live<Limits> }
///
/// async fn limits() -> Result<Limits> {
///     Ok(Limits { requests: 100 })
/// }
///
/// async fn api(limits: Live<Limits>) -> Result<Api> {
///     Ok(Api { limits })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let mut graph = Graph::new();
/// graph.add(limits);
/// graph.add(api);
/// let running = graph.start().await?;
/// let api = running.get::<Api>().ok_or("`api` is a component")?;
/// let before = api.limits.load();
/// running.restart::<Limits>().await?;
/// assert!(!std::ptr::eq(&*before, &*api.limits.load()));
/// assert_eq!(before.requests, 100);
/// # running.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct Live<T: ?Sized, Tag = ()> {
    values: watch::Receiver<Arc<T>>,
    tag: std::marker::PhantomData<fn() -> Tag>,
}

impl<T: ?Sized, Tag> Live<T, Tag> {
    /// The current value, without waiting.
    ///
    /// While the component is being restarted, and after a restart that failed, it is a value from before, whose stop
    /// hooks have run. Keep the result no longer than for one piece of work, or the old value stays as long.
    pub fn load(&self) -> Dep<T, Tag> {
        Dep::new(Arc::clone(&self.values.borrow()))
    }

    /// Waits for a value that this clone has not returned from here before, and returns it; `None` when the graph has
    /// stopped or is gone, so that a loop over it ends.
    ///
    /// Of several values in a row only the last is seen. Dropping the future misses none.
    pub async fn changed(&mut self) -> Option<Dep<T, Tag>> {
        self.values.changed().await.ok()?;
        Some(Dep::new(Arc::clone(&self.values.borrow_and_update())))
    }
}

impl<T: Send + Sync + 'static, Tag> From<T> for Live<T, Tag> {
    /// Wraps a value that never changes, so that a test can call an initialiser by hand.
    fn from(value: T) -> Self {
        Self::follow(watch::channel(Arc::new(value)).1)
    }
}

impl<T: ?Sized, Tag> Live<T, Tag> {
    fn follow(values: watch::Receiver<Arc<T>>) -> Self {
        Self {
            values,
            tag: std::marker::PhantomData,
        }
    }
}

impl<T: ?Sized, Tag> Clone for Live<T, Tag> {
    fn clone(&self) -> Self {
        Self::follow(self.values.clone())
    }
}

impl<T: ?Sized, Tag> fmt::Debug for Live<T, Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live<{}>", std::any::type_name::<T>())
    }
}

impl<T: ?Sized, Tag> sealed::Sealed for Live<T, Tag> {}
impl<T: ?Sized + Send + Sync + 'static, Tag: 'static> Param for Live<T, Tag> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, Tag>(Kind::Live, true);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        let (run, owner, wire) = fetch.later();
        let provider = wire.and_then(|wire| Some((wire.provider?, wire.view)));
        let (node, view) = provider.unwrap_or((owner, 0));
        let receiver = run.life.lives.follow::<T>(run, node, view);
        Self::follow(
            receiver.expect("a component runs only when the providers of its `Live`s are ready"),
        )
    }
}

// === cells ===

/// One cell for each view of a node's value that a [`Live`] follows; `None` once no value follows any more.
pub(crate) struct Lives(Mutex<Option<HashMap<(NodeId, u16), Cell>>>);

struct Cell {
    /// A `watch::Sender<Arc<T>>`.
    sender: Box<dyn Any + Send + Sync>,
    /// Knows `T`: puts the current value of the node into the cell.
    refresh: fn(&Run, NodeId, u16, &(dyn Any + Send + Sync)) -> Option<Replaced>,
}

/// The value from before: this may be the last of it, and its destructor is not ours.
type Replaced = Box<dyn Any + Send + Sync>;

impl Default for Lives {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl Lives {
    fn follow<T: ?Sized + Send + Sync + 'static>(
        &self,
        run: &Run,
        node: NodeId,
        view: u16,
    ) -> Option<watch::Receiver<Arc<T>>> {
        let value = run.value::<T>(node, view)?;
        let mut cells = lock(&self.0);
        let Some(open) = cells.as_mut() else {
            // The graph closes, and a sender that is dropped says so.
            return Some(watch::channel(value).1);
        };
        let cell = open.entry((node, view)).or_insert_with(|| Cell {
            sender: Box::new(watch::Sender::new(value)),
            refresh: refresh::<T>,
        });
        // Within a restart this one may start before anybody is told, and it must not start with the value from before.
        let replaced = (cell.refresh)(run, node, view, &*cell.sender);
        let sender = cell.sender.downcast_ref::<watch::Sender<Arc<T>>>();
        let receiver = sender.map(watch::Sender::subscribe);
        drop(cells);
        drop_quietly(replaced);
        receiver
    }

    /// Tells those who follow `node` its new value, if it has one.
    pub(crate) fn refresh(&self, run: &Run, node: NodeId) {
        let cells = lock(&self.0);
        let own = cells
            .iter()
            .flatten()
            .filter(|((of, _), _)| *of == node)
            .filter_map(|((_, view), cell)| (cell.refresh)(run, node, *view, &*cell.sender));
        let replaced: Vec<_> = own.collect();
        drop(cells);
        replaced.into_iter().for_each(drop_quietly);
    }

    /// Tells everybody that no value follows any more.
    pub(crate) fn close(&self) {
        // Outside the lock: the last reference to a value may be in here, and its destructor is not ours.
        let cells = lock(&self.0).take();
        // One by one: a panic in the midst of a map would leave the rest of it behind.
        cells.into_iter().flatten().for_each(drop_quietly);
    }
}

fn refresh<T: ?Sized + Send + Sync + 'static>(
    run: &Run,
    node: NodeId,
    view: u16,
    sender: &(dyn Any + Send + Sync),
) -> Option<Replaced> {
    let sender = sender.downcast_ref::<watch::Sender<Arc<T>>>()?;
    let value = run.value::<T>(node, view)?;
    if Arc::ptr_eq(&sender.borrow(), &value) {
        return None;
    }
    Some(Box::new(sender.send_replace(value)))
}
