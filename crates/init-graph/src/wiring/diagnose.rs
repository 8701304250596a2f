//! The texts of the wiring errors: what is wrong, where to look, and the likely way out.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::named::Names;
use super::names::type_label;
use super::offers::Offers;
use super::problem::{Problem, Problems};
use super::resolve::Resolved;
use super::suggest::quoted_list;
use crate::component::Component;
use crate::options::{Provide, WireTo};
use crate::param::{Key, Kind, Need, Source, TypeKey};
use crate::render::plain;
use crate::wiring_error::{WiringError, WiringErrorKind, WiringErrors};

/// Knows everything that an error may want to point at.
pub(super) struct Diagnose<'d, 'a> {
    pub(super) components: &'a [Component],
    pub(super) names: &'d Names<'a>,
    pub(super) offers: &'d Offers,
    pub(super) resolved: &'d Resolved,
}

impl Diagnose<'_, '_> {
    pub(super) fn errors(&self, problems: &Problems<'_>) -> WiringErrors {
        let errors = problems.iter().enumerate();
        // Only the first ones get a suggestion, which takes a while.
        let errors = errors.map(|(earlier, (at, problem))| {
            self.error(*at as usize, problem, earlier < SUGGESTIONS_MAX)
        });
        WiringErrors::new(errors.collect())
    }

    fn error(&self, at: usize, problem: &Problem<'_>, looks: bool) -> WiringError {
        use WiringErrorKind as K;
        let (kind, text, others) = match problem {
            Problem::Missing(need) => (K::Missing, self.missing(at, need, looks), vec![]),
            Problem::Ambiguous(need, key) => {
                let several = self.offers.candidates(key);
                let several: Vec<_> = several.map(|provider| provider.component).collect();
                let text = self.ambiguous(at, need, key, &several);
                let first = several.into_iter().take(PLACES_MAX);
                (K::DuplicateType, text, first.collect())
            }
            Problem::NeedsOptional(need, provider) => (
                K::NeedsOptional,
                self.needs_optional(at, need, *provider),
                vec![*provider],
            ),
            Problem::WrongWire(wire, Some(named)) => (
                K::WrongWire,
                self.wrong_wire(at, wire, *named),
                vec![*named],
            ),
            Problem::WrongWire(wire, None) => {
                (K::Missing, self.missing_wire(at, wire, looks), vec![])
            }
            Problem::UnusedWire(wire) => (K::WrongWire, self.unused_wire(at, wire), vec![]),
            Problem::ForeignHandle => (K::ForeignHandle, self.foreign_handle(at), vec![]),
            Problem::WrongProvide(provide) => {
                (K::WrongProvide, self.wrong_provide(at, provide), vec![])
            }
            Problem::EmptyName => (K::EmptyName, self.empty_name(at), vec![]),
            Problem::DoubledName(first) => (
                K::DuplicateName,
                self.doubled_name(*first as usize, at),
                vec![*first],
            ),
            Problem::DoubledType(all, provided, tag) => {
                let others = all.iter().copied().filter(|other| *other as usize != at);
                (
                    K::DuplicateType,
                    self.doubled_type(all, provided, *tag),
                    others.collect(),
                )
            }
            Problem::ZeroTimeout(what) => (K::ZeroTimeout, self.zero_timeout(at, what), vec![]),
            Problem::NoAttempt => (K::ZeroLimit, self.no_attempt(at), vec![]),
            Problem::Setting(is_time, what, help) => {
                let kind = if *is_time {
                    K::ZeroTimeout
                } else {
                    K::ZeroLimit
                };
                let text = format!("{what} is zero\n  help: {help}");
                return WiringError::new(kind, text, Vec::new());
            }
            Problem::Cycle(knot) => (K::Cycle, self.cycle(knot), knot.cycle[1..].to_vec()),
        };
        let nodes = std::iter::once(at as u32).chain(others);
        let nodes = nodes.map(|at| self.names.of(at as usize).into_owned());
        WiringError::new(kind, text, nodes.collect())
    }

    // === needs ===

    fn missing(&self, at: usize, need: &Need, looks: bool) -> String {
        let (what, help) = match &need.key {
            Key::Type(key) => {
                let what = match key.tag {
                    Some((_, tag)) => {
                        format!(
                            "nothing provides `{}` tagged `{}`",
                            key.name,
                            type_label(tag)
                        )
                    }
                    None => format!("nothing provides `{}`", key.name),
                };
                (what, self.help_with_type(key, looks))
            }
            Key::Name(name) => (
                format!("there is no node named `{}`", plain(name)),
                self.help_with_name(name, looks),
            ),
            Key::Id(_) => return self.foreign_handle(at),
        };
        format!("{what}\n  {}\n  help: {help}", self.need(at, need))
    }

