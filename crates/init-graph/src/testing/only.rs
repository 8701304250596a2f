//! A part of a graph: one component with what it needs, and nothing else.

use std::any::TypeId;
use std::collections::HashMap;
use std::panic::Location;

use super::edit_error::EditError;
use crate::component::ComponentId;
use crate::error::GraphError;
use crate::graph::Graph;
use crate::handles::Handles;
use crate::param::Key;
use crate::plan::NodeId;
use crate::wiring::{self, Wiring};

/// Parts for tests; feature `testing`.
impl Graph {
    /// Drops every component that the providers of `T` do not need, directly or by others: a part of the service for a
    /// test of that part.
    ///
    /// After [`replace`](Self::replace) this drops also what only the replaced component needed. Handles that
    /// [`Component::id`](crate::Component::id) gave before are no longer valid, which a later use of them reports.
    ///
    /// # Errors
    /// [`EditError`] when nobody provides `T`, or when the graph does not fit together.
    ///
    /// ```
    /// use init_graph::{BoxError, Dep, Graph};
    ///
    /// struct Database;
    /// struct Api;
    ///
    /// # fn main() -> init_graph::Result<()> {
    /// let mut graph = Graph::new();
    /// graph.add(async || Ok::<_, BoxError>(Database));
    /// graph.add(async |_: Dep<Database>| Ok::<_, BoxError>(Api));
    /// graph.node("mailer");
    /// graph.only::<Api>()?;
    /// assert_eq!(graph.plan()?.nodes().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn only<T: ?Sized + Send + Sync + 'static>(&mut self) -> Result<(), EditError> {
        let place = Location::caller();
        let wiring = resolved(self, place)?;
        let offers = wiring.providers.get(&TypeId::of::<T>());
        let roots: Vec<_> = offers
            .into_iter()
            .flatten()
            .map(|offer| offer.node)
            .collect();
        if roots.is_empty() {
            return Err(EditError::missing::<T>(place, &[]));
        }
        keep(self, &wiring, roots);
        Ok(())
    }

    /// As [`only`](Self::only), for the component that is named `name`.
    ///
    /// # Errors
    /// [`EditError`] when there is none of that name, or when the graph does not fit together.
    ///
    /// ```
    /// # fn main() -> init_graph::Result<()> {
    /// let mut graph = init_graph::Graph::new();
    /// graph.node("config");
    /// graph.node("db").after("config");
    /// graph.node("mailer");
    /// graph.only_named("db")?;
    /// assert_eq!(graph.plan()?.nodes().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn only_named(&mut self, name: &str) -> Result<(), EditError> {
        let place = Location::caller();
        let wiring = resolved(self, place)?;
        let mut nodes = wiring.plan.nodes().iter();
        let Some(root) = nodes.find(|node| node.name() == name) else {
            return Err(EditError::no_such_name(place, name));
        };
        let root = root.id();
        keep(self, &wiring, vec![root]);
        Ok(())
    }
}

fn resolved(graph: &Graph, place: &'static Location<'static>) -> Result<Wiring, EditError> {
    wiring::resolve(graph).map_err(|errors| EditError::wiring(place, GraphError::Wiring(errors)))
}

/// Keeps `open` and everything behind them, over edges of any kind.
fn keep(graph: &mut Graph, wiring: &Wiring, mut open: Vec<NodeId>) {
    let mut kept = vec![false; graph.components.len()];
    while let Some(node) = open.pop() {
        let at = wiring.components[node.index()] as usize;
        if std::mem::replace(&mut kept[at], true) {
            continue;
        }
        let wired = wiring.wires.of(node).iter();
        open.extend(wired.filter_map(|wire| wire.provider));
        open.extend(wiring.plan.dependencies(node));
    }
    let all = std::mem::take(&mut graph.components).into_iter();
    let all = all.zip(&kept).enumerate();
    let mut moved = HashMap::new();
    // A number of its own, so that a handle from before is that of another graph and not another component.
    graph.id = Graph::new().id;
    for (old, (component, _)) in all.filter(|(_, (_, kept))| **kept) {
        moved.insert(old as u32, graph.components.len() as u32);
        graph.components.push(component);
    }
    let graph_id = graph.id;
    let now = |id: &mut ComponentId| {
        id.graph = graph_id;
        id.index = moved.get(&id.index).copied().unwrap_or(u32::MAX);
    };
    for component in &mut graph.components {
        now(&mut component.id);
        for handle in component.after.as_mut_slice() {
            *handle = moved.get(handle).copied().unwrap_or(Handles::FOREIGN);
        }
        for need in &mut component.needs {
            if let Key::Id(id) = &mut need.key {
                now(id);
            }
        }
    }
}
