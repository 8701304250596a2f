//! What a failed load does: whether the old value stands in, and when the loader is asked again. By
//! default that is one answer for all errors, the policy's; a cache may give one for each class.

use std::{sync::Arc, time::Duration};

use super::Policy;
use crate::error::LoadError;

/// What to do about one failed load; given for each error by the builder's `on_error`.
///
/// ```
/// use std::time::Duration;
/// use tiered_cache::{ErrorAction, LoadError};
/// # #[derive(Debug)] enum ApiError { Forbidden, Busy { retry_after: Duration } }
/// # impl std::fmt::Display for ApiError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") }
/// # }
/// # impl std::error::Error for ApiError {}
///
/// let on_error = |error: &LoadError| match error.downcast_ref::<ApiError>() {
///     // An answer, not an outage: no old value hides it.
///     Some(ApiError::Forbidden) => ErrorAction::fail(),
///     // The source says when it can be asked again.
///     Some(ApiError::Busy { retry_after }) => {
///         ErrorAction::serve_stale().ask_again_after(*retry_after)
///     }
///     None => ErrorAction::serve_stale(),
/// };
/// # let _ = on_error;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it says what to do and does nothing"]
pub struct ErrorAction {
    stale: bool,
    pause: Option<Duration>,
}

impl ErrorAction {
    /// The old value stands in, if there is one within `Policy::stale_if_error`. This is the default.
    pub const fn serve_stale() -> Self {
        Self {
            stale: true,
            pause: None,
        }
    }

    /// Callers get the error, even where an old value would do. The old value is kept, and may stand
    /// in for an error of another class later. After a load in the background that failed so, the old
    /// value is no longer answered at once: the next caller asks the loader, and meets the error.
    pub const fn fail() -> Self {
        Self {
            stale: false,
            pause: None,
        }
    }

    /// For so long the loader is not asked again and callers get the same answer, in place of
    /// `Policy::error_throttle` (where an old value stands in) and `Policy::error_ttl` (where the
    /// error is answered). Zero asks at the next read.
    pub const fn ask_again_after(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The consequence: `fallback` says whether an old value may stand in by its times.
    pub(crate) fn decide(self, policy: &Policy, fallback: bool) -> AfterError {
        if fallback && self.stale {
            AfterError::Stale {
                throttle: self.pause.unwrap_or(policy.error_throttle),
            }
        } else {
            AfterError::Error {
                remember: self.pause.unwrap_or(policy.error_ttl),
            }
        }
    }
}

impl Default for ErrorAction {
    fn default() -> Self {
        Self::serve_stale()
    }
}

/// How the callers of a failed load are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterError {
    /// With the old value, which is re-armed for `throttle` (`Times::rearmed`).
    Stale { throttle: Duration },
    /// With the error, which is kept for those who ask within `remember` (zero: not kept).
    Error { remember: Duration },
}

/// The classes of one cache.
pub(crate) type OnError = Arc<dyn Fn(&LoadError) -> ErrorAction + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AfterError, ErrorAction};
    use crate::policy::Policy;

    #[test]
    fn the_class_of_an_error_decides_who_answers_and_for_how_long() {
        let policy = Policy {
            error_ttl: Duration::from_secs(5),
            ..Policy::default()
        };
        let stale = |secs| AfterError::Stale {
            throttle: Duration::from_secs(secs),
        };
        let error = |secs| AfterError::Error {
            remember: Duration::from_secs(secs),
        };
        let minute = Duration::from_secs(60);
        for (action, with, without) in [
            (ErrorAction::serve_stale(), stale(30), error(5)),
            (ErrorAction::fail(), error(5), error(5)),
            (
                ErrorAction::serve_stale().ask_again_after(minute),
                stale(60),
                error(60),
            ),
            (
                ErrorAction::fail().ask_again_after(Duration::ZERO),
                error(0),
                error(0),
            ),
        ] {
            assert_eq!(
                action.decide(&policy, true),
                with,
                "{action:?} with an old value"
            );
            assert_eq!(
                action.decide(&policy, false),
                without,
                "{action:?} without one"
            );
        }
    }
}
