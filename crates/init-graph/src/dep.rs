//! The parameter types that make edges: `Dep` carries a value, `After` only an order.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A shared value made by another component; a cheap clone over an `Arc`, and it dereferences to the value.
///
/// As a parameter it is a dependency: the component begins when the provider of `T` is ready. `Option<Dep<T>>` is the
/// tolerant form: `None` when nobody provides `T`, or when the provider fell away. `Result<Dep<T>, Failure>` wants a
/// provider and sees why it fell away.
///
/// `T` may be a trait object, by [`Component::provide`](crate::Component::provide) or
/// [`Graph::value_arc`](crate::Graph::value_arc). Of several values of one type, `Tag` names the one that was
/// [tagged](crate::Component::tagged) with it.
pub struct Dep<T: ?Sized, Tag = ()> {
    value: Arc<T>,
    tag: PhantomData<fn() -> Tag>,
}

impl<T: ?Sized, Tag> Dep<T, Tag> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self {
            value,
            tag: PhantomData,
        }
    }

    /// Wraps what is shared already, such as a trait object, so that a test can call an initialiser by hand.
    pub fn from_arc(value: Arc<T>) -> Self {
        Self::new(value)
    }

    /// The shared value itself, for code that takes an `Arc`.
    pub fn into_inner(this: Self) -> Arc<T> {
        this.value
    }
}

impl<T, Tag> From<T> for Dep<T, Tag> {
    /// Wraps a value, so that a test can call an initialiser by hand.
    fn from(value: T) -> Self {
        Self::new(Arc::new(value))
    }
}

impl<T: ?Sized, Tag> Deref for Dep<T, Tag> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized, Tag> AsRef<T> for Dep<T, Tag> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized, Tag> Clone for Dep<T, Tag> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.value))
    }
}

impl<T: ?Sized + fmt::Debug, Tag> fmt::Debug for Dep<T, Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: ?Sized + fmt::Display, Tag> fmt::Display for Dep<T, Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// An order without a value: the component begins when every provider of `T` is settled.
///
/// Settled is ready, or fallen away. For a component that makes a `T` itself that is a circle. Of several providers [`Component::wire`](crate::Component::wire) picks one.
/// `Option<After<T>>` also allows that nobody provides `T`.
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
