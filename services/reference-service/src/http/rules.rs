//! Query parameters with bounds: a number in a range, a text of some length.
//!
//! Bodies are checked by the domain; parameters have no type of their own there.

use serde::{Deserialize, Deserializer, de::Error};

/// A whole number in `MIN..=MAX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded<const MIN: i16, const MAX: i16>(pub(super) i16);

/// A text of 1 to `MAX` characters without NUL.
#[derive(Clone, Debug)]
pub(super) struct Words<const MAX: usize>(pub(super) String);

impl<const MIN: i16, const MAX: i16> Bounded<MIN, MAX> {
    /// The number as a count; never negative where `MIN` is not.
    pub(super) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or_default()
    }
}

impl<'de, const MIN: i16, const MAX: i16> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i16::deserialize(deserializer) {
            Ok(value) if (MIN..=MAX).contains(&value) => Ok(Self(value)),
            _ => Err(D::Error::custom(format!(
                "must be a whole number from {MIN} to {MAX}"
            ))),
        }
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Words<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('\0') {
            return Err(D::Error::custom("must not contain the character U+0000"));
        }
        match text.chars().count() {
            1.. if text.chars().count() <= MAX => Ok(Self(text)),
            _ => Err(D::Error::custom(format!("must have 1 to {MAX} characters"))),
        }
    }
}
