//! What statements tell about themselves: times, slow ones, repeated ones, and what they write.

mod recorder;
#[cfg(not(feature = "query-cache"))]
mod unfollowed;

pub(crate) use self::recorder::{Recorder, Returned, Tap};
