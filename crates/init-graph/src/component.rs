//! From an async function to a node: the parameters become edges, the builder adds what a signature cannot say.

use std::any::{Any, TypeId, type_name};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::declared::{Declaration, Declared};
use crate::error::BoxError;
use crate::names::{function_name, type_label};
use crate::param::{Fetch, Key, Kind, Need, Needs, Param, Source};

/// A component of a graph and its options; made by [`Graph::add`](crate::Graph::add).
///
/// Every option has a default that suits most components, so each call is optional.
pub struct Component {
    pub(crate) name: Cow<'static, str>,
    pub(crate) named: bool,
    pub(crate) stage: Option<Cow<'static, str>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) optional: bool,
    pub(crate) provides: Option<(TypeId, &'static str)>,
    pub(crate) needs: Vec<Need>,
    pub(crate) added_at: &'static Location<'static>,
    /// File and line of the function itself, which only `#[component]` knows.
    pub(crate) defined_at: Option<(&'static str, u32)>,
    pub(crate) body: Body,
}

pub(crate) type Value = Arc<dyn Any + Send + Sync>;
pub(crate) type Init = Pin<Box<dyn Future<Output = Result<Value, BoxError>> + Send>>;

pub(crate) type Initialiser = Box<dyn Fn(Fetch) -> Init + Send + Sync>;

pub(crate) enum Body {
    Value(Value),
    Init(Initialiser),
}

impl Component {
    /// Names the component in events, reports and errors; the default is the function's own name.
    pub fn named(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        self.name = name.into();
        self.named = true;
        self
    }

    /// Groups the component with others for display; it never delays anything. Default: none.
    pub fn stage(&mut self, stage: impl Into<Cow<'static, str>>) -> &mut Self {
        self.stage = Some(stage.into());
        self
    }

    /// The longest time that the initialiser may run; then it is dropped and has failed. Default: no limit.
    ///
    /// Waiting for dependencies does not count. Zero is an error of [`Graph::check`](crate::Graph::check).
    pub fn timeout(&mut self, limit: Duration) -> &mut Self {
        self.timeout = Some(limit);
        self
    }

    /// The longest time that all stop hooks of this component together may run. Default: what is left of
    /// [`Graph::stop_timeout`](crate::Graph::stop_timeout), which bounds it in any case.
    pub fn stop_timeout(&mut self, limit: Duration) -> &mut Self {
        self.stop_timeout = Some(limit);
        self
    }

    /// Lets the start go on without this component when it fails.
    ///
    /// Components that take it as `Option<Dep<T>>` then get `None`; those that take `Dep<T>` are skipped and have to
    /// be optional too, which [`Graph::check`](crate::Graph::check) verifies.
    pub fn optional(&mut self) -> &mut Self {
        self.optional = true;
        self
    }

    /// Begins only when the node of this name is settled; for an order between nodes that share no value.
    ///
    /// [`After<T>`](crate::After) says the same in the signature. May be called several times.
    pub fn after(&mut self, name: impl Into<String>) -> &mut Self {
        let key = Key::Name(name.into());
        self.needs.push(Need {
            key,
            kind: Kind::Order,
            required: true,
            source: Source::AfterCall,
        });
        self
    }

    #[track_caller]
    pub(crate) fn value<T: Send + Sync + 'static>(value: T) -> Self {
        Self::new::<T>(
            type_label(type_name::<T>()).into(),
            Vec::new(),
            Body::Value(Arc::new(value)),
        )
    }

    #[track_caller]
    fn new<T: 'static>(name: Cow<'static, str>, needs: Vec<Need>, body: Body) -> Self {
        let type_id = TypeId::of::<T>();
        // Any number of components may end with nothing to hand on.
        let provides = (type_id != TypeId::of::<()>()).then(|| (type_id, type_name::<T>()));
        let added_at = Location::caller();
        Self {
            name,
            named: false,
            stage: None,
            timeout: None,
            stop_timeout: None,
            optional: false,
            provides,
            needs,
            added_at,
            defined_at: None,
            body,
        }
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.name)
            .field("stage", &self.stage)
            .field("timeout", &self.timeout)
            .field("stop_timeout", &self.stop_timeout)
            .field("optional", &self.optional)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// What [`Graph::add`](crate::Graph::add) takes: async functions of 0 to 16 [`Param`]s that return a `Result`.
///
/// `Marker` only keeps the implementations for different numbers of parameters apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a component",
    label = "not an async function that a graph can run",
    note = "a component is `async fn(..) -> Result<T, E>` with up to 16 parameters, each `Dep<T>`, `Option<Dep<T>>`, `After<T>` or `Context`",
    note = "its future must be `Send`, `T` must be `Send + Sync + 'static` and `E` must convert into `init_graph::BoxError`",
    note = "with the feature `macros`, `#[init_graph::component]` on the function shows which of these is wrong"
)]
pub trait IntoComponent<Marker> {
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
                let needs = Needs::of(&[$($param::declare),*]);
                let name = function_name(type_name::<Function>(), type_name::<T>());
                let init = move |fetch: Fetch| -> Init {
                    let future = fetch.all(|_fetch| self($($param::fetch(_fetch)),*));
                    Box::pin(async move {
                        let value = future.await.map_err(Into::into)?;
                        Ok(Arc::new(value) as Value)
                    })
                };
                Component::new::<T>(name, needs, Body::Init(Box::new(init)))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<Function, Fut, D, T, E, $($param),*> IntoComponent<fn($($param),*) -> Declared<Fut, D>>
            for Function
        where
            Function: Fn($($param),*) -> Declared<Fut, D> + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send + 'static,
            D: Declaration,
            T: Send + Sync + 'static,
            E: Into<BoxError>,
            $($param: Param,)*
        {
            #[track_caller]
            fn into_component(self) -> Component {
                let needs = Needs::of(&[$($param::declare),*]);
                let name = function_name(type_name::<Function>(), type_name::<T>());
                let init = move |fetch: Fetch| -> Init {
                    let declared = fetch.all(|_fetch| self($($param::fetch(_fetch)),*));
                    Box::pin(async move {
                        let value = declared.await.map_err(Into::into)?;
                        Ok(Arc::new(value) as Value)
                    })
                };
                let mut component = Component::new::<T>(name, needs, Body::Init(Box::new(init)));
                component.defined_at = Some((D::FILE, D::LINE));
                D::apply(&mut component);
                component
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
