//! What PostgreSQL tells about commits: their place in the log, and whether one took effect.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::data_types::PgLsn as Place;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;
use diesel::{QueryResult, define_sql_function, select};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::lsn::Lsn;

/// Where the log of the server ends; pipelined, so that it can travel behind a COMMIT.
pub(super) async fn insert_lsn(mut connection: &AsyncPgConnection) -> QueryResult<Lsn> {
    let place: Place = select(pg_current_wal_insert_lsn())
        .get_result(&mut connection)
        .await?;
    Ok(Lsn::new(place.0))
}

/// The number of the open transaction, if it has written.
pub(super) async fn transaction_id(
    connection: &mut super::PgConnection,
) -> QueryResult<Option<u64>> {
    let id: Option<TransactionId> = select(pg_current_xact_id_if_assigned())
        .get_result(connection)
        .await?;
    Ok(id.map(|id| id.0))
}

/// `None` while it is in progress, and when it is too long ago.
pub(super) async fn was_committed(
    connection: &mut super::PgConnection,
    id: u64,
) -> QueryResult<Option<bool>> {
    let status: Option<String> = select(pg_xact_status(TransactionId(id)))
        .get_result(connection)
        .await?;
    Ok(match status.as_deref() {
        Some("committed") => Some(true),
        Some("aborted") => Some(false),
        _ => None,
    })
}

define_sql_function! {
    fn pg_current_wal_insert_lsn() -> PgLsn;
}
define_sql_function! {
    fn pg_current_xact_id_if_assigned() -> Nullable<Xid8>;
}
define_sql_function! {
    fn pg_xact_status(id: Xid8) -> Nullable<Text>;
}

#[expect(unnameable_types, reason = "diesel's macro makes public what names it")]
#[derive(Debug, SqlType, QueryId)]
#[diesel(postgres_type(oid = 5069, array_oid = 271))]
pub struct Xid8;

#[derive(Debug, FromSqlRow, AsExpression)]
#[diesel(sql_type = Xid8)]
struct TransactionId(u64);

impl FromSql<Xid8, Pg> for TransactionId {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(u64::from_be_bytes(value.as_bytes().try_into()?)))
    }
}

impl ToSql<Xid8, Pg> for TransactionId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, &self.0.to_be_bytes())?;
        Ok(IsNull::No)
    }
}
