//! The parameter types that make edges: `Dep` carries a value, `After` only an order.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A shared value made by another component; a cheap clone over an `Arc`, and it dereferences to the value.
///
/// As a parameter it is a dependency: the component begins when the provider of `T` is ready. `Option<Dep<T>>` is the
/// tolerant form: `None` when nobody provides `T`, or when the provider is optional and failed.
pub struct Dep<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Dep<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(value)
    }

    /// The shared value itself, for code that takes an `Arc`.
    pub fn into_inner(this: Self) -> Arc<T> {
        this.0
    }
}

impl<T> From<T> for Dep<T> {
    /// Wraps a value, so that a test can call an initialiser by hand.
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> Deref for Dep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> AsRef<T> for Dep<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Clone for Dep<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Dep<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Dep<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order without a value: the component begins when the provider of `T` is settled.
///
/// Settled is ready, or, for an optional provider, failed as well. `Option<After<T>>` also allows that nobody provides
/// `T`.
pub struct After<T: ?Sized>(PhantomData<fn() -> T>);

impl<T: ?Sized> After<T> {
    /// The marker by itself, so that a test can call an initialiser by hand.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: ?Sized> Default for After<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> Clone for After<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for After<T> {}

impl<T: ?Sized> fmt::Debug for After<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "After<{}>", std::any::type_name::<T>())
    }
}
