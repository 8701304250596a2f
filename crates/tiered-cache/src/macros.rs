//! What the code that `#[cached]` writes needs besides the public API.

/// What the body of a cached function may return.
pub trait LoaderOutput {
    /// The type of the cached value.
    type Value;
}

impl<V, E> LoaderOutput for Result<Option<V>, E> {
    type Value = V;
}