    fn help_with_name(&self, name: &str, looks: bool) -> String {
        match looks.then(|| self.near_name(name)).flatten() {
            Some(near) => format!("did you mean {}?", self.place(near)),
            None => "names are those given by `named`, or the functions' own".to_owned(),
        }
    }

    /// Several providers of what one consumer wants one of.
    fn ambiguous(&self, at: usize, need: &Need, key: &TypeKey, several: &[u32]) -> String {
        let mut text = format!(
            "{} nodes provide what `{}` wants one of\n  {}",
            several.len(),
            self.name(at),
            self.need(at, need)
        );
        self.write_places(&mut text, several);
        let label = type_label(key.name);
        let component = |provider: &u32| &self.components[*provider as usize];
        let given = several.iter().find(|provider| component(provider).named);
        let name = given.map_or(Cow::Borrowed("name"), |provider| {
            self.name(*provider as usize)
        });
        let tag = several.first().and_then(|one| component(one).options().tag);
        let other = match tag.filter(|_| key.tag.is_none()) {
            Some((_, tag)) => format!("by its tag as in `Dep<{label}, {}>`", type_label(tag)),
            None => "tell them apart with `tagged`".to_owned(),
        };
        let _ = write!(
            text,
            "\n  help: choose with `.wire::<{label}>(\"{name}\")`, {other}, or take `All<{label}>`"
        );
        text
    }

    fn needs_optional(&self, at: usize, need: &Need, provider: u32) -> String {
        let name = self.name(at);
        let instead = match need.source {
            Source::NeedsCall => "come `after` it".to_owned(),
            _ => format!("take `Option<{}>`", self.wanted(need)),
        };
        format!(
            "`{name}` must start but needs `{}`, which may fail\n  {}\n  {} as optional\n  help: {instead}, or make `{name}` optional too",
            self.name(provider as usize),
            self.need(at, need),
            self.place(provider as usize),
        )
    }

    fn foreign_handle(&self, at: usize) -> String {
        format!(
            "a handle of another graph\n  {} is to begin after it\n  help: handles are valid in the graph that made them",
            self.place(at)
        )
    }

    // === choices ===

    fn wrong_wire(&self, at: usize, wire: &WireTo, named: u32) -> String {
        let (label, name) = (type_label(wire.wanted.1), plain(&wire.name));
        format!(
            "`{name}` does not provide `{label}`\n  {} is wired to it\n  {}{}",
            self.place(at),
            self.place(named as usize),
            self.help_with_wire(wire),
        )
    }

    fn missing_wire(&self, at: usize, wire: &WireTo, looks: bool) -> String {
        let (label, name) = (type_label(wire.wanted.1), plain(&wire.name));
        let near = match looks.then(|| self.near_name(&wire.name)).flatten() {
            Some(near) => format!("\n  help: did you mean {}?", self.place(near)),
            None => self.help_with_wire(wire),
        };
        format!(
            "there is no node named `{name}`\n  {} is wired to it for `{label}`{near}",
            self.place(at)
        )
    }

    /// Who does provide what was wired.
    fn help_with_wire(&self, wire: &WireTo) -> String {
        let label = type_label(wire.wanted.1);
        let offers = self.offers.of(wire.wanted.0).iter();
        let names = offers.map(|offer| self.name(offer.component as usize));
        match names.len() {
            0 => format!("\n  help: nothing provides `{label}`"),
            _ => format!("\n  help: `{label}` is provided by {}", quoted_list(names)),
        }
    }

    fn unused_wire(&self, at: usize, wire: &WireTo) -> String {
        let (label, place) = (type_label(wire.wanted.1), self.place(at));
        format!(
            "no parameter goes by `wire::<{label}>(\"{}\")`\n  {place}\n  help: `wire` chooses for `Dep<{label}>` and its like, not for tags and not for `All`; otherwise leave it out",
            plain(&wire.name)
        )
    }

