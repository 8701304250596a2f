//! What initialisers make, kept without its type: each value as an `Arc`, so that trait objects fit as well.

use std::any::Any;
use std::sync::Arc;

use crate::options::Provide;

/// An `Arc<T>`, whatever `T` is.
pub(crate) type Value = Box<dyn Any + Send + Sync>;

/// The value of one node, as every type that it is handed out as.
pub(crate) enum Values {
    One(Value),
    /// The first is the value itself.
    Many(Box<[Value]>),
}

impl Values {
    pub(crate) fn new(value: Value, provides: &[Provide]) -> Self {
        let views = views(&value, provides);
        Self::with_views(value, views)
    }

    pub(crate) fn with_views(value: Value, views: Vec<Value>) -> Self {
        if views.is_empty() {
            return Self::One(value);
        }
        Self::Many(std::iter::once(value).chain(views).collect())
    }

    /// The value itself.
    pub(crate) fn into_own(self) -> Option<Value> {
        match self {
            Self::One(value) => Some(value),
            Self::Many(values) => values.into_iter().next(),
        }
    }

    /// The value as its view number `view`; 0 is the value itself.
    pub(crate) fn get<T: ?Sized + Send + Sync + 'static>(&self, view: u16) -> Option<Arc<T>> {
        let value = match self {
            Self::One(value) => (view == 0).then_some(value)?,
            Self::Many(values) => values.get(usize::from(view))?,
        };
        value.downcast_ref::<Arc<T>>().cloned()
    }
}

/// The functions of `provides` are the user's, and may panic.
pub(crate) fn views(value: &Value, provides: &[Provide]) -> Vec<Value> {
    let views = provides.iter();
    views.filter_map(|provide| (provide.cast)(value)).collect()
}

/// `value` in an `Arc` of its own; `None` for `()`, which nobody can ask for.
pub(crate) fn value_of<T: Send + Sync + 'static>(value: T) -> Option<Value> {
    if size_of::<T>() == 0 && std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>() {
        None
    } else {
        Some(Box::new(Arc::new(value)))
    }
}
