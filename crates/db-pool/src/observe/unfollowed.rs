//! Stands in for the part of the query cache that follows statements, where the cache is not built in.

use diesel::connection::InstrumentationEvent;

use super::Returned;
use crate::shared::Shared;

pub(crate) struct Writes;

impl Writes {
    pub(crate) fn of(_: &Shared) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the same call as on the real one")]
    pub(crate) fn event(&self, _: &InstrumentationEvent<'_>) {}

    #[expect(clippy::unused_self, reason = "the same call as on the real one")]
    pub(crate) fn returned(&self, _: Returned) {}

    #[cfg(feature = "sqlite")]
    #[expect(clippy::unused_self, reason = "the same call as on the real one")]
    pub(crate) fn unseen(&self) {}

    #[expect(clippy::unused_self, reason = "the same call as on the real one")]
    pub(crate) fn reads_only(&self) {}
}
