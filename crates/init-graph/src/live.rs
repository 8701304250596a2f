//! The parameter that follows its component through restarts.

use std::fmt;

use crate::dep::Dep;
use crate::param::{Fetch, Kind, Needs, Param, sealed};

/// The current value of a component that may be restarted without its dependents; a cheap clone.
pub struct Live<T: ?Sized, Tag = ()>(Dep<T, Tag>);

impl<T: ?Sized, Tag> Live<T, Tag> {
    /// The current value.
    pub fn load(&self) -> Dep<T, Tag> {
        self.0.clone()
    }
}

impl<T: ?Sized, Tag> Clone for Live<T, Tag> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized, Tag> fmt::Debug for Live<T, Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live<{}>", std::any::type_name::<T>())
    }
}

impl<T: ?Sized, Tag> sealed::Sealed for Live<T, Tag> {}
impl<T: ?Sized + Send + Sync + 'static, Tag: 'static> Param for Live<T, Tag> {
    fn declare(needs: &mut Needs) {
        needs.push::<T, Tag>(Kind::Live, true);
    }

    fn fetch(fetch: &mut Fetch<'_>) -> Self {
        Self(Dep::fetch(fetch))
    }
}
