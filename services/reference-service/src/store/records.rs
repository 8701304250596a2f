//! The queries on records.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store,
    error::{StoreError, UpdateError},
    row_limit,
    schema::{record_tags, records},
    search::ContainsWords,
    types::{Id, Moment},
    update::Versioned,
};
use crate::domain::{Record, RecordFilter, RecordKey};

/// The records of a filter, without its tag, for the database at hand.
macro_rules! restricted {
    ($source:expr, $filter:expr, $words:expr) => {{
        let mut query = $source.select(RecordRow::as_select()).into_boxed();
        if let Some(importance) = $filter.min_importance {
            query = query.filter(records::importance.ge(importance));
        }
        if let Some(words) = &$words {
            query = query.filter(words.clone());
        }
        query
    }};
}

impl Store {
    /// Stores a new record.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its identifier is taken.
    pub async fn insert_record(&self, record: &Record) -> Result<(), StoreError> {
        record.check()?;
        let row = RecordRow::from(record);
        write_on!(self, |conn| diesel::insert_into(records::table)
            .values(&row)
            .execute(conn)
            .await?);
        Ok(())
    }

    /// The record with this identifier; never an older one, so that a cache may keep it.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn record(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        let row: Option<RecordRow> = read_newest!(self, |conn| {
            let query = records::table.find(Id(id)).select(RecordRow::as_select());
            query.first(conn).await.optional()?
        });
        row.map(Record::try_from).transpose()
    }

    /// The records that `filter` lets through, newest first; at most `limit` and
    /// [`LIST_ROWS_MAX`](super::LIST_ROWS_MAX). With `after`, only those behind that place.
    ///
    /// A search text without any letter or digit finds nothing. Words are compared without regard to
    /// case; accents count. A search looks for the first 64 different words.
    ///
    /// # Errors
    /// [`StoreError::InvalidText`] for a tag that contains U+0000.
    pub async fn records(
        &self,
        filter: &RecordFilter,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        super::no_nul("tag", filter.tag.as_deref().unwrap_or_default())?;
        let words = filter.query.as_deref().map(ContainsWords::parse);
        if matches!(words, Some(None)) {
            return Ok(Vec::new());
        }
        let (words, limit) = (words.flatten(), row_limit(limit));
        let rows: Vec<RecordRow> = read!(self, |conn| match &filter.tag {
            None => {
                let mut query = restricted!(records::table, filter, words);
                if let Some(RecordKey(id)) = after {
                    query = query.filter(records::id.lt(Id(*id)));
                }
                query
                    .order(records::id.desc())
                    .limit(limit)
                    .load(conn)
                    .await?
            }
            // The tag table is in the order of the listing already: tag first, then identifier.
            Some(tag) => {
                let tagged = record_tags::table.inner_join(records::table);
                let words = words.map(ContainsWords::probing);
                let mut query = restricted!(tagged, filter, words).filter(record_tags::tag.eq(tag));
                if let Some(RecordKey(id)) = after {
                    query = query.filter(record_tags::record_id.lt(Id(*id)));
                }
                query
                    .order(record_tags::record_id.desc())
                    .limit(limit)
                    .load(conn)
                    .await?
            }
        });
        rows.into_iter().map(Record::try_from).collect()
    }

    /// Changes a record and returns it as stored; nothing is written when `change` leaves it as it is.
    ///
    /// `change` gets a copy of the stored record and may be called again when somebody else was
    /// faster. Identifier, creation time and version are the store's: what `change` does to them is
    /// ignored.
    ///
    /// # Errors
    /// See [`UpdateError`]. [`UpdateError::VersionMismatch`] only when `expected_version` is given.
    pub async fn update_record<E: Send>(
        &self,
        id: Uuid,
        expected_version: Option<i64>,
        mut change: impl FnMut(&mut Record) -> Result<(), E> + Send,
    ) -> Result<Record, UpdateError<E>> {
        update_row!(
            self,
            records,
            RecordRow,
            Record,
            id,
            expected_version,
            change
        );
    }

    /// Deletes a record.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`], and [`UpdateError::VersionMismatch`] when `expected_version` is given.
    pub async fn delete_record(
        &self,
        id: Uuid,
        expected_version: Option<i64>,
    ) -> Result<(), UpdateError> {
        delete_row!(self, records, id, expected_version);
    }

    /// How many records there are. Reads the whole table or an index of it: not for requests.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn record_count(&self) -> Result<u64, StoreError> {
        let count: i64 = read!(self, |conn| records::table.count().get_result(conn).await?);
        Ok(count.unsigned_abs())
    }
}

#[derive(Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = records)]
pub(super) struct RecordRow {
    pub(super) id: Id,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) tags: String,
    pub(super) importance: i16,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
    pub(super) version: i64,
}

impl From<&Record> for RecordRow {
    fn from(record: &Record) -> Self {
        Self {
            id: Id(record.id),
            title: record.title.clone(),
            text: record.text.clone(),
            tags: serde_json::Value::from(record.tags.as_slice()).to_string(),
            importance: record.importance,
            created_at: Moment(record.created_at),
            updated_at: Moment(record.updated_at),
            version: record.version,
        }
    }
}

impl TryFrom<RecordRow> for Record {
    type Error = StoreError;

    fn try_from(row: RecordRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.0,
            title: row.title,
            text: row.text,
            tags: serde_json::from_str(&row.tags).map_err(StoreError::corrupt)?,
            importance: row.importance,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            version: row.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::explain::explain;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_listing_uses_an_index() {
        let filter = RecordFilter::default();
        let words: Option<ContainsWords> = None;
        let all = restricted!(records::table, filter, words).order(records::id.desc());
        let plan = explain(all.limit(20)).await;
        assert_eq!(plan, "SCAN records USING INDEX sqlite_autoindex_records_1");

        let tagged = restricted!(record_tags::table.inner_join(records::table), filter, words)
            .filter(record_tags::tag.eq("a"))
            .filter(record_tags::record_id.lt(Id(Uuid::nil())));
        let plan = explain(tagged.order(record_tags::record_id.desc()).limit(20)).await;
        let by_key = "SEARCH record_tags USING PRIMARY KEY (tag=? AND record_id<?); SEARCH records USING INDEX";
        assert!(plan.starts_with(by_key), "{plan}");
        assert!(!plan.contains("ORDER BY"), "{plan}");

        let words = ContainsWords::parse("a b").map(ContainsWords::probing);
        let both = restricted!(record_tags::table.inner_join(records::table), filter, words)
            .filter(record_tags::tag.eq("a"));
        let plan = explain(both.order(record_tags::record_id.desc()).limit(20)).await;
        let by_id = "SEARCH records USING INDEX sqlite_autoindex_records_1 (id=?);";
        assert!(plan.contains(by_id) && !plan.contains("ORDER BY"), "{plan}");

        let words = ContainsWords::parse("a b");
        let found = restricted!(records::table, filter, words).order(records::id.desc());
        let plan = explain(found.limit(20)).await;
        assert!(
            plan.contains("SCAN records_words VIRTUAL TABLE INDEX"),
            "{plan}"
        );
    }
}
