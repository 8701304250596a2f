//! The texts of the wiring errors: what is wrong, where to look, and the likely way out.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use crate::component::Component;
use crate::cycle::Knot;
use crate::names::type_label;
use crate::param::{Key, Kind, Need, Source};
use crate::wiring::{Errors, Resolved};
use crate::wiring_error::{WiringError, WiringErrorKind};

/// Knows the components by their final names.
pub(crate) struct Diagnose<'a> {
    pub(crate) components: &'a [Component],
    pub(crate) names: &'a [Cow<'static, str>],
}

impl Diagnose<'_> {
    /// `earlier` is the number of errors before this one; only the first ones get a suggestion, which takes a while.
    pub(crate) fn missing(&self, at: usize, need: &Need, earlier: usize) -> WiringError {
        let mut text = match &need.key {
            Key::Type(_, full) => format!("nothing provides `{full}`\n  "),
            Key::Name(name) => format!("there is no node named `{name}`\n  "),
        };
        self.write_need(&mut text, at, need);
        let suggestion = if earlier < SUGGESTIONS_MAX {
            self.suggestion(need)
        } else {
            None
        };
        match (suggestion, &need.key) {
            (Some(suggestion), _) => write!(text, "\n  help: did you mean {suggestion}?"),
            (None, Key::Type(_, full)) => {
                let label = type_label(full);
                write!(
                    text,
                    "\n  help: add a component that returns `{label}`, or a value of it"
                )
            }
            (None, Key::Name(_)) => write!(
                text,
                "\n  help: names are those given by `named`, or the functions' own"
            ),
        }
        .expect("writing to a String cannot fail");
        WiringError {
            kind: WiringErrorKind::Missing,
            text,
        }
    }

    pub(crate) fn duplicate_type(
        &self,
        type_name: &str,
        first: usize,
        second: usize,
    ) -> WiringError {
        let (first, second) = (self.place(first), self.place(second));
        let label = type_label(type_name);
        let text = format!(
            "two nodes provide `{type_name}`\n  {first}\n  {second}\n  \
             help: give one of them a type of its own, such as `struct Second{label}({label});`"
        );
        WiringError {
            kind: WiringErrorKind::DuplicateType,
            text,
        }
    }

    pub(crate) fn duplicate_name(&self, first: usize, second: usize) -> WiringError {
        let (name, first, second) = (&self.names[first], self.place(first), self.place(second));
        let text = format!(
            "two nodes are named `{name}`\n  {first}\n  {second}\n  help: rename one with `named`"
        );
        WiringError {
            kind: WiringErrorKind::DuplicateName,
            text,
        }
    }

    pub(crate) fn needs_optional(&self, at: usize, need: &Need, provider: usize) -> WiringError {
        let mut text = format!(
            "`{}` must start but needs `{}`, which may fail\n  ",
            self.names[at], self.names[provider]
        );
        self.write_need(&mut text, at, need);
        let _ = write!(text, "\n  {} as optional", self.place(provider));
        let _ = write!(
            text,
            "\n  help: take `Option<{}>`, or make `{}` optional too",
            self.wanted(need),
            self.names[at]
        );
        WiringError {
            kind: WiringErrorKind::NeedsOptional,
            text,
        }
    }

    pub(crate) fn cycle(&self, knot: &Knot, resolved: &Resolved) -> WiringError {
        let length = knot.cycle.len();
        let mut text = match length {
            1 => format!("`{}` depends on itself", self.names[knot.cycle[0] as usize]),
            _ => format!("dependency cycle of {length} nodes"),
        };
        if knot.size > length {
            let _ = write!(
                text,
                " (the shortest among {} nodes that depend on each other)",
                knot.size
            );
        }
        for (position, at) in knot.cycle.iter().enumerate() {
            let left_out = length.saturating_sub(CYCLE_SHOWN_MAX);
            if left_out > 0 && position == CYCLE_SHOWN_MAX / 2 {
                let _ = write!(text, "\n  ... {left_out} more ...");
            }
            if left_out == 0
                || !(CYCLE_SHOWN_MAX / 2..CYCLE_SHOWN_MAX / 2 + left_out).contains(&position)
            {
                text.push_str("\n  ");
                let next = knot.cycle[(position + 1) % length];
                self.write_cycle_edge(&mut text, *at as usize, next, resolved);
            }
        }
        text.push_str("\n  help: move what both sides need into a component of its own");
        WiringError {
            kind: WiringErrorKind::Cycle,
            text,
        }
    }

    pub(crate) fn zero_timeouts(&self, stop_timeout: Duration, errors: &mut Errors) {
        let error = |text| WiringError {
            kind: WiringErrorKind::ZeroTimeout,
            text,
        };
        if stop_timeout.is_zero() {
            let text = "the stop timeout of the graph is zero\n  help: give `Graph::stop_timeout` the time that hooks may take";
            errors.push((self.components.len(), error(text.to_owned())));
        }
        for (at, component) in self.components.iter().enumerate() {
            let limits = [
                ("timeout", component.timeout),
                ("stop_timeout", component.stop_timeout),
            ];
            for (what, _) in limits
                .iter()
                .filter(|(_, limit)| limit.is_some_and(|limit| limit.is_zero()))
            {
                let text = format!(
                    "the {what} of `{}` is zero\n  {}\n  help: leave out `{what}` for no limit of its own",
                    self.names[at],
                    self.place(at)
                );
                errors.push((at, error(text)));
            }
        }
    }

    fn write_cycle_edge(&self, text: &mut String, at: usize, next: u32, resolved: &Resolved) {
        let needs = self.components[at].needs.iter().zip(&resolved[at]);
        match needs
            .into_iter()
            .find(|(_, provider)| **provider == Some(next))
        {
            Some((need, _)) => {
                self.write_need(text, at, need);
                if matches!(need.key, Key::Type(..)) {
                    let _ = write!(text, ", made by `{}`", self.names[next as usize]);
                }
            }
            None => text.push_str(&self.place(at)),
        }
    }

    fn write_need(&self, text: &mut String, at: usize, need: &Need) {
        let (place, wanted) = (self.place(at), self.wanted(need));
        let _ = match need.source {
            Source::Parameter(number) => {
                write!(text, "{place} takes `{wanted}` as parameter {number}")
            }
            Source::AfterCall => write!(text, "{place} is to begin after `{wanted}`"),
        };
    }

    fn wanted(&self, need: &Need) -> String {
        match &need.key {
            Key::Name(name) => name.clone(),
            Key::Type(_, full) => {
                let label = type_label(full);
                match (need.kind, need.required) {
                    (Kind::Hard, _) => format!("Dep<{label}>"),
                    (Kind::Soft, _) => format!("Option<Dep<{label}>>"),
                    (Kind::Order, true) => format!("After<{label}>"),
                    (Kind::Order, false) => format!("Option<After<{label}>>"),
                }
            }
        }
    }

    fn place(&self, at: usize) -> String {
        let component = &self.components[at];
        let added_at = component.added_at;
        let defined = component
            .defined_at
            .map(|(file, line)| format!("{file}:{line}, "))
            .unwrap_or_default();
        format!(
            "`{}` ({defined}added at {}:{})",
            self.names[at],
            added_at.file(),
            added_at.line()
        )
    }

    /// The provider whose type or name looks most like what was asked for.
    fn suggestion(&self, need: &Need) -> Option<String> {
        let Key::Type(_, wanted) = &need.key else {
            let Key::Name(wanted) = &need.key else {
                return None;
            };
            let named = (0..self.names.len()).map(|at| (distance(wanted, &self.names[at]), at));
            let (far, at) = named.min()?;
            return (far <= DISTANCE_MAX).then(|| self.place(at));
        };
        let bare = unwrapped(&type_label(wanted)).to_owned();
        let providers = self.components.iter().enumerate();
        let typed = providers.filter_map(|(at, component)| Some((at, component.provides?.1)));
        let (far, at, full) = typed
            .map(|(at, full)| (distance(&bare, unwrapped(&type_label(full))), at, full))
            .min()?;
        // Types of the same name from different modules are told apart only by their paths.
        let shown = if type_label(full) == type_label(wanted) {
            full.to_owned()
        } else {
            type_label(full)
        };
        (far <= DISTANCE_MAX).then(|| format!("`{shown}`, provided by {}", self.place(at)))
    }
}

