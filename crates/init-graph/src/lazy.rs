//! The parameter that starts its component itself, when it is first asked for.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use crate::dep::Dep;
use crate::failure::Failure;
use crate::param::{Fetch, Kind, Needs, Param, sealed};
use crate::plan::NodeId;
use crate::run::Run;
use crate::wiring::Wire;

/// A component that starts when [`get`](Self::get) is first called; a cheap clone.
pub struct Lazy<T: ?Sized, Tag = ()> {
    run: Weak<Run>,
    owner: NodeId,
    wire: Option<Wire>,
    value: PhantomData<fn() -> (Tag, Box<T>)>,
}

impl<T: ?Sized + Send + Sync + 'static, Tag> Lazy<T, Tag> {
    /// The value, made on the first call.
    pub async fn get(&self) -> Result<Dep<T, Tag>, LazyError> {
        let _ = (&self.run, self.owner, self.wire);
        Err(LazyError::Stopped)
    }
}

impl<T: ?Sized, Tag> Clone for Lazy<T, Tag> {
    fn clone(&self) -> Self {
        Self {
            run: Weak::clone(&self.run),
            owner: self.owner,
            wire: self.wire,
            value: PhantomData,
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
        Self {
            run: Arc::downgrade(run),
            owner,
            wire,
            value: PhantomData,
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

impl fmt::Display for LazyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Circle(names) => write!(f, "waiting would never end: {}", names.join(" > ")),
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
