//! Fakes in the place of components: replaced as a whole, or their values changed on the way out.

use std::any::{TypeId, type_name};
use std::panic::Location;
use std::sync::Arc;

use super::edit_error::EditError;
use super::inject::{made_with, named};
use crate::component::{Body, Component};
use crate::dep::Dep;
use crate::graph::Graph;
use crate::handles::Handles;
use crate::into_component::IntoComponent;
use crate::values::Value;

/// Changes for tests; feature `testing`.
impl Graph {
    /// Puts `value` in the place of whoever provides `T`, found as a `Dep<T>` would find it.
    ///
    /// The type is always spelt out, since the fake of a trait object has a type of its own:
    /// `graph.replace::<dyn Clock>(Arc::new(FakeClock) as Arc<dyn Clock>)`. What the component needed, came after, was
    /// wired to and was conditional on goes; its name, its tag and its other options stay, and so do the views that
    /// [`provide`](Component::provide) makes of a `T`. What only the old component needed still starts, unless
    /// [`only`](Self::only) drops it.
    ///
    /// # Errors
    /// [`EditError`] when nobody provides `T`, or several do and all of them are named or tagged.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use init_graph::{BoxError, Dep, Graph};
    ///
    /// trait Clock: Send + Sync { fn now(&self) -> u64; }
    /// struct System;
    /// impl Clock for System { fn now(&self) -> u64 { 7 } }
    /// struct Fake(u64);
    /// impl Clock for Fake { fn now(&self) -> u64 { self.0 } }
    ///
    /// # fn main() -> init_graph::Result<()> {
    /// # init_graph::testing::run(async {
    /// let mut graph = Graph::new();
    /// graph.value(System).provide(|clock: Arc<System>| clock as Arc<dyn Clock>);
    /// graph.add(async |clock: Dep<dyn Clock>| Ok::<_, BoxError>(clock.now()));
    ///
    /// graph.replace::<dyn Clock>(Arc::new(Fake(42)) as Arc<dyn Clock>)?;
    /// // The trap of other tools: the type of the fake, which nobody takes, is an error here.
    /// assert!(graph.replace::<Fake>(Fake(42)).is_err());
    ///
    /// let running = graph.start().await?;
    /// assert_eq!(running.get::<u64>().as_deref(), Some(&42));
    /// # running.shutdown().await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[track_caller]
    pub fn replace<T>(&mut self, value: impl Into<Arc<T>>) -> Result<&mut Component, EditError>
    where
        T: ?Sized + Send + Sync + 'static,
    {
        let at = find::<T>(self, None, Location::caller())?;
        let made = Component::of_arc::<T>(value.into());
        Ok(put::<T>(&mut self.components[at], made))
    }

