//! What statements tell about themselves: times, slow ones, repeated ones, and what they write.

mod recorder;

pub(crate) use self::recorder::{Recorder, Returned, Tap};
