//! What a function with `#[component]` returns: its future, and in the type the options of the attribute.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;

use crate::component::Component;

/// The options that the attribute wrote down, known before the function is called.
pub trait Declaration: 'static {
    /// The file of the function.
    const FILE: &'static str;
    /// The line of the function.
    const LINE: u32;

    /// Sets the options.
    fn apply(component: &mut Component);
}

/// The future of a function with `#[component]`; awaiting it runs the function.
///
/// Deliberately no future itself: so a graph can tell such a function from a plain one by its return type.
pub struct Declared<Fut, D> {
    future: Fut,
    declaration: PhantomData<fn() -> D>,
}

impl<Fut, D> Declared<Fut, D> {
    /// Wraps the future of the function.
    pub fn new(future: Fut) -> Self {
        Self {
            future,
            declaration: PhantomData,
        }
    }

    pub(crate) fn into_inner(self) -> Fut {
        self.future
    }
}

impl<Fut: Future, D> IntoFuture for Declared<Fut, D> {
    type Output = Fut::Output;
    type IntoFuture = Fut;

    fn into_future(self) -> Fut {
        self.future
    }
}

impl<Fut, D> std::fmt::Debug for Declared<Fut, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Declared").finish_non_exhaustive()
    }
}