    /// As [`replace`](Self::replace), for the one that is named `name`.
    ///
    /// # Errors
    /// [`EditError`] when there is no component of that name, or it does not provide `T`.
    ///
    /// ```
    /// # fn main() -> init_graph::Result<()> {
    /// let mut graph = init_graph::Graph::new();
    /// graph.value(1_u32).named("one");
    /// graph.value(2_u32).named("two");
    /// graph.replace_named::<u32>("two", 20)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn replace_named<T>(
        &mut self,
        name: &str,
        value: impl Into<Arc<T>>,
    ) -> Result<&mut Component, EditError>
    where
        T: ?Sized + Send + Sync + 'static,
    {
        let at = find::<T>(self, Some(name), Location::caller())?;
        let made = Component::of_arc::<T>(value.into());
        Ok(put::<T>(&mut self.components[at], made))
    }

    /// Puts another function in the place of whoever provides `T`; it may take parameters of its own.
    ///
    /// As [`replace`](Self::replace) otherwise. The function returns a `T`, or an `Arc<T>`, as it has to for a trait
    /// object: `Ok(Arc::new(FakeClock) as Arc<dyn Clock>)`.
    ///
    /// # Errors
    /// As [`replace`](Self::replace), and when the function makes another type.
    ///
    /// ```
    /// use init_graph::BoxError;
    /// use init_graph::testing::Script;
    ///
    /// struct Database;
    ///
    /// # fn main() -> init_graph::Result<()> {
    /// let mut graph = init_graph::Graph::new();
    /// graph.add(async || Ok::<_, BoxError>(Database));
    /// let script = Script::<Database>::new();
    /// graph.replace_with::<Database, _>(script.component())?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn replace_with<T, M>(
        &mut self,
        component: impl IntoComponent<M>,
    ) -> Result<&mut Component, EditError>
    where
        T: ?Sized + Send + Sync + 'static,
    {
        let place = Location::caller();
        let at = find::<T>(self, None, place)?;
        let made = making::<T>(component.into_component(), place)?;
        Ok(put::<T>(&mut self.components[at], made))
    }

    /// As [`replace_with`](Self::replace_with), for the one that is named `name`; a node without a value is a `()`.
    ///
    /// # Errors
    /// As [`replace_named`](Self::replace_named), and when the function makes another type.
    ///
    /// ```
    /// use init_graph::BoxError;
    ///
    /// # fn main() -> init_graph::Result<()> {
    /// let mut graph = init_graph::Graph::new();
    /// graph.node("migrate").run(async || Err::<(), BoxError>("no database in tests".into()));
    /// graph.replace_named_with::<(), _>("migrate", async || Ok::<_, BoxError>(()))?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn replace_named_with<T, M>(
        &mut self,
        name: &str,
        component: impl IntoComponent<M>,
    ) -> Result<&mut Component, EditError>
    where
        T: ?Sized + Send + Sync + 'static,
    {
        let place = Location::caller();
        let at = find::<T>(self, Some(name), place)?;
        let made = making::<T>(component.into_component(), place)?;
        Ok(put::<T>(&mut self.components[at], made))
    }

    /// Changes the value of whoever provides `T` before anybody sees it, each time that it is made.
    ///
    /// The component itself runs as before. Several decorations apply in the order of their calls. Of a component that
    /// hands its value out as `T` by [`provide`](Component::provide), only that view changes. A panic in `decorate` is
    /// one of the component; that of a value comes at once.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    ///
    /// ```
    /// use init_graph::{BoxError, Dep, Graph};
    ///
    /// struct Limits { connections: u32 }
    ///
    /// # fn main() -> init_graph::Result<()> {
    /// # init_graph::testing::run(async {
    /// let mut graph = Graph::new();
    /// graph.add(async || Ok::<_, BoxError>(Limits { connections: 100 }));
    /// graph.decorate(|limits: Dep<Limits>| Limits { connections: limits.connections / 50 })?;
    /// let running = graph.start().await?;
    /// assert_eq!(running.get::<Limits>().map(|limits| limits.connections), Some(2));
    /// # running.shutdown().await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[track_caller]
    pub fn decorate<T, R>(
        &mut self,
        decorate: impl Fn(Dep<T>) -> R + Send + Sync + 'static,
    ) -> Result<&mut Component, EditError>
    where
        T: ?Sized + Send + Sync + 'static,
        R: Into<Arc<T>>,
    {
        let at = find::<T>(self, None, Location::caller())?;
        Ok(adorn(&mut self.components[at], decorate))
    }

    /// As [`decorate`](Self::decorate), for the one that is named `name`.
    ///
    /// # Errors
    /// As [`replace_named`](Self::replace_named).
    ///
    /// ```
    /// # fn main() -> init_graph::Result<()> {
    /// let mut graph = init_graph::Graph::new();
    /// graph.value(1_u32).named("one");
    /// graph.value(2_u32).named("two");
    /// graph.decorate_named("two", |two: init_graph::Dep<u32>| *two * 10)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn decorate_named<T, R>(
        &mut self,
        name: &str,
        decorate: impl Fn(Dep<T>) -> R + Send + Sync + 'static,
    ) -> Result<&mut Component, EditError>
    where
        T: ?Sized + Send + Sync + 'static,
        R: Into<Arc<T>>,
    {
        let at = find::<T>(self, Some(name), Location::caller())?;
        Ok(adorn(&mut self.components[at], decorate))
    }
}

