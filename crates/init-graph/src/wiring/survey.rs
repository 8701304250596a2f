//! Everything that is known of the components before they are numbered, gathered in two passes over them.

use std::collections::HashSet;

use super::Csr;
use super::bounds;
use super::cycle;
use super::deferred::deferred;
use super::diagnose::Diagnose;
use super::named::Names;
use super::offers::{Doubled, Offers};
use super::order::start_order;
use super::problem::{Problem, Problems};
use super::resolve::{self, Resolved};
use crate::component::Component;
use crate::graph::Graph;
use crate::wiring_error::WiringErrors;

/// Components that fit together, by the position of adding.
pub(super) struct Survey<'a> {
    pub(super) components: &'a [Component],
    pub(super) names: Names<'a>,
    pub(super) offers: Offers,
    pub(super) resolved: Resolved,
    pub(super) dependencies: Csr,
    /// The positions in start order; `None` where they are that already.
    pub(super) order: Option<Vec<u32>>,
    /// Per component whether it waits until somebody asks; empty where there is no `Lazy`.
    pub(super) lazy: Vec<bool>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(graph: &'a Graph) -> Result<Self, WiringErrors> {
        let components = &*graph.components;
        let mut problems = Problems::new();
        let mut names = Names::new(components);
        let mut offers = Offers::default();
        for (at, component) in (0..).zip(components) {
            names.add(at, component);
            offers.add(at, component);
            inspect(at, component, &mut problems);
        }
        names.flush();
        let doubled = names.doubled.iter();
        problems.extend(doubled.map(|(first, at)| (*at, Problem::DoubledName(*first))));
        bounds::of_graph(&graph.settings, &mut problems);

        let outcome = resolve::resolve(graph, &names, &offers, &mut problems);
        let resolve::Outcome {
            resolved,
            dependencies,
            sorted,
            collected,
        } = outcome;
        let order = (!sorted).then(|| start_order(&dependencies));
        if let Some(order) = order
            .as_ref()
            .filter(|order| order.len() < components.len())
        {
            let knots = cycle::knots(&dependencies, order);
            let knots = knots.into_iter();
            problems.extend(knots.map(|knot| (knot.cycle[0], Problem::Cycle(knot))));
        }
        let lazy = match resolved.lazy {
            true => deferred(&resolved, &dependencies),
            false => Vec::new(),
        };
        if !problems.is_empty() || offers.has_several() {
            let doubled = offers.doubled(&collected);
            settle(&mut problems, &doubled, components, &lazy);
        }
        if problems.is_empty() {
            return Ok(Self {
                components,
                names,
                offers,
                resolved,
                dependencies,
                order,
                lazy,
            });
        }
        // In the order of the source, which is how a person goes through them.
        problems.sort_by_key(|(at, _)| *at);
        let diagnose = Diagnose {
            components,
            names: &names,
            offers: &offers,
            resolved: &resolved,
        };
        Err(diagnose.errors(&problems))
    }
}

/// What a component says of itself alone.
fn inspect<'a>(at: u32, component: &'a Component, problems: &mut Problems<'a>) {
    if component.name.trim().is_empty() {
        problems.push((at, Problem::EmptyName));
    }
    if !component.has_options() {
        return;
    }
    bounds::of_component(at, component, problems);
    let made = component.output.map(|(made, _)| made);
    let wrong = component.options().provides.iter();
    for provide in wrong.filter(|provide| Some(provide.from.0) != made) {
        problems.push((at, Problem::WrongProvide(provide)));
    }
}

/// Adds the types that are doubled, and takes out what follows from them or needs no saying.
fn settle<'a>(
    problems: &mut Problems<'a>,
    doubled: &[Doubled],
    components: &'a [Component],
    lazy: &[bool],
) {
    let groups = doubled.iter();
    let groups: HashSet<_> = groups
        .map(|group| (group.provided, group.providers[0].tag))
        .collect();
    problems.retain(|(at, problem)| match problem {
        // One error for a type that is doubled, not one more for each consumer.
        Problem::Ambiguous(_, key) => !groups.contains(&(key.id, key.tag.map(|(tag, _)| tag))),
        // Its failure goes to whoever asked for it.
        Problem::NeedsOptional(..) => !lazy.get(*at as usize).is_some_and(|lazy| *lazy),
        _ => true,
    });
    for group in doubled {
        let provider = group.providers[1];
        let component = &components[provider.component as usize];
        let options = component.options();
        let provided = match provider.view {
            0 => component.output.map(|(_, name)| name),
            view => options
                .provides
                .get(usize::from(view) - 1)
                .map(|provide| provide.to.1),
        };
        let tag = provider.tag.and_then(|_| options.tag.map(|(_, name)| name));
        let all = group.providers.iter().map(|provider| provider.component);
        let problem = Problem::DoubledType(all.collect(), provided.unwrap_or("()"), tag);
        problems.push((provider.component, problem));
    }
}
