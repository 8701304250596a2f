//! The texts of the wiring errors: what is wrong, where to look, and the likely way out.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Errors;
use super::cycle::Knot;
use super::index::{Resolved, needs};
use super::names::type_label;
use crate::component::Component;
use crate::options::WireTo;
use crate::param::{Key, Kind, Need, Source};
use crate::settings::Settings;
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
            Key::Type(key) => format!("nothing provides `{}`\n  ", key.name),
            Key::Name(name) => format!("there is no node named `{name}`\n  "),
            Key::Id(_) => "there is no such node\n  ".to_owned(),
        };
        self.write_need(&mut text, at, need);
        let suggestion = if earlier < SUGGESTIONS_MAX {
            self.suggestion(need)
        } else {
            None
        };
        match (suggestion, &need.key) {
            (Some(suggestion), _) => write!(text, "\n  help: did you mean {suggestion}?"),
            (None, Key::Type(key)) => {
                let label = type_label(key.name);
                write!(
                    text,
                    "\n  help: add a component that returns `{label}`, or a value of it"
                )
            }
            (None, _) => write!(
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

    /// Several providers of what one consumer wants one of.
    pub(crate) fn ambiguous(&self, at: usize, need: &Need, several: &[u32]) -> WiringError {
        let mut text = format!(
            "{} nodes provide what `{}` wants one of\n  ",
            several.len(),
            self.names[at]
        );
        self.write_need(&mut text, at, need);
        for provider in several {
            let _ = write!(text, "\n  {}", self.place(*provider as usize));
        }
        text.push_str(
            "\n  help: name them and choose with `wire`, tag them with `tagged`, or take `All<T>`",
        );
        WiringError {
            kind: WiringErrorKind::DuplicateType,
            text,
        }
    }

    pub(crate) fn wrong_wire(&self, at: usize, wire: &WireTo, named: Option<u32>) -> WiringError {
        let label = type_label(wire.wanted.1);
        let (place, name) = (self.place(at), &wire.name);
        let text = match named {
            Some(other) => format!(
                "`{name}` does not provide `{label}`\n  {place} is wired to it\n  {}",
                self.place(other as usize)
            ),
            None => {
                format!("there is no node named `{name}`\n  {place} is wired to it for `{label}`")
            }
        };
        WiringError {
            kind: WiringErrorKind::Missing,
            text,
        }
    }

    pub(crate) fn foreign_handle(&self, at: usize) -> WiringError {
        let text = format!(
            "a handle of another graph\n  {} is to begin after it\n  help: handles are valid in the graph that made them",
            self.place(at)
        );
        WiringError {
            kind: WiringErrorKind::Missing,
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

    pub(crate) fn settings(&self, settings: &Settings, errors: &mut Errors) {
        let error = |text: &str| WiringError {
            kind: WiringErrorKind::ZeroTimeout,
            text: text.to_owned(),
        };
        let at = self.components.len();
        if settings.stop_timeout.is_zero() {
            let text = "the stop timeout of the graph is zero\n  help: give `Graph::stop_timeout` the time that hooks may take";
            errors.push((at, error(text)));
        }
        if settings.timeout.is_some_and(|limit| limit.is_zero()) {
            let text =
                "the timeout of the graph is zero\n  help: leave out `Graph::timeout` for no limit";
            errors.push((at, error(text)));
        }
    }

    pub(crate) fn options(&self, errors: &mut Errors) {
        let error = |text| WiringError {
            kind: WiringErrorKind::ZeroTimeout,
            text,
        };
        for (at, component) in self.components.iter().enumerate() {
            let options = component.options();
            let limits = [
                ("timeout", options.timeout),
                ("total_timeout", options.total_timeout),
                ("stall_timeout", options.stall_timeout),
                ("stop_timeout", options.stop_timeout),
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
        let wires = resolved.of(at as u32).iter();
        let wire = wires
            .filter(|wire| wire.kind != Kind::Lazy)
            .find(|wire| wire.provider == Some(next));
        let need = wire.and_then(|wire| needs(&self.components[at]).nth(usize::from(wire.need)));
        match need {
            Some(need) => {
                self.write_need(text, at, need);
                if matches!(need.key, Key::Type(..)) {
                    let _ = write!(text, ", made by `{}`", self.names[next as usize]);
                }
            }
            None => {
                let next = &self.names[next as usize];
                let _ = write!(text, "{} is to begin after `{next}`", self.place(at));
            }
        }
    }

    fn write_need(&self, text: &mut String, at: usize, need: &Need) {
        let (place, wanted) = (self.place(at), self.wanted(need));
        let _ = match need.source {
            Source::Parameter(number, None) => {
                write!(text, "{place} takes `{wanted}` as parameter {number}")
            }
            Source::Parameter(number, Some(field)) => {
                write!(
                    text,
                    "{place} takes `{wanted}` as `{field}` of parameter {number}"
                )
            }
            Source::Condition(number) => {
                write!(
                    text,
                    "the condition of {place} takes `{wanted}` as parameter {number}"
                )
            }
            Source::AfterCall => write!(text, "{place} is to begin after `{wanted}`"),
            Source::NeedsCall => write!(text, "{place} needs `{wanted}`"),
        };
    }

    fn wanted(&self, need: &Need) -> String {
        let key = match &need.key {
            Key::Name(name) => return name.to_string(),
            Key::Id(id) => return self.names[id.index as usize].to_string(),
            Key::Type(key) => key,
        };
        let label = type_label(key.name);
        if matches!(need.source, Source::NeedsCall) {
            return label;
        }
        let tagged = match key.tag {
            Some((_, tag)) => format!("{label}, {}", type_label(tag)),
            None => label,
        };
        match (need.kind, need.required) {
            (Kind::Hard, _) => format!("Dep<{tagged}>"),
            (Kind::Live, _) => format!("Live<{tagged}>"),
            (Kind::Soft, _) => format!("Option<Dep<{tagged}>>"),
            (Kind::Outcome, _) => format!("Result<Dep<{tagged}>, Failure>"),
            (Kind::Lazy, _) => format!("Lazy<{tagged}>"),
            (Kind::All, _) => format!("All<{tagged}>"),
            (Kind::Order, true) => format!("After<{tagged}>"),
            (Kind::Order, false) => format!("Option<After<{tagged}>>"),
        }
    }

    fn place(&self, at: usize) -> String {
        let component = &self.components[at];
        let added_at = component.added_at;
        let defined = component
            .options()
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
        let wanted = match &need.key {
            Key::Type(key) => key.name,
            Key::Name(wanted) => {
                let named = (0..self.names.len()).map(|at| (distance(wanted, &self.names[at]), at));
                let (far, at) = named.min()?;
                return (far <= DISTANCE_MAX).then(|| self.place(at));
            }
            Key::Id(_) => return None,
        };
        let bare = unwrapped(&type_label(wanted)).to_owned();
        let providers = self.components.iter().enumerate();
        let typed = providers.filter_map(|(at, component)| Some((at, component.output?.1)));
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
