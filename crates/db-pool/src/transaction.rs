//! What a transaction may ask for, and the bound that lets an async closure borrow the connection.

use std::future::Future;

/// How isolated a transaction is from others. SQLite is always serializable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isolation {
    /// Every statement sees what was committed before it began.
    ReadCommitted,
    /// All statements see one snapshot; writing what another transaction changed fails.
    RepeatableRead,
    /// As if transactions ran one after another; may fail with a serialization failure, then try again.
    Serializable,
}

/// What a transaction asks for; the default leaves everything to the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionOptions {
    /// PostgreSQL: the isolation level; `None` is the server's default, usually read committed.
    pub isolation: Option<Isolation>,
    /// Writing fails. SQLite then runs the transaction on a reader connection, beside the writer.
    pub read_only: bool,
    /// PostgreSQL, serializable and read-only only: wait for a moment at which the transaction cannot fail.
    pub deferrable: bool,
}

impl TransactionOptions {
    /// A transaction that only reads, from one snapshot.
    pub fn read_only() -> Self {
        Self {
            isolation: Some(Isolation::RepeatableRead),
            read_only: true,
            deferrable: false,
        }
    }

    /// A serializable transaction.
    pub fn serializable() -> Self {
        Self {
            isolation: Some(Isolation::Serializable),
            ..Self::default()
        }
    }
}

/// An async closure whose future can be named, and so be required to be `Send`; every fitting closure implements it.
pub trait AsyncFunc<T, R>:
    AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncFunc<T, R>>::Fut
{
    /// The future that the closure returns.
    type Fut: Future<Output = R>;
}

impl<F, T, Fut, R> AsyncFunc<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}
