//! The queries on tasks.

use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Store,
    error::{StoreError, UpdateError},
    row_limit,
    schema::tasks,
    types::{Id, Moment},
    update::Versioned,
};
use crate::domain::{Task, TaskFilter, TaskKey};

/// The tasks of a filter in the order of the listing, for the database at hand.
macro_rules! listing {
    ($filter:expr) => {{
        let mut query = tasks::table.select(TaskRow::as_select()).into_boxed();
        if let Some(status) = $filter.status {
            query = query.filter(tasks::status.eq(status.as_str()));
        }
        if let Some(agent) = &$filter.assigned_agent_id {
            query = query.filter(tasks::assigned_agent_id.eq(agent));
        }
        if let Some(priority) = $filter.min_priority {
            query = query.filter(tasks::priority.ge(priority));
        }
        query.order((
            tasks::priority.desc(),
            tasks::created_at.asc(),
            tasks::id.asc(),
        ))
    }};
}

/// Of those, the ones behind a place that have its priority.
macro_rules! behind {
    ($filter:expr, $key:expr) => {{
        let (created_at, id) = (Moment($key.created_at), Id($key.id));
        listing!($filter)
            .filter(tasks::priority.eq($key.priority))
            .filter(tasks::created_at.ge(created_at))
            .filter(tasks::created_at.gt(created_at).or(tasks::id.gt(id)))
    }};
}

impl Store {
    /// Stores a new task.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its identifier is taken.
    pub async fn insert_task(&self, task: &Task) -> Result<(), StoreError> {
        task.check()?;
        let row = TaskRow::from(task);
        write_on!(self, |conn| diesel::insert_into(tasks::table)
            .values(&row)
            .execute(conn)
            .await?);
        Ok(())
    }

    /// The task with this identifier.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn task(&self, id: Uuid) -> Result<Option<Task>, StoreError> {
        let row: Option<TaskRow> = read!(self, |conn| {
            let query = tasks::table.find(Id(id)).select(TaskRow::as_select());
            query.first(conn).await.optional()?
        });
        row.map(Task::try_from).transpose()
    }

    /// The tasks that `filter` lets through, most urgent first, then oldest first; at most `limit` and
    /// [`LIST_ROWS_MAX`](super::LIST_ROWS_MAX). With `after`, only those behind that place; without it they may come
    /// from the query cache, see [`cache_listings`](Self::cache_listings).
    ///
    /// # Errors
    /// [`StoreError::InvalidText`] for a filter that contains U+0000.
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<&TaskKey>,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError> {
        super::no_nul(
            "assigned_agent_id",
            filter.assigned_agent_id.as_deref().unwrap_or_default(),
        )?;
        let limit = row_limit(limit);
        if let (None, Some(ttl)) = (after, self.listings_ttl.get()) {
            let rows: Arc<Vec<TaskRow>> = cached!(self, *ttl, listing!(filter).limit(limit));
            return rows.iter().cloned().map(Task::try_from).collect();
        }
        let rows: Vec<TaskRow> = read!(self, |conn| match after {
            None => listing!(filter).limit(limit).load(conn).await?,
            // Behind a place lies the rest of its priority, then every lower one. As two queries
            // each is one range of an index; as one condition the database would walk all earlier
            // rows of that priority again for each page.
            Some(key) => {
                let mut rows: Vec<TaskRow> = behind!(filter, key).limit(limit).load(conn).await?;
                let missing = limit - i64::try_from(rows.len()).unwrap_or(limit);
                if missing > 0 {
                    let lower = listing!(filter).filter(tasks::priority.lt(key.priority));
                    let lower: Vec<TaskRow> = lower.limit(missing).load(conn).await?;
                    // A task whose priority sinks between the two queries is shown twice, as it
                    // would be between two pages.
                    rows.extend(lower);
                }
                rows
            }
        });
        rows.into_iter().map(Task::try_from).collect()
    }

    /// Changes a task and returns it as stored; nothing is written when `change` leaves it as it is.
    ///
    /// `change` gets a copy of the stored task and may be called again when somebody else was faster.
    /// Identifier, creation time and version are the store's: what `change` does to them is ignored.
    ///
    /// # Errors
    /// See [`UpdateError`]. [`UpdateError::VersionMismatch`] only when `expected_version` is given.
    pub async fn update_task<E: Send>(
        &self,
        id: Uuid,
        expected_version: Option<i64>,
        mut change: impl FnMut(&mut Task) -> Result<(), E> + Send,
    ) -> Result<Task, UpdateError<E>> {
        update_row!(self, tasks, TaskRow, Task, id, expected_version, change);
    }

    /// Deletes a task.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`], and [`UpdateError::VersionMismatch`] when `expected_version` is given.
    pub async fn delete_task(
        &self,
        id: Uuid,
        expected_version: Option<i64>,
    ) -> Result<(), UpdateError> {
        delete_row!(self, tasks, id, expected_version);
    }

    /// How many tasks there are. Reads the whole table or an index of it: not for requests.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn task_count(&self) -> Result<u64, StoreError> {
        let count: i64 = read!(self, |conn| tasks::table.count().get_result(conn).await?);
        Ok(count.unsigned_abs())
    }
}

