//! What a failure of one component means for the others.

/// What a start does when a component fails that is not optional; set by [`Graph::policy`](crate::Graph::policy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Gives up at once: nothing begins any more, what runs is dropped, what has started is stopped in reverse.
    #[default]
    FailFast,
    /// Lets what runs end by itself, begins nothing new, and then stops what has started in reverse.
    Drain,
    /// Starts everything that does not stand behind a failure; [`Graph::start`](crate::Graph::start) succeeds and
    /// [`failures`](crate::Handle::failures) tells what is missing.
    KeepGoing,
}