/// Who provides `T`: the one named `name`, else the sole one without name and tag, else the sole one.
fn find<T: ?Sized + 'static>(
    graph: &Graph,
    name: Option<&str>,
    place: &'static Location<'static>,
) -> Result<usize, EditError> {
    let components = &graph.components;
    let found = |at: usize| (at, &components[at]);
    if let Some(name) = name {
        let named = named(graph, name);
        let fits: Vec<_> = named
            .iter()
            .copied()
            .filter(|at| provides::<T>(&components[*at]))
            .collect();
        return match (fits.as_slice(), named.first()) {
            ([at], _) => Ok(*at),
            ([_, ..], _) => {
                let shown: Vec<_> = fits.iter().map(|at| shown(&components[*at])).collect();
                Err(EditError::ambiguous::<T>(
                    place,
                    &shown,
                    "give them different names",
                ))
            }
            ([], Some(at)) => {
                let makes = components[*at].output.map(|(_, name)| name);
                Err(EditError::other_type::<T>(
                    place,
                    &format!("`{name}`"),
                    makes,
                ))
            }
            ([], None) => Err(EditError::no_such_name(place, name)),
        };
    }
    let all: Vec<_> = (0..components.len())
        .map(found)
        .filter(|(_, component)| provides::<T>(component))
        .collect();
    let plain: Vec<_> = all
        .iter()
        .filter(|(_, component)| !component.named && component.options().tag.is_none())
        .collect();
    match (all.as_slice(), plain.as_slice()) {
        ([], _) => {
            let outputs = components.iter().filter(|other| other.output.is_some());
            let shown: Vec<_> = outputs.take(SHOWN_MAX).map(shown).collect();
            Err(EditError::missing::<T>(place, &shown))
        }
        ([(at, _)], _) | (_, [(at, _)]) => Ok(*at),
        _ => {
            let shown: Vec<_> = all.iter().map(|(_, component)| shown(component)).collect();
            Err(EditError::ambiguous::<T>(
                place,
                &shown,
                "choose one by its name, with the call that takes a name",
            ))
        }
    }
}

fn provides<T: ?Sized + 'static>(component: &Component) -> bool {
    let views = &component.options().provides;
    makes::<T>(component) || views.iter().any(|view| view.to.0 == TypeId::of::<T>())
}

/// Whether the value itself is a `T`, and not only one of its views.
fn makes<T: ?Sized + 'static>(component: &Component) -> bool {
    match component.output {
        Some((output, _)) => output == TypeId::of::<T>(),
        None => TypeId::of::<T>() == TypeId::of::<()>(),
    }
}

fn shown(component: &Component) -> String {
    let at = component.added_at;
    format!("`{}` ({}:{})", component.name, at.file(), at.line())
}

/// What `made` makes has to be a `T`; an `Arc<T>` is unpacked.
fn making<T: ?Sized + Send + Sync + 'static>(
    mut made: Component,
    place: &'static Location<'static>,
) -> Result<Component, EditError> {
    if makes::<T>(&made) {
        return Ok(made);
    }
    match made.output {
        Some((output, _)) if output == TypeId::of::<Arc<T>>() => {
            let body = std::mem::replace(&mut made.body, Body::Point);
            made.body = made_with(body, |value: Value| {
                match value.downcast_ref::<Arc<Arc<T>>>() {
                    Some(shared) => Box::new(Arc::clone(&**shared)),
                    None => value,
                }
            });
            made.output = Some((TypeId::of::<T>(), type_name::<T>()));
            Ok(made)
        }
        other => {
            let makes = other.map(|(_, name)| name);
            Err(EditError::other_type::<T>(place, "the replacement", makes))
        }
    }
}

/// Gives `old` the body of `made`.
fn put<T: ?Sized + 'static>(old: &mut Component, made: Component) -> &mut Component {
    old.output = made.output;
    old.needs = made.needs;
    old.parameters = made.parameters;
    old.after = Handles::default();
    old.added_at = made.added_at;
    old.body = made.body;
    let options = old.options_mut();
    options.wires.clear();
    options.condition = None;
    options
        .provides
        .retain(|view| view.from.0 == TypeId::of::<T>());
    old
}

fn adorn<T, R>(
    component: &mut Component,
    decorate: impl Fn(Dep<T>) -> R + Send + Sync + 'static,
) -> &mut Component
where
    T: ?Sized + Send + Sync + 'static,
    R: Into<Arc<T>>,
{
    let change = move |value: Value| -> Value {
        match value.downcast_ref::<Arc<T>>() {
            Some(value) => {
                let changed: Arc<T> = decorate(Dep::new(Arc::clone(value))).into();
                Box::new(changed)
            }
            None => value,
        }
    };
    if makes::<T>(component) {
        let body = std::mem::replace(&mut component.body, Body::Point);
        component.body = made_with(body, change);
        return component;
    }
    let views = &mut component.options_mut().provides;
    if let Some(view) = views.iter_mut().find(|view| view.to.0 == TypeId::of::<T>()) {
        let plain = std::mem::replace(&mut view.cast, Box::new(|_| None));
        view.cast = Box::new(move |value| plain(value).map(&change));
    }
    component
}

/// The providers that an error names.
const SHOWN_MAX: usize = 8;