    fn wrong_provide(&self, at: usize, provide: &Provide) -> String {
        let (from, to) = (type_label(provide.from.1), type_label(provide.to.1));
        let made = self.components[at].output.map(|(_, made)| type_label(made));
        let made = made.map_or_else(|| "no value".to_owned(), |made| format!("`{made}`"));
        let place = self.place(at);
        format!(
            "`provide` makes `{to}` of `{from}`, but the component makes {made}\n  {place}\n  help: the closure of `provide` takes the `Arc` of what the component returns"
        )
    }

    // === doubled ===

    fn empty_name(&self, at: usize) -> String {
        let place = self.place(at);
        format!(
            "a name is empty\n  {place}\n  help: give it one, or leave out `named` for the function's own"
        )
    }

    fn doubled_name(&self, first: usize, second: usize) -> String {
        let (name, first, second) = (self.name(first), self.place(first), self.place(second));
        format!(
            "two nodes are named `{name}`\n  {first}\n  {second}\n  help: rename one with `named`"
        )
    }

    fn doubled_type(&self, all: &[u32], provided: &str, tag: Option<&str>) -> String {
        let label = type_label(provided);
        let mut text = match all.len() {
            2 => "two".to_owned(),
            count => count.to_string(),
        };
        let _ = write!(text, " nodes provide `{provided}`");
        if let Some(tag) = tag {
            let _ = write!(text, " tagged `{}`", type_label(tag));
        }
        self.write_places(&mut text, all);
        let plain = label
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_')
            && label.starts_with(char::is_uppercase);
        let own = match plain {
            true => format!("such as `struct Second{label}({label});`"),
            false => "by a struct around it".to_owned(),
        };
        let _ = write!(
            text,
            "\n  help: give one of them a type of its own, {own}; or tell them apart with `named` and `wire`, or with `tagged`; or take `All<{label}>`"
        );
        text
    }

    // === limits ===

    fn zero_timeout(&self, at: usize, what: &str) -> String {
        let (name, place) = (self.name(at), self.place(at));
        format!(
            "the {what} of `{name}` is zero\n  {place}\n  help: leave out `{what}` for no limit of its own"
        )
    }

    fn no_attempt(&self, at: usize) -> String {
        let (name, place) = (self.name(at), self.place(at));
        format!(
            "the retry of `{name}` has no attempts\n  {place}\n  help: the first attempt counts as well: leave out `retry` for that one alone"
        )
    }

    // === parts ===

    fn write_places(&self, text: &mut String, several: &[u32]) {
        for provider in several.iter().take(PLACES_MAX) {
            let _ = write!(text, "\n  {}", self.place(*provider as usize));
        }
        if several.len() > PLACES_MAX {
            let _ = write!(text, "\n  ... {} more ...", several.len() - PLACES_MAX);
        }
    }

    /// Who needs what, and where that was said.
    pub(super) fn need(&self, at: usize, need: &Need) -> String {
        let (place, wanted) = (self.place(at), self.wanted(need));
        match need.source {
            Source::Parameter(number, None) => {
                format!("{place} takes `{wanted}` as parameter {number}")
            }
            Source::Parameter(number, Some(field)) => {
                format!("{place} takes `{wanted}` as `{field}` of parameter {number}")
            }
            Source::Condition(number) => {
                format!("the condition of {place} takes `{wanted}` as parameter {number}")
            }
            Source::AfterCall => format!("{place} is to begin after `{wanted}`"),
            Source::NeedsCall => format!("{place} needs `{wanted}`"),
        }
    }

    pub(super) fn wanted(&self, need: &Need) -> String {
        let key = match &need.key {
            Key::Name(name) => return plain(name).into_owned(),
            Key::Id(id) => return self.name(id.index as usize).into_owned(),
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

    /// The name of a component, fit for a text.
    pub(super) fn name(&self, at: usize) -> Cow<'_, str> {
        match self.names.of(at) {
            Cow::Borrowed(name) => plain(name),
            Cow::Owned(name) => plain(&name).into_owned().into(),
        }
    }

    /// The name of a component with where it is written and where it was added.
    pub(super) fn place(&self, at: usize) -> String {
        let component = &self.components[at];
        let added_at = component.added_at;
        let defined = component
            .options()
            .defined_at
            .map(|(file, line)| format!("{file}:{line}, "))
            .unwrap_or_default();
        format!(
            "`{}` ({defined}added at {}:{})",
            self.name(at),
            added_at.file(),
            added_at.line()
        )
    }
}

/// Errors that get a suggestion; each compares with many names.
const SUGGESTIONS_MAX: usize = 20;

/// Providers that one error lists.
const PLACES_MAX: usize = 8;
