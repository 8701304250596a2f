//! A component of a graph and what can be said of it; every option has a default that suits most.

use std::any::{TypeId, type_name};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::class::Class;
use crate::condition::IntoCondition;
use crate::declared::Declaration;
use crate::error::BoxError;
use crate::handles::Handles;
use crate::into_component::IntoComponent;
use crate::options::{Options, Provide, WireTo};
use crate::param::{Fetch, Key, Kind, Need, Source};
use crate::retry::Retry;
use crate::values::{Value, value_of};
use crate::wiring::names::short_label;

/// A component of a graph and its options; made by [`Graph::add`](crate::Graph::add) and its siblings.
///
/// Every option has a default that suits most components, so each call is optional.
pub struct Component {
    pub(crate) id: ComponentId,
    pub(crate) name: Cow<'static, str>,
    pub(crate) named: bool,
    /// The type of its value; `None` for `()`, of which there may be any number.
    pub(crate) output: Option<(TypeId, &'static str)>,
    /// Those of the parameters of the body first, in their order.
    pub(crate) needs: Vec<Need>,
    /// How many of `needs` are the body's.
    pub(crate) parameters: u16,
    /// Orders by handle, apart because they are small.
    pub(crate) after: Handles,
    pub(crate) added_at: &'static Location<'static>,
    pub(crate) body: Body,
    options: Option<Box<Options>>,
}

/// Names a component before the graph runs; small and `Copy`, for [`Component::after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ComponentId {
    /// Tells graphs apart, so that a handle of another graph is an error and not another component.
    pub(crate) graph: u32,
    pub(crate) index: u32,
}

/// What [`Component::after`] takes: a name or a [`ComponentId`].
#[derive(Clone, Debug)]
pub struct Target(pub(crate) Key);

impl From<ComponentId> for Target {
    fn from(id: ComponentId) -> Self {
        Self(Key::Id(id))
    }
}

impl From<&str> for Target {
    fn from(name: &str) -> Self {
        Self(Key::Name(name.into()))
    }
}

impl From<String> for Target {
    fn from(name: String) -> Self {
        Self(Key::Name(name.into()))
    }
}

pub(crate) type Init = Pin<Box<dyn Future<Output = Result<Option<Value>, BoxError>> + Send>>;
/// The work of a blocking component, with what it needs inside.
pub(crate) type Work = Box<dyn FnOnce() -> Result<Option<Value>, BoxError> + Send>;

