//! What a function with `#[component]` returns: what it makes, and in the type the options of the attribute.
//!
//! The bounds of parameters and results are not asked for at `add` but in the code that the attribute wrote, so that a
//! mistake is reported once, and at the function.

use std::any::{TypeId, type_name};
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::component::{Body, Component, Init, Work};
use crate::error::BoxError;
use crate::into_component::{IntoBlocking, IntoComponent};
use crate::param::{Fetch, Needs, Param};
use crate::values::{Value, value_of};
use crate::wiring::names::function_name;

/// What the attribute wrote down, known before the function is called.
pub trait Declaration: 'static {
    /// A [`Parameter`] for each parameter, as a tuple.
    type Parameters;
    /// What the function returns.
    type Output: 'static;

    /// The file of the function.
    const FILE: &'static str;
    /// The line of the function.
    const LINE: u32;

    /// How each parameter is declared and fetched.
    fn parameters() -> Self::Parameters;
    /// What becomes of the returned value.
    fn outcome() -> Outcome<Self::Output>;
    /// Sets the options.
    fn apply(component: &mut Component);
}

/// What a function with `#[component]` returns: its future, or for a blocking function what it returned.
///
/// Deliberately neither future nor `Result`: so a graph can tell such a function from a plain one by its type.
#[must_use = "await it, or for a blocking function take `into_inner`"]
pub struct Declared<Made, D> {
    made: Made,
    declaration: PhantomData<fn() -> D>,
}

impl<Made, D> Declared<Made, D> {
    /// Wraps what the function made.
    pub fn new(made: Made) -> Self {
        Self {
            made,
            declaration: PhantomData,
        }
    }

    /// What the function itself returns, for a test that calls it by hand.
    pub fn into_inner(self) -> Made {
        self.made
    }
}

impl<Fut: Future, D> IntoFuture for Declared<Fut, D> {
    type Output = Fut::Output;
    type IntoFuture = Fut;

    fn into_future(self) -> Fut {
        self.made
    }
}

impl<Made, D> std::fmt::Debug for Declared<Made, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Declared").finish_non_exhaustive()
    }
}

/// What stands for a function whose attribute or signature is wrong, so that its uses give no errors of their own.
#[derive(Debug)]
pub struct Mistaken;

// === what the written code calls, with the span of what it is about ===

/// One parameter of a function, or one field of a struct of them.
#[expect(
    missing_debug_implementations,
    reason = "only ever held by the code that the macros write"
)]
pub struct Parameter<P> {
    /// Adds what it needs.
    pub declare: fn(&mut Needs),
    /// Takes what was asked for.
    pub fetch: fn(&mut Fetch<'_>) -> P,
}

/// Compiles only for a parameter.
pub fn parameter<P: Param>() -> Parameter<P> {
    Parameter {
        declare: P::declare,
        fetch: P::fetch,
    }
}

/// What becomes of the value that a function returned.
#[expect(
    missing_debug_implementations,
    reason = "only ever held by the code that the macros write"
)]
pub struct Outcome<Output> {
    id: TypeId,
    name: &'static str,
    value: fn(Output) -> Result<Option<Value>, BoxError>,
}

/// Compiles only for a value that others can take and an error that can be reported.
pub fn outcome<R: Returned>() -> Outcome<R>
where
    R::Value: Send + Sync + 'static,
    R::Error: IntoError,
{
    Outcome {
        id: TypeId::of::<R::Value>(),
        name: type_name::<R::Value>(),
        value: |returned| {
            let value = returned.into_result().map_err(IntoError::into_error)?;
            Ok(value_of(value))
        },
    }
}

/// A `Result`, whatever is in it.
#[diagnostic::on_unimplemented(
    message = "a component returns a `Result`, not `{Self}`",
    label = "not a `Result`",
    note = "write `init_graph::Result<{Self}>` and return `Ok(..)`"
)]
pub trait Returned {
    /// What the component makes.
    type Value;
    /// Why it could not.
    type Error;

