//! The columns that queries name, the same for both databases; the tables are made by the migrations.
//!
//! Two columns are missing on purpose because only one database has each: `seq` of SQLite and `words`
//! of PostgreSQL. Only the text search needs them (`search.rs`).

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, SmallInt, Text};
    use crate::store::types::sql::{Id, Moment};

    tasks (id) {
        id -> Id,
        title -> Text,
        description -> Nullable<Text>,
        assigned_agent_id -> Nullable<Text>,
        priority -> SmallInt,
        status -> Text,
        created_at -> Moment,
        updated_at -> Moment,
        completed_at -> Nullable<Moment>,
        version -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, SmallInt, Text};
    use crate::store::types::sql::{Id, Moment};

    records (id) {
        id -> Id,
        title -> Text,
        text -> Text,
        tags -> Text,
        importance -> SmallInt,
        created_at -> Moment,
        updated_at -> Moment,
        version -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use crate::store::types::sql::Id;

    record_tags (tag, record_id) {
        tag -> Text,
        record_id -> Id,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, SmallInt};

    cache_epoch (id) {
        id -> SmallInt,
        epoch -> BigInt,
    }
}

diesel::joinable!(record_tags -> records (record_id));
diesel::allow_tables_to_appear_in_same_query!(records, record_tags);
