//! Runs foreign code so that no panic of it, not even one while something is dropped, reaches the executor.
//!
//! Where a panic happened cannot be told from here: only a panic hook hears it, and that belongs to the process. The
//! hook has printed it by the time that an error names the component and the message.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Panic = Box<dyn Any + Send>;

/// A future whose panics become an `Err` with the panic's message.
///
/// The state that a panic leaves behind is never looked at again: the future is dropped at once.
pub(crate) struct Guarded<T>(State<T>);

enum State<T> {
    Live(BoxFuture<T>),
    Panicked(String),
    Done,
}

impl<T> Guarded<T> {
    /// Guards what `make` makes, and the making.
    pub(crate) fn new(make: impl FnOnce() -> BoxFuture<T>) -> Self {
        Self(match guarded(make) {
            Ok(future) => State::Live(future),
            Err(message) => State::Panicked(message),
        })
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Live(future) => match guarded(|| future.as_mut().poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(message) => Err(message),
            },
            State::Panicked(message) => Err(std::mem::take(message)),
            State::Done => return Poll::Pending,
        };
        drop_quietly(std::mem::replace(&mut self.0, State::Done));
        Poll::Ready(result)
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        drop_quietly(std::mem::replace(&mut self.0, State::Done));
    }
}

/// Calls foreign code; a panic becomes its message.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(message)
}

/// Calls foreign code that nothing depends on: logs an error whose own text may panic, say, or tells a recorder of
/// metrics. A panic costs the rest of it and no more; returns whether there was none.
pub(crate) fn quietly(run: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(drop_panic)
        .is_ok()
}

/// As [`quietly`], for the log.
pub(crate) fn log_quietly(log: impl FnOnce()) {
    quietly(log);
}

/// Drops a thing of a component's; a panic in its destructor is printed by the panic hook and goes no further.
pub(crate) fn drop_quietly<T>(thing: T) {
    quietly(|| drop(thing));
}

fn message(panic: Panic) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned());
    drop_panic(panic);
    text
}

/// What a panic carries is foreign as well. When its destructor panics with something whose destructor panics, that is
/// left to leak.
fn drop_panic(panic: Panic) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic)))
        && let Err(hopeless) = catch_unwind(AssertUnwindSafe(|| drop(again)))
    {
        std::mem::forget(hopeless);
    }
}