#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset, Serialize, Deserialize)]
#[diesel(table_name = tasks, treat_none_as_null = true)]
pub(super) struct TaskRow {
    id: Id,
    title: String,
    description: Option<String>,
    assigned_agent_id: Option<String>,
    priority: i16,
    status: String,
    created_at: Moment,
    updated_at: Moment,
    completed_at: Option<Moment>,
    version: i64,
}

impl From<&Task> for TaskRow {
    fn from(task: &Task) -> Self {
        Self {
            id: Id(task.id),
            title: task.title.clone(),
            description: task.description.clone(),
            assigned_agent_id: task.assigned_agent_id.clone(),
            priority: task.priority,
            status: task.status.as_str().to_owned(),
            created_at: Moment(task.created_at),
            updated_at: Moment(task.updated_at),
            completed_at: task.completed_at.map(Moment),
            version: task.version,
        }
    }
}

impl TryFrom<TaskRow> for Task {
    type Error = StoreError;

    fn try_from(row: TaskRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.0,
            title: row.title,
            description: row.description,
            assigned_agent_id: row.assigned_agent_id,
            priority: row.priority,
            status: row.status.parse().map_err(StoreError::corrupt)?,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            completed_at: row.completed_at.map(|at| at.0),
            version: row.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::TaskStatus, store::explain::explain};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_listing_uses_an_index() {
        let all = TaskFilter::default();
        let urgent = TaskFilter {
            min_priority: Some(7),
            ..all.clone()
        };
        let done = TaskFilter {
            status: Some(TaskStatus::Done),
            ..all.clone()
        };
        let of_agent = TaskFilter {
            assigned_agent_id: Some("ann".to_owned()),
            ..all.clone()
        };
        for (filter, index) in [
            (&all, "SCAN tasks USING INDEX tasks_by_priority"),
            (
                &urgent,
                "SEARCH tasks USING INDEX tasks_by_priority (priority>?)",
            ),
            (&done, "SEARCH tasks USING INDEX tasks_by_status (status=?)"),
            (&of_agent, "SEARCH tasks USING INDEX tasks_by_agent"),
        ] {
            let plan = explain(listing!(filter).limit(20)).await;
            assert!(plan.starts_with(index), "{filter:?}: {plan}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_page_far_behind_starts_at_its_place_in_the_index() {
        let place = TaskKey {
            priority: 5,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            id: Uuid::nil(),
        };
        for (status, index) in [
            (
                None,
                "SEARCH tasks USING INDEX tasks_by_priority (priority=? AND created_at>?)",
            ),
            (
                Some(TaskStatus::Done),
                "SEARCH tasks USING INDEX tasks_by_status (status=? AND priority=? AND created_at>?)",
            ),
        ] {
            let filter = TaskFilter {
                status,
                ..TaskFilter::default()
            };
            let plan = explain(behind!(filter, place).limit(20)).await;
            assert!(plan.starts_with(index), "{plan}");
        }
    }
}
