//! How a parameter of an initialiser says what it needs (when added) and gets it (when run).

use std::any::{TypeId, type_name};
use std::sync::Arc;

use tokio::time::Instant;

use crate::all::All;
use crate::component::ComponentId;
use crate::context::Context;
use crate::dep::{After, Dep};
use crate::failure::Failure;
use crate::plan::NodeId;
use crate::run::Run;
use crate::wiring::Wire;

/// What an initialiser may take: [`Dep`], `Option<Dep>`, `Result<Dep, Failure>`, [`All`], [`Lazy`](crate::Lazy),
/// [`Live`](crate::Live), [`After`], `Option<After>`, [`Context`], tuples of these, and structs of these with
/// `#[derive(Deps)]`.
///
/// Sealed: the two steps behind it are this crate's own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a component",
    label = "not something that a graph hands out; take a value of this type as `Dep<{Self}>`",
    note = "parameters are `Dep<T>`, `Option<Dep<T>>`, `Result<Dep<T>, Failure>`, `All<T>`, `Lazy<T>`, `Live<T>`, `After<T>`, `Context`, tuples of these and structs with `#[derive(Deps)]`"
)]
pub trait Param: sealed::Sealed + Sized + Send + 'static {
    /// Adds what this parameter needs; called once, when the component is added.
    #[doc(hidden)]
    fn declare(needs: &mut Needs);

    /// Takes what was asked for; called in the order of the parameters.
    #[doc(hidden)]
    fn fetch(fetch: &mut Fetch<'_>) -> Self;
}

/// Hidden, and reachable for `#[derive(Deps)]` alone.
pub(crate) mod sealed {
    /// Keeps [`Param`](super::Param) to the types of this crate.
    pub trait Sealed {}
}

// === what is needed ===

/// What a component needs, parameter by parameter.
#[derive(Debug, Default)]
pub struct Needs {
    /// Of the parameter being declared, counted from 1.
    parameter: u16,
    /// Of a struct with `#[derive(Deps)]`, the innermost.
    field: Option<&'static str>,
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

    /// As [`of`](Self::of), for a condition.
    pub(crate) fn of_condition(parameters: &[fn(&mut Self)]) -> Vec<Need> {
        let mut needs = Self::of(parameters);
        for need in &mut needs {
            if let Source::Parameter(number, _) = need.source {
                need.source = Source::Condition(number);
            }
        }
        needs
    }

    /// Declares what the field `name` of a parameter needs.
    pub fn field(&mut self, name: &'static str, declare: fn(&mut Self)) {
        let outer = self.field.replace(name);
        declare(self);
        self.field = outer;
    }

    pub(crate) fn push<T: ?Sized + 'static, Tag: 'static>(&mut self, kind: Kind, required: bool) {
        self.list.push(Need {
            key: Key::of::<T, Tag>(),
            kind,
            required,
            source: Source::Parameter(self.parameter, self.field),
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
    Type(TypeKey),
    Name(Box<str>),
    Id(ComponentId),
}

/// A type as one provides it and another asks for it; the names are for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeKey {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
    /// `None` where no tag was asked for.
    pub(crate) tag: Option<(TypeId, &'static str)>,
}

impl Key {
    pub(crate) fn of<T: ?Sized + 'static, Tag: 'static>() -> Self {
        let tag = TypeId::of::<Tag>();
        Self::Type(TypeKey {
            id: TypeId::of::<T>(),
            name: type_name::<T>(),
            tag: (tag != TypeId::of::<()>()).then(|| (tag, type_name::<Tag>())),
        })
    }
}

/// What an edge means for its dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It cannot run without the value.
    Hard,
    /// As [`Kind::Hard`], but a restart of the provider leaves it running.
    Live,
    /// It runs with `None` when the provider fell away.
    Soft,
    /// It runs with the failure when the provider fell away.
    Outcome,
    /// It takes whatever there is, of every provider.
    All,
    /// It never wanted the value.
    Order,
    /// It starts the provider itself, when it asks for it.
    Lazy,
}

/// Where an edge was written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Number from 1, and the field of a struct of parameters.
    Parameter(u16, Option<&'static str>),
    /// A parameter of the condition.
    Condition(u16),
    AfterCall,
    NeedsCall,
}

// === what is got ===

/// The values for one run of an initialiser, in the order of its needs.
#[derive(Debug)]
pub struct Fetch<'a> {
    run: &'a Arc<Run>,
    node: NodeId,
    attempt: u32,
    deadline: Option<Instant>,
    wires: &'a [Wire],
}

impl<'a> Fetch<'a> {
    /// For attempt number `attempt` (from 1) of `node`; its wires are fetched from the first on.
    pub(crate) fn new(
        run: &'a Arc<Run>,
        node: NodeId,
        attempt: u32,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            run,
            node,
            attempt,
            deadline,
            wires: run.wires.of(node),
        }
    }

