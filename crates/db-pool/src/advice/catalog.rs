//! What PostgreSQL is asked for advice: statements that need no extension, and their rows.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text};

#[derive(QueryableByName)]
pub(super) struct Fleet {
    #[diesel(sql_type = BigInt)]
    pub(super) max_connections: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) reserved: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) sessions: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) ours: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) hosts: i64,
}

/// Sessions of other roles are counted too, even where a role may not see what they do.
pub(super) const FLEET: &str = "\
SELECT current_setting('max_connections')::bigint AS max_connections,
       current_setting('superuser_reserved_connections')::bigint
         + coalesce(current_setting('reserved_connections', true), '0')::bigint AS reserved,
       count(*) FILTER (WHERE backend_type = 'client backend' OR backend_type IS NULL) AS sessions,
       count(*) FILTER (WHERE application_name = current_setting('application_name')
                        AND datname = current_database()) AS ours,
       count(DISTINCT coalesce(client_addr::text, 'local'))
         FILTER (WHERE application_name = current_setting('application_name')
                 AND datname = current_database()) AS hosts
FROM pg_stat_activity";

#[derive(QueryableByName)]
pub(super) struct Table {
    #[diesel(sql_type = Text)]
    pub(super) schema: String,
    #[diesel(sql_type = Text)]
    pub(super) table_name: String,
    #[diesel(sql_type = BigInt)]
    pub(super) rows: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) scans: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) scanned: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) index_scans: i64,
}

pub(super) const TABLES: &str = "\
SELECT s.schemaname::text AS schema, s.relname::text AS table_name,
       greatest(s.n_live_tup, c.reltuples::bigint, 0) AS rows,
       coalesce(s.seq_scan, 0) AS scans, coalesce(s.seq_tup_read, 0) AS scanned,
       coalesce(s.idx_scan, 0) AS index_scans
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
ORDER BY scanned DESC, 1, 2 LIMIT 2000";

#[derive(QueryableByName)]
pub(super) struct Age {
    #[diesel(sql_type = Nullable<Double>)]
    pub(super) seconds: Option<f64>,
}

/// Statistics that were never reset are as old as the server's last crash at most, so its start counts as well.
pub(super) const AGE: &str = "\
SELECT extract(epoch FROM now() - greatest(stats_reset, pg_postmaster_start_time()))::double precision AS seconds
FROM pg_stat_database WHERE datname = current_database()";

#[derive(QueryableByName)]
pub(super) struct Key {
    #[diesel(sql_type = Text)]
    pub(super) schema: String,
    #[diesel(sql_type = Text)]
    pub(super) table_name: String,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Array<Text>)]
    pub(super) columns: Vec<String>,
    #[diesel(sql_type = Text)]
    pub(super) parent: String,
    #[diesel(sql_type = BigInt)]
    pub(super) rows: i64,
    #[diesel(sql_type = Bool)]
    pub(super) cascades: bool,
}

/// An index serves when its first columns are those of the key, in any order.
pub(super) const FOREIGN_KEYS: &str = "\
SELECT n.nspname::text AS schema, t.relname::text AS table_name, c.conname::text AS name,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, at)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num ORDER BY k.at) AS columns,
       c.confrelid::regclass::text AS parent,
       greatest(t.reltuples::bigint, coalesce(s.n_live_tup, 0), 0) AS rows,
       c.confdeltype IN ('c', 'n', 'd') AS cascades
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_stat_user_tables s ON s.relid = t.oid
WHERE c.contype = 'f' AND c.conparentid = 0
  AND NOT EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
      AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
ORDER BY rows DESC, 1, 2, 3 LIMIT 50";

#[derive(QueryableByName)]
pub(super) struct Index {
    #[diesel(sql_type = Text)]
    pub(super) schema: String,
    #[diesel(sql_type = Text)]
    pub(super) table_name: String,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Array<Text>)]
    pub(super) columns: Vec<String>,
    #[diesel(sql_type = Text)]
    pub(super) rest: String,
    #[diesel(sql_type = Bool)]
    pub(super) is_unique: bool,
    #[diesel(sql_type = Bool)]
    pub(super) is_constraint: bool,
    #[diesel(sql_type = Bool)]
    pub(super) serves_key: bool,
    #[diesel(sql_type = Bool)]
    pub(super) valid: bool,
    #[diesel(sql_type = Bool)]
    pub(super) building: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) bytes: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) scans: Option<i64>,
}

pub(super) const INDEXES: &str = "\
SELECT n.nspname::text AS schema, t.relname::text AS table_name, x.relname::text AS name,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k + 1, true)
                    || CASE WHEN (i.indoption[k] & 1) = 1 THEN ' DESC' ELSE '' END
             FROM generate_series(0, i.indnkeyatts - 1) k ORDER BY k) AS columns,
       m.amname || ' ' || coalesce(pg_get_expr(i.indpred, i.indrelid), '')
         || CASE WHEN i.indnatts > i.indnkeyatts THEN ' include ' || x.relname ELSE '' END
         || CASE WHEN EXISTS (SELECT FROM pg_opclass o WHERE o.oid = ANY (i.indclass) AND NOT o.opcdefault)
            THEN i.indclass::text ELSE '' END AS rest,
       i.indisunique AS is_unique,
       i.indisprimary OR i.indisexclusion OR i.indisreplident
         OR EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) AS is_constraint,
       EXISTS (SELECT FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid = i.indrelid
               AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey) AS serves_key,
       i.indisvalid AS valid,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) AS building,
       pg_relation_size(i.indexrelid) AS bytes,
       s.idx_scan AS scans
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' AND NOT x.relispartition
ORDER BY 1, 2, 3 LIMIT 2000";

#[derive(QueryableByName)]
pub(super) struct Answer {
    #[diesel(sql_type = Bool)]
    pub(super) yes: bool,
}

pub(super) const HAS_HYPOPG: &str =
    "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'hypopg') AS yes";

#[derive(QueryableByName)]
pub(super) struct Json {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    pub(super) plan: String,
}

#[derive(QueryableByName)]
pub(super) struct Sample {
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) literal: Option<String>,
}
