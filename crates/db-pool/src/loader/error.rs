//! Why a load failed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A batch could not be fetched, or not be begun; cheap to clone, as all loads of a batch get it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LoaderError {
    /// What the query, or borrowing a lane for it, ended with.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The function that fetches panicked.
    Panicked,
    /// The runtime stopped before the batch was answered.
    Stopped,
    /// As many keys as `waiting_max` allows are waiting already.
    Overloaded {
        /// How many.
        waiting: usize,
    },
}

impl LoaderError {
    pub(super) fn failed(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::Failed(error.into())
    }

    /// What diesel said, if it was a statement that failed; [`ErrorClass::of`](crate::ErrorClass::of) knows more.
    pub fn diesel(&self) -> Option<&diesel::result::Error> {
        match self {
            Self::Failed(error) => error.downcast_ref(),
            Self::Panicked | Self::Stopped | Self::Overloaded { .. } => None,
        }
    }
}

impl fmt::Display for LoaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("a batch of keys could not be loaded"),
            Self::Panicked => f.write_str("the function that loads a batch of keys panicked"),
            Self::Stopped => f.write_str("the runtime stopped before a batch of keys was loaded"),
            Self::Overloaded { waiting } => {
                write!(
                    f,
                    "{waiting} keys wait to be loaded already, which is waiting_max: shed load"
                )
            }
        }
    }
}

impl Error for LoaderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            Self::Panicked | Self::Stopped | Self::Overloaded { .. } => None,
        }
    }
}