    /// Passes over the first `needs` needs, which belong to somebody else.
    pub(crate) fn skip(mut self, needs: usize) -> Self {
        for _ in 0..needs {
            self.next();
        }
        self
    }

    /// The wires of the next need: several only for [`Kind::All`] and [`Kind::Order`].
    fn next(&mut self) -> &'a [Wire] {
        let count = self
            .wires
            .iter()
            .position(|wire| wire.last)
            .map_or(self.wires.len(), |at| at + 1);
        let (own, rest) = self.wires.split_at(count);
        self.wires = rest;
        own
    }

    fn value<T: ?Sized + Send + Sync + 'static>(&self, wire: &Wire) -> Option<Arc<T>> {
        self.run.value(wire.provider?, wire.view)
    }

    fn dep<T: ?Sized + Send + Sync + 'static, Tag>(&mut self) -> Option<Dep<T, Tag>> {
        let wire = self.next().first()?;
        self.value(wire).map(Dep::new)
    }

    /// Who asks, whom it asks, and as which view; for parameters that ask later.
    pub(crate) fn later(&mut self) -> (&'a Arc<Run>, NodeId, Option<Wire>) {
        let wire = self.next().first().copied();
        (self.run, self.node, wire)
    }
}

impl<T: ?Sized, Tag> sealed::Sealed for Dep<T, Tag> {}
impl<T: ?Sized + Send + Sync + 'static, Tag: 'static> Param for Dep<T, Tag> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, Tag>(Kind::Hard, true);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        fetch
            .dep()
            .expect("a component runs only when the providers of its `Dep`s are ready")
    }
}

impl<T: ?Sized, Tag> sealed::Sealed for Option<Dep<T, Tag>> {}
impl<T: ?Sized + Send + Sync + 'static, Tag: 'static> Param for Option<Dep<T, Tag>> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, Tag>(Kind::Soft, false);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        fetch.dep()
    }
}

impl<T: ?Sized, Tag> sealed::Sealed for Result<Dep<T, Tag>, Failure> {}
impl<T: ?Sized + Send + Sync + 'static, Tag: 'static> Param for Result<Dep<T, Tag>, Failure> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, Tag>(Kind::Outcome, true);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        let wire = fetch.next().first();
        let wire =
            wire.expect("a graph starts only when every `Result<Dep<T>, Failure>` has a provider");
        match fetch.value(wire) {
            Some(value) => Ok(Dep::new(value)),
            None => Err(fetch.run.failure(wire.provider.unwrap_or(fetch.node))),
        }
    }
}

impl<T: ?Sized> sealed::Sealed for All<T> {}
impl<T: ?Sized + Send + Sync + 'static> Param for All<T> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, ()>(Kind::All, false);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        let wires = fetch.next();
        Self::new(
            wires
                .iter()
                .filter_map(|wire| fetch.value(wire))
                .map(Dep::new)
                .collect(),
        )
    }
}

impl<T: ?Sized> sealed::Sealed for After<T> {}
impl<T: ?Sized + Send + Sync + 'static> Param for After<T> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, ()>(Kind::Order, true);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        fetch.next();
        Self::new()
    }
}

impl<T: ?Sized> sealed::Sealed for Option<After<T>> {}
impl<T: ?Sized + Send + Sync + 'static> Param for Option<After<T>> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, ()>(Kind::Order, false);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        let wires = fetch.next();
        let ready = |wire: &Wire| {
            wire.provider
                .is_some_and(|provider| fetch.run.core.is_ready(provider))
        };
        wires.iter().any(ready).then(After::new)
    }
}

impl sealed::Sealed for Context {}
impl Param for Context {
    fn declare(_: &mut Needs) {}

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        Self::new(
            Arc::clone(&fetch.run.core),
            fetch.node,
            fetch.attempt,
            fetch.deadline,
        )
    }
}

macro_rules! impl_param_for_tuple {
    ($($param:ident)+) => {
        impl<$($param: Param),+> sealed::Sealed for ($($param,)+) {}

        #[diagnostic::do_not_recommend]
        impl<$($param: Param),+> Param for ($($param,)+) {
            fn declare(needs: &mut Needs) {
                $($param::declare(needs);)+
            }

            fn fetch(fetch: &mut Fetch<'_>) -> Self {
                ($($param::fetch(fetch),)+)
            }
        }
    };
}

macro_rules! impl_up_to {
    () => {};
    ($first:ident $($rest:ident)*) => {
        impl_param_for_tuple!($first $($rest)*);
        impl_up_to!($($rest)*);
    };
}

impl_up_to!(P16 P15 P14 P13 P12 P11 P10 P9 P8 P7 P6 P5 P4 P3 P2 P1);