/// What a component does when its turn comes.
pub(crate) enum Body {
    /// Nothing: it is only a point in the order.
    Point,
    /// Nothing: the value is there. Taken when the graph starts.
    Value(Option<Value>),
    Init(Box<dyn Fn(&mut Fetch<'_>) -> Init + Send + Sync>),
    Blocking(Box<dyn Fn(&mut Fetch<'_>) -> Work + Send + Sync>),
}

impl Component {
    /// The handle of this component, for [`after`](Self::after) of others.
    pub fn id(&self) -> ComponentId {
        self.id
    }

    /// Names the component in events, reports and errors, and for [`after`](Self::after) and [`wire`](Self::wire); the
    /// default is the function's own name.
    ///
    /// Of several components that make the same type, those with names are apart from the one without.
    pub fn named(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        self.name = name.into();
        self.named = true;
        self
    }

    /// Groups the component with others for display; it never delays anything. Default: none.
    pub fn stage(&mut self, stage: impl Into<Cow<'static, str>>) -> &mut Self {
        self.options_mut().stage = Some(stage.into());
        self
    }

    // === time ===

    /// The longest time that one attempt of the initialiser may run; then it is dropped and has failed. Default: no
    /// limit.
    ///
    /// Waiting for dependencies or for a permit of its class does not count. Zero is an error of
    /// [`Graph::check`](crate::Graph::check).
    pub fn timeout(&mut self, limit: Duration) -> &mut Self {
        self.options_mut().timeout = Some(limit);
        self
    }

    /// The longest time from the first attempt to the end of the last, waits between them included. Default: no limit.
    pub fn total_timeout(&mut self, limit: Duration) -> &mut Self {
        self.options_mut().total_timeout = Some(limit);
        self
    }

    /// The longest silence of an attempt: each word of it by [`Context::progress`](crate::Context::progress),
    /// [`Context::message`](crate::Context::message) or [`Context::keep_alive`](crate::Context::keep_alive) gives it the
    /// full time again. Default: no limit.
    pub fn stall_timeout(&mut self, limit: Duration) -> &mut Self {
        self.options_mut().stall_timeout = Some(limit);
        self
    }

    /// The longest time that all stop hooks of this component together may run. Default: what is left of
    /// [`Graph::stop_timeout`](crate::Graph::stop_timeout), which bounds it in any case.
    pub fn stop_timeout(&mut self, limit: Duration) -> &mut Self {
        self.options_mut().stop_timeout = Some(limit);
        self
    }

    /// Tries again after a failure. Default: one attempt.
    pub fn retry(&mut self, retry: Retry) -> &mut Self {
        self.options_mut().retry = Some(retry);
        self
    }

    // === whether and when ===

    /// Lets the start go on without this component when it fails.
    ///
    /// Components that take it as `Option<Dep<T>>` then get `None`; those that take `Dep<T>` are skipped and have to
    /// be optional too, which [`Graph::check`](crate::Graph::check) verifies.
    pub fn optional(&mut self) -> &mut Self {
        self.options_mut().optional = true;
        self
    }

    /// Skips the component when `condition` is false; it is asked once, when all dependencies are settled.
    ///
    /// Those that take the value as `Dep<T>` are then skipped as well. Called twice, the later condition counts.
    pub fn when<M>(&mut self, condition: impl IntoCondition<M>) -> &mut Self {
        self.options_mut().condition = Some(condition.into_condition().0);
        self
    }

    /// Lets [`Graph::start`](crate::Graph::start) return before this component is ready; it goes on meanwhile.
    ///
    /// What depends on it goes on behind it and is not waited for either.
    pub fn background(&mut self) -> &mut Self {
        self.options_mut().background = true;
        self
    }

    /// Begins only when the component of this name or handle is settled, which is ready or fallen away; for an order
    /// between components that share no value.
    ///
    /// [`After<T>`](crate::After) says the same in the signature. May be called several times.
    pub fn after(&mut self, target: impl Into<Target>) -> &mut Self {
        match target.into().0 {
            Key::Id(id) if id.graph == self.id.graph => self.after.push(id.index),
            Key::Id(_) => self.after.push(Handles::FOREIGN),
            key => self.needs.push(Need {
                key,
                kind: Kind::Order,
                required: true,
                source: Source::AfterCall,
            }),
        }
        self
    }

    /// Begins only when every provider of `T` is ready, and is skipped when one fell away; as a `Dep<T>` whose value is
    /// not wanted. May be called several times.
    pub fn needs<T: ?Sized + Send + Sync + 'static>(&mut self) -> &mut Self {
        self.needs.push(Need {
            key: Key::of::<T, ()>(),
            kind: Kind::Hard,
            required: true,
            source: Source::NeedsCall,
        });
        self
    }

    /// The class whose limit it shares. Default: [`Class::IO`], for blocking components [`Class::BLOCKING`].
    pub fn class(&mut self, class: Class) -> &mut Self {
        self.options_mut().class = Some(class);
        self
    }

    /// Among components that wait for a permit, those of a higher priority begin first. Default: 0; among equals the
    /// one with the longest expected path behind it.
    pub fn priority(&mut self, priority: i32) -> &mut Self {
        self.options_mut().priority = priority;
        self
    }

    /// How long the initialiser is expected to take, where no earlier run tells.
    pub fn expected(&mut self, time: Duration) -> &mut Self {
        self.options_mut().expected = Some(time);
        self
    }

    // === what it makes and takes ===

    /// Hands the value out as another type as well, usually a trait object:
    /// `graph.add(pg_repo).provide(|repo: Arc<PgRepo>| repo as Arc<dyn Repo>)`.
    ///
    /// That the component makes a `From` is verified by [`Graph::check`](crate::Graph::check).
    pub fn provide<From, To>(
        &mut self,
        cast: impl Fn(Arc<From>) -> Arc<To> + Send + Sync + 'static,
    ) -> &mut Self
    where
        From: Send + Sync + 'static,
        To: ?Sized + Send + Sync + 'static,
    {
        self.options_mut().provides.push(Provide {
            from: (TypeId::of::<From>(), type_name::<From>()),
            to: (TypeId::of::<To>(), type_name::<To>()),
            cast: Box::new(move |value| {
                let value = value.downcast_ref::<Arc<From>>()?;
                Some(Box::new(cast(Arc::clone(value))))
            }),
        });
        self
    }

    /// Tells the value apart from others of its type: consumers take it as `Dep<T, Tag>`.
    pub fn tagged<Tag: 'static>(&mut self) -> &mut Self {
        self.options_mut().tag = Some((TypeId::of::<Tag>(), type_name::<Tag>()));
        self
    }

    /// Takes every dependency on `T` of this component from the component named `name`.
    pub fn wire<T: ?Sized + 'static>(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        self.options_mut().wires.push(WireTo {
            wanted: (TypeId::of::<T>(), type_name::<T>()),
            name: name.into(),
        });
        self
    }

    /// What a [`Graph::node`](crate::Graph::node) does; without it, it is only a point in the order.
    ///
    /// Name and options stay as they are; those of an attribute on the function count where nothing is said here. Called
    /// twice, the later function counts.
    pub fn run<M>(&mut self, function: impl IntoComponent<M>) -> &mut Self {
        let mut made = function.into_component();
        if let Some(theirs) = made.options.take() {
            let own = std::mem::take(self.options_mut());
            *self.options_mut() = own.or(*theirs);
        }
        self.needs
            .splice(..usize::from(self.parameters), made.needs);
        self.parameters = made.parameters;
        self.output = made.output;
        self.body = made.body;
        self
    }

    // === for this crate ===

    #[track_caller]
    pub(crate) fn of_value<T: Send + Sync + 'static>(value: T) -> Self {
        let name = short_label(type_name::<T>());
        Self::new::<T>(name, Vec::new(), Body::Value(value_of(value)))
    }

    #[track_caller]
    pub(crate) fn of_arc<T: ?Sized + Send + Sync + 'static>(value: Arc<T>) -> Self {
        let name = short_label(type_name::<T>());
        Self::new::<T>(name, Vec::new(), Body::Value(Some(Box::new(value))))
    }

    #[track_caller]
    pub(crate) fn point(name: Cow<'static, str>) -> Self {
        let mut component = Self::new::<()>(name, Vec::new(), Body::Point);
        component.named = true;
        component
    }

    #[track_caller]
    pub(crate) fn new<T: ?Sized + 'static>(
        name: Cow<'static, str>,
        needs: Vec<Need>,
        body: Body,
    ) -> Self {
        Self::made((TypeId::of::<T>(), type_name::<T>()), name, needs, body)
    }

    /// As [`new`](Self::new), for what only the type's id and name are known of.
    #[track_caller]
    pub(crate) fn made(
        output: (TypeId, &'static str),
        name: Cow<'static, str>,
        needs: Vec<Need>,
        body: Body,
    ) -> Self {
        Self {
            id: ComponentId { graph: 0, index: 0 },
            name,
            named: false,
            output: (output.0 != TypeId::of::<()>()).then_some(output),
            parameters: u16::try_from(needs.len()).unwrap_or(u16::MAX),
            needs,
            after: Handles::default(),
            added_at: Location::caller(),
            body,
            options: None,
        }
    }

    pub(crate) fn declared<D: Declaration>(mut self) -> Self {
        self.options_mut().defined_at = Some((D::FILE, D::LINE));
        D::apply(&mut self);
        self
    }

    pub(crate) fn options(&self) -> &Options {
        const NONE: &Options = &Options::NONE;
        self.options.as_deref().unwrap_or(NONE)
    }

    /// Whether anything was said of it at all.
    pub(crate) fn has_options(&self) -> bool {
        self.options.is_some()
    }

    pub(crate) fn options_mut(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }

    /// What a run keeps of a component.
    pub(crate) fn into_parts(self) -> (Body, Option<Box<Options>>) {
        (self.body, self.options)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.name)
            .field("options", self.options())
            .field("needs", &self.needs)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
