//! Field checks shared by tasks and records; every broken rule is reported, not only the first.

use std::fmt;

/// One rule that a value breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The offending field as a JSON pointer, for example `/title` or `/tags/3`.
    pub pointer: String,
    /// The rule's fixed name: `too_short`, `too_long`, `too_many`, `out_of_range` or `nul`.
    pub rule: &'static str,
    /// What is wrong and what is allowed, for a person.
    pub message: String,
}

/// A value that breaks at least one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    violations: Vec<Violation>,
}

impl Invalid {
    /// The broken rules, in the order of the fields; never empty.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            write!(f, "{gap}{} {}", violation.pointer, violation.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Collects the broken rules of one value.
#[derive(Debug, Default)]
pub(super) struct Check {
    violations: Vec<Violation>,
}

impl Check {
    /// A text of `min..=max` characters without NUL, which PostgreSQL cannot store.
    pub(super) fn chars(&mut self, pointer: &str, text: &str, min: usize, max: usize) {
        let count = text.chars().count();
        if count < min {
            self.break_rule(
                pointer,
                "too_short",
                format!("needs at least {min} character(s)"),
            );
        } else if count > max {
            let message = format!("has {count} characters, the limit is {max}");
            self.break_rule(pointer, "too_long", message);
        }
        self.no_nul(pointer, text);
    }

    /// A text of at most `max` bytes without NUL.
    pub(super) fn bytes(&mut self, pointer: &str, text: &str, max: usize) {
        if text.len() > max {
            let message = format!("has {} bytes, the limit is {max}", text.len());
            self.break_rule(pointer, "too_long", message);
        }
        self.no_nul(pointer, text);
    }

    /// A list of at most `max` entries.
    pub(super) fn count(&mut self, pointer: &str, count: usize, max: usize) {
        if count > max {
            let message = format!("has {count} entries, the limit is {max}");
            self.break_rule(pointer, "too_many", message);
        }
    }

    /// A number in `min..=max`.
    pub(super) fn range(&mut self, pointer: &str, value: i16, min: i16, max: i16) {
        if !(min..=max).contains(&value) {
            let message = format!("is {value}, must lie between {min} and {max}");
            self.break_rule(pointer, "out_of_range", message);
        }
    }

    /// Ends the check.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Invalid {
                violations: self.violations,
            })
        }
    }

    fn no_nul(&mut self, pointer: &str, text: &str) {
        if text.contains('\0') {
            let message = "contains the character U+0000, which cannot be stored".to_owned();
            self.break_rule(pointer, "nul", message);
        }
    }

    fn break_rule(&mut self, pointer: &str, rule: &'static str, message: String) {
        self.violations.push(Violation {
            pointer: pointer.to_owned(),
            rule,
            message,
        });
    }
}
