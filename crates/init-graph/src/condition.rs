//! Conditions: whether a component is wanted at all, decided when what the decision needs is ready.

use crate::param::{Fetch, Need, Needs, Param};

/// A condition with what it needs; asked once, when every dependency of the component is settled.
pub(crate) struct Condition {
    pub(crate) needs: Vec<Need>,
    pub(crate) holds: Box<dyn Fn(&mut Fetch<'_>) -> bool + Send + Sync>,
}

/// What [`Component::when`](crate::Component::when) takes: functions of 0 to 4 [`Param`]s that return a `bool`.
///
/// `Marker` only keeps the implementations for different numbers of parameters apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a condition",
    label = "not a function that says whether a component is wanted",
    note = "a condition is a function or closure of up to 4 parameters such as `Dep<T>` that returns `bool`"
)]
pub trait IntoCondition<Marker>: sealed::Sealed<Marker> {
    #[doc(hidden)]
    fn into_condition(self) -> Made;
}

/// A condition on its way into a component.
pub struct Made(pub(crate) Condition);

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "what cannot be named cannot be implemented elsewhere"
    )]
    pub trait Sealed<Marker> {}
}

macro_rules! impl_into_condition {
    ($($param:ident)*) => {
        impl<Function, $($param),*> sealed::Sealed<fn($($param),*)> for Function
        where
            Function: Fn($($param),*) -> bool + Send + Sync + 'static,
            $($param: Param,)*
        {}

        #[diagnostic::do_not_recommend]
        impl<Function, $($param),*> IntoCondition<fn($($param),*)> for Function
        where
            Function: Fn($($param),*) -> bool + Send + Sync + 'static,
            $($param: Param,)*
        {
            fn into_condition(self) -> Made {
                let needs = Needs::of_condition(&[$($param::declare),*]);
                let holds = Box::new(move |_fetch: &mut Fetch<'_>| self($($param::fetch(_fetch)),*));
                Made(Condition { needs, holds })
            }
        }
    };
}

impl_into_condition!();
impl_into_condition!(P1);
impl_into_condition!(P1 P2);
impl_into_condition!(P1 P2 P3);
impl_into_condition!(P1 P2 P3 P4);