    /// The same, known to be a `Result`.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<Value, Error> Returned for Result<Value, Error> {
    type Value = Value;
    type Error = Error;

    fn into_result(self) -> Self {
        self
    }
}

/// What converts into [`BoxError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a component",
    label = "does not convert into `init_graph::BoxError`",
    note = "implement `std::error::Error` for `{Self}`, and have it `Send + Sync + 'static`",
    note = "or return `init_graph::Result<T>`, whose error takes any such error by `?`, and texts by `.into()`"
)]
pub trait IntoError {
    /// The error without its type.
    fn into_error(self) -> BoxError;
}

#[diagnostic::do_not_recommend]
impl<Error: Into<BoxError>> IntoError for Error {
    fn into_error(self) -> BoxError {
        self.into()
    }
}

// === adding it ===

macro_rules! impl_for_declared {
    ($($param:ident $value:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<Function, Fut, D, $($param),*> IntoComponent<fn($($param),*) -> Declared<Fut, D>>
            for Function
        where
            Function: Fn($($param),*) -> Declared<Fut, D> + Send + Sync + 'static,
            Fut: Future<Output = D::Output> + Send + 'static,
            D: Declaration<Parameters = ($(Parameter<$param>,)*)>,
            $($param: 'static,)*
        {
            #[track_caller]
            fn into_component(self) -> Component {
                let ($($value,)*) = D::parameters();
                let needs = Needs::of(&[$($value.declare),*]);
                let Outcome { id, name, value } = D::outcome();
                let body = move |_fetch: &mut Fetch<'_>| -> Init {
                    let future = self($(($value.fetch)(_fetch)),*).into_inner();
                    Box::pin(async move { value(future.await) })
                };
                let function = function_name(type_name::<Function>(), name);
                Component::made((id, name), function, needs, Body::Init(Box::new(body))).declared::<D>()
            }
        }

        #[diagnostic::do_not_recommend]
        impl<Function, D, $($param),*> IntoBlocking<fn($($param),*) -> Declared<D::Output, D>>
            for Function
        where
            Function: Fn($($param),*) -> Declared<D::Output, D> + Send + Sync + 'static,
            D: Declaration<Parameters = ($(Parameter<$param>,)*)>,
            $($param: Send + 'static,)*
        {
            #[track_caller]
            fn into_component(self) -> Component {
                let ($($value,)*) = D::parameters();
                let needs = Needs::of(&[$($value.declare),*]);
                let Outcome { id, name, value } = D::outcome();
                let function = Arc::new(self);
                let body = move |_fetch: &mut Fetch<'_>| -> Work {
                    let function = Arc::clone(&function);
                    $(let $value = ($value.fetch)(_fetch);)*
                    Box::new(move || value(function($($value),*).into_inner()))
                };
                let function = function_name(type_name::<Function>(), name);
                Component::made((id, name), function, needs, Body::Blocking(Box::new(body))).declared::<D>()
            }
        }
    };
}

macro_rules! impl_up_to {
    () => { impl_for_declared!(); };
    ($first:ident $value:ident $($rest:ident)*) => {
        impl_for_declared!($first $value $($rest)*);
        impl_up_to!($($rest)*);
    };
}

impl_up_to!(
    P16 p16 P15 p15 P14 p14 P13 p13 P12 p12 P11 p11 P10 p10 P9 p9 P8 p8 P7 p7 P6 p6 P5 p5 P4 p4 P3 p3 P2 p2 P1 p1
);

impl<Function: Fn() -> Mistaken> IntoComponent<fn() -> Mistaken> for Function {
    #[track_caller]
    fn into_component(self) -> Component {
        Component::point("".into())
    }
}

impl<Function: Fn() -> Mistaken> IntoBlocking<fn() -> Mistaken> for Function {
    #[track_caller]
    fn into_component(self) -> Component {
        Component::point("".into())
    }
}

/// The examples of the attribute's own package, which cannot depend on this one.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../../init-graph-macros/README.md")]
struct Examples;
