//! The parameter that starts its component itself, when it is first asked for.

mod begin;
mod waits;

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

pub(crate) use self::begin::{Lazies, Restarting};
use crate::dep::Dep;
use crate::failure::Failure;
use crate::param::{Fetch, Kind, Needs, Param, sealed};
use crate::plan::NodeId;
use crate::run::Run;

/// A component that starts when [`get`](Self::get) is first called, with those that it depends on; a cheap clone.
///
/// As a parameter it is no dependency: the owner begins without it. A component that nobody asks for but by `Lazy`
/// does not start with the graph. One that others take as well, as `Dep<T>` for example, starts with the graph, and
/// `get` waits for it.
///
/// The stop follows what happened: a component that was ready before its owner stops after it, one that was ready later
/// stops before it.
///
/// ```
/// use init_graph::{Dep, Graph, Lazy, Result};
///
/// struct Model(String);
/// struct Api { model: Lazy<Model> }
///
/// async fn model() -> Result<Model> {
///     Ok(Model("large".into()))
/// }
///
/// async fn api(model: Lazy<Model>) -> Result<Api> {
///     Ok(Api { model })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let mut graph = Graph::new();
/// graph.add(model);
/// graph.add(api);
/// let running = graph.start().await?;
/// let api = running.get::<Api>().ok_or("`api` is a component")?;
/// assert!(running.get::<Model>().is_none(), "nobody has asked yet");
/// let model = api.model.get().await?;
/// assert_eq!(model.0, "large");
/// # running.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct Lazy<T: ?Sized, Tag = ()> {
    source: Source<T>,
    tag: PhantomData<fn() -> Tag>,
}

enum Source<T: ?Sized> {
    /// Made by hand.
    Value(Arc<T>),
    Run {
        /// Weak, since the value of the owner usually holds it, and the run holds the value.
        run: Weak<Run>,
        owner: NodeId,
        target: NodeId,
        view: u16,
    },
}

impl<T: ?Sized + Send + Sync + 'static, Tag> Lazy<T, Tag> {
    /// The value; the first call of all starts the component, and whoever asks meanwhile or later shares it.
    ///
    /// Dropping the future does not stop the component from starting. Its timeouts and retries are its own; wrap the
    /// call in a timeout to wait no longer than that. After a restart of the component it is the new value.
    ///
    /// # Errors
    /// [`LazyError::Failed`] when the component or one that it needs failed or was skipped; it is not tried again, but
    /// a [restart](crate::Handle::restart) may. [`LazyError::Circle`] when the initialiser that took this parameter is
    /// still running and the component waits for it; of two calls that close a circle together exactly one gets the
    /// error. [`LazyError::Stopped`] once a shutdown or a give-up has begun, for those already waiting as well.
    pub async fn get(&self) -> Result<Dep<T, Tag>, LazyError> {
        let (run, owner, target, view) = match &self.source {
            Source::Value(value) => return Ok(Dep::new(Arc::clone(value))),
            Source::Run {
                run,
                owner,
                target,
                view,
            } => (run, *owner, *target, *view),
        };
        let run = run.upgrade().ok_or(LazyError::Stopped)?;
        loop {
            begin::ready(&run, owner, target).await?;
            let value = run.value(target, view);
            // Without a value a restart came in between, and it is waited for.
            if value.is_some() || run.core.is_ready(target) {
                let value = value.or_else(|| run.value(target, view));
                return value.map(Dep::new).ok_or(LazyError::Stopped);
            }
        }
    }

    /// The value when it is there already; never starts anything.
    pub fn try_get(&self) -> Option<Dep<T, Tag>> {
        match &self.source {
            Source::Value(value) => Some(Dep::new(Arc::clone(value))),
            Source::Run {
                run,
                owner,
                target,
                view,
            } => {
                let run = run.upgrade()?;
                let value = run.value(*target, *view)?;
                begin::note_use(&run, *owner, *target);
                Some(Dep::new(value))
            }
        }
    }
}

impl<T, Tag> From<T> for Lazy<T, Tag> {
    /// Wraps a value that is there already, so that a test can call an initialiser by hand.
    fn from(value: T) -> Self {
        Self {
            source: Source::Value(Arc::new(value)),
            tag: PhantomData,
        }
    }
}

impl<T: ?Sized, Tag> Clone for Lazy<T, Tag> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Value(value) => Source::Value(Arc::clone(value)),
            Source::Run {
                run,
                owner,
                target,
                view,
            } => Source::Run {
                run: Weak::clone(run),
                owner: *owner,
                target: *target,
                view: *view,
            },
        };
        Self {
            source,
            tag: PhantomData,
        }
    }
}

impl<T: ?Sized, Tag> fmt::Debug for Lazy<T, Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lazy<{}>", std::any::type_name::<T>())
    }
}

impl<T: ?Sized, Tag> sealed::Sealed for Lazy<T, Tag> {}
impl<T: ?Sized + Send + Sync + 'static, Tag: 'static> Param for Lazy<T, Tag> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, Tag>(Kind::Lazy, true);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        let (run, owner, wire) = fetch.later();
        let provider = wire.and_then(|wire| Some((wire.provider?, wire.view)));
        let (target, view) =
            provider.expect("a graph starts only when every `Lazy` has a provider");
        Self {
            source: Source::Run {
                run: Arc::downgrade(run),
                owner,
                target,
                view,
            },
            tag: PhantomData,
        }
    }
}

/// Why a [`Lazy`] has no value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LazyError {
    /// The component, or one that it depends on, failed or was skipped.
    Failed(Failure),
    /// The component waits for the one that asked, so that both would wait for ever: the names from the one that asked
    /// back to itself.
    Circle(Vec<String>),
    /// The graph has stopped, or is about to.
    Stopped,
}

impl LazyError {
    /// Whether the graph stops, so that nothing is wrong.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }

    /// Whether the wait would have closed a circle, which is an error of the program.
    pub fn is_circle(&self) -> bool {
        matches!(self, Self::Circle(_))
    }
}

impl fmt::Display for LazyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Circle(names) => write!(
                f,
                "waiting would never end: {}; ask after the initialiser has returned",
                names.join(" > ")
            ),
            Self::Stopped => f.write_str("the graph has stopped"),
        }
    }
}

impl Error for LazyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => failure.source(),
            _ => None,
        }
    }
}
