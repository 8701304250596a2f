//! Runs code of components so that no panic of theirs, not even one while being dropped, reaches the executor.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
        Self(match catch_unwind(AssertUnwindSafe(make)) {
            Ok(future) => State::Live(future),
            Err(panic) => State::Panicked(message(&*panic)),
        })
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Live(future) => {
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return Poll::Pending,
                    Ok(Poll::Ready(output)) => Ok(output),
                    Err(panic) => Err(message(&*panic)),
                }
            }
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

/// Drops a thing of a component's; a panic in its destructor is logged by the panic hook and goes no further.
pub(crate) fn drop_quietly<T>(thing: T) {
    drop(catch_unwind(AssertUnwindSafe(|| drop(thing))));
}

/// Logs an error of a component's; one whose own text panics costs the line and no more.
pub(crate) fn log_quietly(log: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(log)));
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned())
}
