//! A lane that many tasks share: which line a statement takes, and in which turn.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::AsyncConnectionCore;
use tokio::time::Instant;

use super::board::Want;
use super::desk::Place;
use super::lanes::{Lanes, Set};
use super::reading::{Reading, Statement, Turn};
use super::worded::Worded;
use crate::backend::Backend;

/// What a `Lane` holds where lines are shared.
pub(crate) struct SharedLane<B: Backend> {
    lanes: Arc<Lanes<B>>,
    /// Statements borrow from it, so it stays as it is while one runs.
    set: Arc<Set<B>>,
    /// For the first statement; later ones take places of their own, so that an idle handle holds none.
    place: Mutex<Option<Place>>,
}

type Db<B> = <<B as Backend>::Connection as AsyncConnectionCore>::Backend;

impl<B: Backend> SharedLane<B> {
    pub(super) fn new(lanes: Arc<Lanes<B>>, set: Arc<Set<B>>, place: Place) -> Self {
        let place = Mutex::new(Some(place));
        Self { lanes, set, place }
    }

    /// Learns of lines that were opened since.
    pub(super) fn refresh(&mut self) {
        let place = self.place.get_mut().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            self.lanes.tend(Instant::now());
            self.set = self.lanes.current();
        }
    }

    /// Sends one statement when it is its turn; which line it takes is decided here.
    pub(super) fn read<'conn, 'query, T>(&'conn self, query: T) -> Reading<'conn, B>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Db<B>> + QueryId + 'query,
    {
        let query = query.as_query();
        let text = || B::to_sql(&query);
        let known = match self.lanes.learned.know(T::Query::query_id(), text) {
            Ok(known) => known,
            Err(error) => return Reading::refused(error),
        };
        if let Some(why) = known.refusal {
            return Reading::refused(super::refused(why));
        }
        let Some((id, turn)) = self.turn(known.is_slow(self.lanes.slow())) else {
            return Reading::refused(lost());
        };
        let Some(line) = self.set.line(id) else {
            return Reading::refused(lost());
        };
        let query = Worded::new(query, Arc::clone(&known.sql));
        let answer = B::read(line.connection(), query, false);
        Reading::shared(Statement::new(line, answer, known, turn))
    }

    fn turn(&self, slow: bool) -> Option<(u64, Turn)> {
        let slow = slow && self.lanes.separates();
        let place = self
            .place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match place {
            Some(place) if !slow => return Some((place.line(), Turn::Ready(place))),
            // Given back outside of the locks.
            place => drop(place),
        }
        let desk = &self.lanes.desk;
        let id = desk.look(|board| board.choose(slow, |id| self.set.line(id).is_some()))?;
        let want = Want::Line { id, slow };
        let turn = match desk.take(want) {
            Some(place) => Turn::Ready(place),
            None => Turn::Queueing(Box::pin(
                Arc::clone(&self.lanes).queue(want, Instant::now()),
            )),
        };
        Some((id, turn))
    }
}

/// All lines that the handle knows are gone, and none has come yet.
fn lost() -> Error {
    let text = "the lane is gone; take another by `Pool::read`";
    Error::DatabaseError(
        DatabaseErrorKind::ClosedConnection,
        Box::new(text.to_owned()),
    )
}