/// `Arc<T>`, `Box<T>` and the like without the wrapper: `Dep` shares by itself, so wrapping is a usual slip.
fn unwrapped(label: &str) -> &str {
    let inner = ["Arc<", "Box<", "Rc<", "Option<", "Dep<"]
        .iter()
        .find_map(|wrapper| label.strip_prefix(wrapper));
    inner
        .and_then(|inner| inner.strip_suffix('>'))
        .map_or(label, unwrapped)
}

/// How many letters differ (Levenshtein), without regard to case; far too many for words of very different length.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<_> = b.chars().collect();
    if a.chars().count().abs_diff(b.len()) > DISTANCE_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = substitute.min(diagonal + 1).min(row[column] + 1);
        }
    }
    // Two letters are most of a short word.
    if row[b.len()] * 3 > b.len() {
        usize::MAX
    } else {
        row[b.len()]
    }
}

/// The nodes of a long cycle that are printed.
const CYCLE_SHOWN_MAX: usize = 12;

/// Letters by which a suggestion may differ.
const DISTANCE_MAX: usize = 2;

/// Missing providers that get a suggestion; each compares with every provider.
const SUGGESTIONS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_by_a_slip_are_near() {
        assert_eq!(distance("Database", "database"), 0);
        assert_eq!(distance("databse", "database"), 1);
        assert_eq!(distance("cache", "queue"), usize::MAX);
        assert_eq!(distance("a", "b"), usize::MAX);
    }

    #[test]
    fn wrappers_do_not_count() {
        assert_eq!(unwrapped("Arc<Database>"), "Database");
        assert_eq!(unwrapped("Box<Arc<Database>>"), "Database");
        assert_eq!(unwrapped("Vec<Database>"), "Vec<Database>");
    }
}
