//! The parameter that collects: every value of one type.

use std::fmt;
use std::ops::Deref;

use crate::dep::Dep;

/// Every value of type `T`, whoever made it, named, tagged or neither, in the order of adding; those whose components
/// fell away are left out, and none at all is fine.
///
/// As a parameter it is a dependency on each of their components; one that makes a `T` itself gets those of the others.
/// It dereferences to a slice.
///
/// ```
/// use init_graph::{All, Graph, Result};
///
/// struct Check(&'static str);
///
/// async fn health(checks: All<Check>) -> Result<usize> {
///     Ok(checks.iter().filter(|check| !check.0.is_empty()).count())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let mut graph = Graph::new();
/// graph.value(Check("disk"));
/// graph.value(Check("memory"));
/// graph.add(health);
/// let running = graph.start().await?;
/// assert_eq!(running.get::<usize>().map(|count| *count), Some(2));
/// # running.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct All<T: ?Sized>(Box<[Dep<T>]>);

impl<T: ?Sized> All<T> {
    pub(crate) fn new(values: Vec<Dep<T>>) -> Self {
        Self(values.into())
    }
}

impl<T> FromIterator<T> for All<T> {
    /// Wraps values, so that a test can call an initialiser by hand.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().map(Dep::from).collect())
    }
}

impl<T: ?Sized> Deref for All<T> {
    type Target = [Dep<T>];

    fn deref(&self) -> &[Dep<T>] {
        &self.0
    }
}

impl<T: ?Sized> IntoIterator for All<T> {
    type Item = Dep<T>;
    type IntoIter = std::vec::IntoIter<Dep<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a, T: ?Sized> IntoIterator for &'a All<T> {
    type Item = &'a Dep<T>;
    type IntoIter = std::slice::Iter<'a, Dep<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: ?Sized> Clone for All<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for All<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}
