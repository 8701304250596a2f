//! From a function to a component: one implementation for each number of parameters.

use std::any::type_name;
use std::future::Future;

use crate::component::{Body, Component};
use crate::error::BoxError;
use crate::param::{Fetch, Needs, Param};
use crate::values::value_of;
use crate::wiring::names::function_name;

/// What [`Graph::add`](crate::Graph::add) takes: async functions of 0 to 16 [`Param`]s that return a `Result`.
///
/// `Marker` only keeps the implementations for different numbers of parameters apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a component",
    label = "not an `async fn(parameters) -> Result<T, E>` as below; `#[init_graph::component]` on it shows what is wrong",
    note = "it is `add(function)`, not `add(function())`; a function that is not async goes to `Graph::add_blocking`; the attribute needs the feature `macros`",
    note = "parameters are up to 16 of `Dep<T>`, `Option<Dep<T>>`, `Result<Dep<T>, Failure>`, `All<T>`, `Lazy<T>`, `Live<T>`, `After<T>`, `Context`; never a bare `T` or a reference",
    note = "`T` has to be `Send + Sync + 'static`, `E` has to convert into `init_graph::BoxError`, and nothing that is not `Send` may live across an `.await`"
)]
pub trait IntoComponent<Marker> {
    /// Makes the component, with options as declared.
    #[track_caller]
    fn into_component(self) -> Component;
}

/// What [`Graph::add_blocking`](crate::Graph::add_blocking) takes: plain functions of 0 to 16 [`Param`]s that return a
/// `Result`; they run on a thread where blocking is allowed.
///
/// `Marker` only keeps the implementations for different numbers of parameters apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a blocking component",
    label = "not a plain `fn(parameters) -> Result<T, E>` as below; `#[init_graph::component(blocking)]` on it shows what is wrong",
    note = "an async function goes to `Graph::add`",
    note = "parameters are up to 16 of `Dep<T>`, `Option<Dep<T>>`, `Result<Dep<T>, Failure>`, `All<T>`, `Lazy<T>`, `Live<T>`, `After<T>`, `Context`; never a bare `T` or a reference",
    note = "`T` has to be `Send + Sync + 'static` and `E` has to convert into `init_graph::BoxError`; the attribute needs the feature `macros`"
)]
pub trait IntoBlocking<Marker> {
    /// Makes the component, with options as declared.
    #[track_caller]
    fn into_component(self) -> Component;
}

macro_rules! impl_into_component {
    ($($param:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<Function, Fut, T, E, $($param),*> IntoComponent<fn($($param),*) -> Fut> for Function
        where
            Function: Fn($($param),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send + 'static,
            T: Send + Sync + 'static,
            E: Into<BoxError>,
            $($param: Param,)*
        {
            #[track_caller]
            fn into_component(self) -> Component {
                let body = move |_fetch: &mut Fetch<'_>| -> crate::component::Init {
                    let future = self($($param::fetch(_fetch)),*);
                    Box::pin(async move { Ok(value_of(future.await.map_err(Into::into)?)) })
                };
                let name = function_name(type_name::<Function>(), type_name::<T>());
                Component::new::<T>(name, Needs::of(&[$($param::declare),*]), Body::Init(Box::new(body)))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<Function, T, E, $($param),*> IntoBlocking<fn($($param),*) -> Result<T, E>> for Function
        where
            Function: Fn($($param),*) -> Result<T, E> + Send + Sync + 'static,
            T: Send + Sync + 'static,
            E: Into<BoxError>,
            $($param: Param,)*
        {
            #[track_caller]
            fn into_component(self) -> Component {
                let name = function_name(type_name::<Function>(), type_name::<T>());
                let function = std::sync::Arc::new(self);
                let body = move |_fetch: &mut Fetch<'_>| -> crate::component::Work {
                    let function = std::sync::Arc::clone(&function);
                    $(
                        #[expect(non_snake_case, reason = "one name for the type and the value")]
                        let $param = $param::fetch(_fetch);
                    )*
                    Box::new(move || Ok(value_of(function($($param),*).map_err(Into::into)?)))
                };
                Component::new::<T>(name, Needs::of(&[$($param::declare),*]), Body::Blocking(Box::new(body)))
            }
        }
    };
}

macro_rules! impl_up_to {
    () => { impl_into_component!(); };
    ($first:ident $($rest:ident)*) => {
        impl_into_component!($first $($rest)*);
        impl_up_to!($($rest)*);
    };
}

impl_up_to!(P16 P15 P14 P13 P12 P11 P10 P9 P8 P7 P6 P5 P4 P3 P2 P1);
