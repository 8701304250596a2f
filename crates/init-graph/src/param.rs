//! How a parameter of an initialiser says what it needs (when added) and gets it (when run).

use std::any::{Any, TypeId, type_name};
use std::sync::Arc;

use crate::context::Context;
use crate::dep::{After, Dep};

/// What an initialiser may take: [`Dep<T>`], `Option<Dep<T>>`, [`After<T>`], `Option<After<T>>` and [`Context`].
///
/// Sealed: the two steps behind it are this crate's own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a component",
    label = "not something that a graph can provide",
    note = "parameters are `Dep<T>`, `Option<Dep<T>>`, `After<T>`, `Option<After<T>>` or `Context`"
)]
pub trait Param: sealed::Sealed + Sized + Send + 'static {
    /// Adds what this parameter needs; called once, when the component is added.
    #[doc(hidden)]
    fn declare(needs: &mut Needs);

    /// Takes what was asked for; called in the order of the parameters.
    #[doc(hidden)]
    fn fetch(fetch: &mut Fetch) -> Self;
}

mod sealed {
    use super::{After, Context, Dep};

    #[expect(
        unnameable_types,
        reason = "what cannot be named cannot be implemented elsewhere"
    )]
    pub trait Sealed {}
    impl<T: ?Sized> Sealed for Dep<T> {}
    impl<T: ?Sized> Sealed for Option<Dep<T>> {}
    impl<T: ?Sized> Sealed for After<T> {}
    impl<T: ?Sized> Sealed for Option<After<T>> {}
    impl Sealed for Context {}
}

/// Compiles only for a parameter; `#[component]` calls it with the span of each.
pub fn is_parameter<P: Param>() {}

/// What a component needs, parameter by parameter.
#[derive(Debug, Default)]
pub struct Needs {
    /// Of the parameter being declared, counted from 1.
    parameter: u16,
    list: Vec<Need>,
}

impl Needs {
    /// The needs of all parameters of a function.
    pub(crate) fn of(parameters: &[fn(&mut Self)]) -> Vec<Need> {
        let mut needs = Self::default();
        for declare in parameters {
            needs.parameter += 1;
            declare(&mut needs);
        }
        needs.list
    }

    fn push<T: ?Sized + 'static>(&mut self, kind: Kind, required: bool) {
        let key = Key::Type(TypeId::of::<T>(), type_name::<T>());
        self.list.push(Need {
            key,
            kind,
            required,
            source: Source::Parameter(self.parameter),
        });
    }
}

/// One edge before it is resolved.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    /// Whether it is an error that nobody provides it.
    pub(crate) required: bool,
    pub(crate) source: Source,
}

/// What an edge points at.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Type(TypeId, &'static str),
    Name(String),
}

/// What an edge means when its provider fell away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The dependent cannot run.
    Hard,
    /// The dependent runs with `None`.
    Soft,
    /// The dependent never wanted the value.
    Order,
}

/// Where an edge was written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Parameter(u16),
    AfterCall,
}

/// The values for one run of an initialiser, in the order of its needs.
#[derive(Debug)]
pub struct Fetch {
    values: std::vec::IntoIter<Option<Arc<dyn Any + Send + Sync>>>,
    context: Context,
}

impl Fetch {
    pub(crate) fn new(values: Vec<Option<Arc<dyn Any + Send + Sync>>>, context: Context) -> Self {
        Self {
            values: values.into_iter(),
            context,
        }
    }

    /// Calls a function with what `call` fetches for its parameters.
    pub(crate) fn all<R>(mut self, call: impl FnOnce(&mut Self) -> R) -> R {
        call(&mut self)
    }

    fn take<T: Send + Sync + 'static>(&mut self) -> Option<Dep<T>> {
        let value = self.values.next().flatten()?;
        Arc::downcast(value).ok().map(Dep::new)
    }
}

impl<T: Send + Sync + 'static> Param for Dep<T> {
    fn declare(needs: &mut Needs) {
        needs.push::<T>(Kind::Hard, true);
    }

    fn fetch(fetch: &mut Fetch) -> Self {
        fetch
            .take()
            .expect("a component runs only when the providers of its `Dep`s are ready")
    }
}

impl<T: Send + Sync + 'static> Param for Option<Dep<T>> {
    fn declare(needs: &mut Needs) {
        needs.push::<T>(Kind::Soft, false);
    }

    fn fetch(fetch: &mut Fetch) -> Self {
        fetch.take()
    }
}

impl<T: Send + Sync + 'static> Param for After<T> {
    fn declare(needs: &mut Needs) {
        needs.push::<T>(Kind::Order, true);
    }

    fn fetch(fetch: &mut Fetch) -> Self {
        fetch.values.next();
        Self::new()
    }
}

impl<T: Send + Sync + 'static> Param for Option<After<T>> {
    fn declare(needs: &mut Needs) {
        needs.push::<T>(Kind::Order, false);
    }

    fn fetch(fetch: &mut Fetch) -> Self {
        fetch.values.next().flatten().map(|_| After::new())
    }
}

impl Param for Context {
    fn declare(_: &mut Needs) {}

    fn fetch(fetch: &mut Fetch) -> Self {
        fetch.context.clone()
    }
}
