//! A statement made once more, because its plan was stale: from its values, and from the text that it failed with.

use std::cell::{Cell, RefCell};

use diesel::QueryResult;
use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{AstPass, CollectedQuery, Query, QueryFragment, QueryId};
use diesel_async::AsyncPgConnection;
use futures_core::future::BoxFuture;

/// A statement of unknown type: its text and its values.
pub(super) type Anew = CollectedQuery<Binds>;
type Binds = RawBytesBindCollector<Pg>;
/// Sends such a statement.
type Send<'conn, R> = fn(&'conn AsyncPgConnection, Anew) -> BoxFuture<'conn, QueryResult<R>>;

/// What it takes to send a statement once more.
pub(super) enum Again<'conn, R> {
    /// Its values; the text comes with the failure, as almost no statement needs it.
    Values {
        inner: &'conn AsyncPgConnection,
        binds: Binds,
        send: Send<'conn, R>,
        left: u8,
    },
    /// The statement itself, for values whose types only the driver can number.
    Made(Option<BoxFuture<'conn, QueryResult<R>>>),
}

impl<'conn, R> Again<'conn, R> {
    /// Keeps the values of `query`, which `send` sends.
    pub(super) fn new<Q>(inner: &'conn AsyncPgConnection, query: &Q, send: Send<'conn, R>) -> Self
    where
        Q: QueryFragment<Pg>,
    {
        let mut binds = Binds::new();
        let mut types = UnknownTypes::default();
        // What fails here fails for the driver as well.
        let collected = query.collect_binds(&mut binds, &mut types, &Pg);
        if types.met || collected.is_err() {
            return Self::Made(None);
        }
        Self::Values {
            inner,
            binds,
            send,
            left: ATTEMPTS,
        }
    }

    /// With `make`, which makes the statement now, for values that could not be kept.
    pub(super) fn or_made(self, make: impl FnOnce() -> BoxFuture<'conn, QueryResult<R>>) -> Self {
        match self {
            Self::Made(None) => Self::Made(Some(in_reserve(make))),
            values => values,
        }
    }

    /// The statement, planned for itself alone; `text` is what the one before was refused with.
    pub(super) fn make(
        &mut self,
        text: Option<String>,
    ) -> Option<BoxFuture<'conn, QueryResult<R>>> {
        match self {
            Self::Made(made) => made.take(),
            Self::Values {
                inner,
                binds,
                send,
                left,
            } => {
                // Without a text there is nothing to send: the last attempt.
                *left = text.as_ref().map_or(0, |_| left.saturating_sub(1));
                let binds = diesel::query_builder::MoveableBindCollector::moveable(binds);
                let anew = CollectedQuery::new(text?, false, binds);
                Some(in_reserve(|| send(inner, anew)))
            }
        }
    }

    pub(super) fn is_used_up(&self) -> bool {
        match self {
            Self::Values { left, .. } => *left == 0,
            Self::Made(made) => made.is_none(),
        }
    }
}

/// Numbers no type, and remembers whether one had to be looked up in the database.
#[derive(Default)]
pub(crate) struct UnknownTypes {
    met: bool,
}

impl PgMetadataLookup for UnknownTypes {
    fn lookup_type(&mut self, _: &str, _: Option<&str>) -> PgTypeMetadata {
        self.met = true;
        PgTypeMetadata::new(0, 0)
    }
}

/// Makes a statement that may never be sent, or of whose beginning has been told, so that nobody is told of it.
fn in_reserve<R>(make: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_RESERVE.set(false);
        }
    }
    IN_RESERVE.set(true);
    let _reset = Reset;
    make()
}

/// Whether this thread is making a statement that nobody is to be told of.
pub(super) fn is_in_reserve() -> bool {
    IN_RESERVE.get()
}

/// Keeps the text of a statement that was just refused, until [`take_refused`] on the same thread: the driver tells of
/// its end right before it returns the error.
pub(super) fn refused(text: String) {
    REFUSED.set(Some(text));
}

pub(super) fn take_refused() -> Option<String> {
    REFUSED.take()
}

thread_local! {
    static IN_RESERVE: Cell<bool> = const { Cell::new(false) };
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A query that is prepared for itself alone, whatever the cache of statements holds.
pub(super) struct Uncached<'a, Q>(pub(super) &'a Q);

impl<Q: Query> Query for Uncached<'_, Q> {
    type SqlType = Q::SqlType;
}

impl<Q> QueryId for Uncached<'_, Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Uncached<'_, Q> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.unsafe_to_cache_prepared();
        self.0.walk_ast(pass.reborrow())
    }
}

/// The schema may change again between planning a statement anew and running it.
const ATTEMPTS: u8 = 4;
