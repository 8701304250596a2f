//! What somebody may have meant: names that are a slip away, wrapped types, tags and views.

use std::borrow::Borrow;
use std::iter::once;

use super::diagnose::Diagnose;
use super::names::type_label;
use crate::param::TypeKey;

impl Diagnose<'_, '_> {
    /// A way out for a type that nothing provides in the form asked for.
    pub(super) fn help_with_type(&self, key: &TypeKey, looks: bool) -> String {
        let label = type_label(key.name);
        if !looks {
            return format!("add a component that returns `{label}`, or a value of it");
        }
        if let Some((_, tag)) = key.tag
            && let Some(help) = self.help_with_tag(key, &type_label(tag))
        {
            return help;
        }
        let types = || {
            let all = self.components.iter().take(LOOKS_MAX).enumerate();
            let typed = all.filter_map(|(at, component)| {
                let views = component.options().provides.iter().map(|view| view.to.1);
                Some((at, once(component.output?.1).chain(views.take(LIST_MAX))))
            });
            let typed = typed.flat_map(|(at, types)| types.map(move |full| (at, full)));
            typed.map(|(at, full)| (at, full, type_label(full)))
        };
        let bare = unwrapped(&label);
        if bare != label
            && let Some((at, _, _)) = types().find(|(_, _, other)| other == bare)
        {
            return format!(
                "take `Dep<{bare}>`, which is shared already, provided by {}",
                self.place(at)
            );
        }
        if let Some(object) = bare.strip_prefix("dyn ") {
            let take = match bare == label {
                true => String::new(),
                false => format!("take `Dep<{bare}>`, which is shared already; "),
            };
            let maker = types().find(|(_, _, other)| other.contains(object));
            return match maker {
                Some((at, _, other)) => format!(
                    "{take}if `{other}` is one, hand it out as such: `.provide(|it: Arc<{other}>| it as Arc<{bare}>)` at {}",
                    self.place(at)
                ),
                None => format!(
                    "{take}a trait object comes from `.provide(|it: Arc<Type>| it as Arc<{bare}>)` at a component, or from `value_arc`"
                ),
            };
        }
        let near =
            types().map(|(at, full, other)| (distance(bare, unwrapped(&other)), at, full, other));
        match near.min().filter(|(far, ..)| *far <= DISTANCE_MAX) {
            Some((0, at, _, other)) if other != label && unwrapped(&other) == label => format!(
                "`{other}` is provided by {}; make it `{label}`, which `Dep` shares already, and add a value in an `Arc` by `value_arc`",
                self.place(at)
            ),
            Some((_, at, full, other)) => {
                // Types of the same name from different modules are told apart only by their paths.
                let shown = if other == label { full } else { &*other };
                format!("did you mean `{shown}`, provided by {}?", self.place(at))
            }
            None => format!("add a component that returns `{label}`, or a value of it"),
        }
    }

    fn help_with_tag(&self, key: &TypeKey, tag: &str) -> Option<String> {
        let label = type_label(key.name);
        let offers = self.offers.of(key.id);
        let options = |at: u32| self.components[at as usize].options();
        let mut tags = Vec::new();
        for (_, tag) in offers
            .iter()
            .filter_map(|offer| options(offer.component).tag)
        {
            // A few are enough to see that it is another one.
            if tags.len() < LIST_MAX && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        if !tags.is_empty() {
            let tags = tags.iter();
            let tags = tags.map(|tag| format!("Dep<{label}, {}>", type_label(tag)));
            return Some(format!("there is {}", quoted_list(tags)));
        }
        let untagged = self.place(offers.first()?.component as usize);
        Some(format!(
            "`{label}` without a tag is provided by {untagged}; add `.tagged::<{tag}>()` there"
        ))
    }

    /// The component whose name looks most like this one.
    pub(super) fn near_name(&self, wanted: &str) -> Option<usize> {
        let count = self.components.len().min(LOOKS_MAX);
        nearest(wanted, (0..count).map(|at| self.names.of(at)))
    }
}

/// The position of the name that is a slip away from `wanted`.
pub(super) fn nearest<S: Borrow<str>>(
    wanted: &str,
    names: impl Iterator<Item = S>,
) -> Option<usize> {
    let near = names.enumerate();
    let near = near.map(|(at, name)| (distance(wanted, name.borrow()), at));
    near.min()
        .filter(|(far, _)| *far <= DISTANCE_MAX)
        .map(|(_, at)| at)
}

/// "`a`, `b` and `c`"; a long list is cut.
pub(super) fn quoted_list<S: Borrow<str>>(names: impl ExactSizeIterator<Item = S>) -> String {
    let mut list = String::new();
    let count = names.len();
    let shown = if count > LIST_MAX {
        LIST_MAX - 1
    } else {
        count
    };
    for (position, name) in names.take(shown).enumerate() {
        list.push_str(match position {
            0 => "",
            _ if position + 1 == count => " and ",
            _ => ", ",
        });
        list.push_str(&format!("`{}`", name.borrow()));
    }
    if count > shown {
        list.push_str(&format!(" and {} more", count - shown));
    }
    list
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

/// How many letters differ (Levenshtein), without regard to case; far too many for words of very different length, and
/// for words that nobody types.
fn distance(a: &str, b: &str) -> usize {
    if a == b {
        return 0;
    }
    let (letters, others) = (a.chars().count(), b.chars().count());
    if letters.abs_diff(others) > DISTANCE_MAX || letters.max(others) > WORD_MAX {
        return usize::MAX;
    }
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<_> = b.chars().collect();
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

/// Letters by which a suggestion may differ.
const DISTANCE_MAX: usize = 2;

/// Letters of a word that is compared letter by letter, which takes the square of that.
const WORD_MAX: usize = 100;

/// Components that a suggestion is looked for among.
const LOOKS_MAX: usize = 5_000;

/// Names that are listed.
const LIST_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_by_a_slip_are_near() {
        assert_eq!(distance("Database", "database"), 0);
        assert_eq!(distance("databse", "database"), 1);
        assert_eq!(distance("cache", "queue"), usize::MAX);
        assert_eq!(distance("a", "b"), usize::MAX);
        assert_eq!(distance("", ""), 0);
    }

    #[test]
    fn wrappers_do_not_count() {
        assert_eq!(unwrapped("Arc<Database>"), "Database");
        assert_eq!(unwrapped("Box<Arc<Database>>"), "Database");
        assert_eq!(unwrapped("Vec<Database>"), "Vec<Database>");
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(quoted_list(["a"].into_iter()), "`a`");
        assert_eq!(quoted_list(["a", "b", "c"].into_iter()), "`a`, `b` and `c`");
        let many: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(
            quoted_list(many.iter().map(String::as_str)),
            "`0`, `1`, `2`, `3`, `4`, `5`, `6` and 13 more"
        );
    }
}
