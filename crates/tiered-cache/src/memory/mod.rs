//! The memory tier.

mod entry;

pub(crate) use entry::{Entry, Meta, Slot, Times};
