//! What tells one cached result from another: the SQL, the encoded values, the type of the rows and whatever the
//! caller adds. Compared as a whole, so that no two results can ever be mixed up.

use diesel::QueryResult;

/// The bytes of a key while it is being built.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
#[derive(Debug)]
pub struct KeyBuilder {
    bytes: Vec<u8>,
}

impl KeyBuilder {
    /// For rows of one type.
    pub(super) fn new<U>() -> Self {
        let mut this = Self {
            bytes: Vec::with_capacity(256),
        };
        this.part(std::any::type_name::<U>().as_bytes());
        this
    }

    /// The same key among those of other databases.
    pub(super) fn among(&self, database: &str) -> Vec<u8> {
        [database.as_bytes(), b"\0", &self.bytes].concat()
    }

    /// Appends one part; its length in front keeps it apart from its neighbours.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes.len().to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes text as one part without a string in between.
impl std::fmt::Write for KeyBuilder {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// PostgreSQL: the SQL, and each value as it goes to the server with its type.
#[cfg(feature = "postgres")]
pub(crate) fn postgres<T>(query: &T, key: &mut KeyBuilder) -> QueryResult<String>
where
    T: diesel::query_builder::QueryFragment<diesel::pg::Pg> + ?Sized,
{
    use diesel::pg::{Pg, PgQueryBuilder};
    use diesel::query_builder::QueryBuilder;
    use diesel::query_builder::bind_collector::RawBytesBindCollector;

    let mut builder = PgQueryBuilder::default();
    query.to_sql(&mut builder, &Pg)?;
    let sql = builder.finish();
    key.part(sql.as_bytes());
    let mut values = RawBytesBindCollector::<Pg>::new();
    let mut types = NamedTypes::default();
    query.collect_binds(&mut values, &mut types, &Pg)?;
    key.bytes.extend_from_slice(&types.0);
    for (metadata, value) in values.metadata.iter().zip(&values.binds) {
        key.part(&metadata.oid().unwrap_or(0).to_le_bytes());
        match value {
            Some(value) => key.part(value),
            None => key.bytes.extend_from_slice(&usize::MAX.to_le_bytes()),
        }
    }
    Ok(sql)
}

/// Types that only the server knows: their names go into the key, in the place of their numbers.
#[cfg(feature = "postgres")]
#[derive(Default)]
struct NamedTypes(Vec<u8>);

#[cfg(feature = "postgres")]
impl diesel::pg::PgMetadataLookup for NamedTypes {
    fn lookup_type(&mut self, name: &str, schema: Option<&str>) -> diesel::pg::PgTypeMetadata {
        for part in [schema.unwrap_or(""), name] {
            self.0.extend_from_slice(&part.len().to_le_bytes());
            self.0.extend_from_slice(part.as_bytes());
        }
        diesel::pg::PgTypeMetadata::new(0, 0)
    }
}

/// SQLite: the SQL, and each value with its type as diesel prints it, which is different for different values.
#[cfg(feature = "sqlite")]
pub(crate) fn sqlite<T>(query: &T, key: &mut KeyBuilder) -> QueryResult<String>
where
    T: diesel::query_builder::QueryFragment<diesel::sqlite::Sqlite> + ?Sized,
{
    use std::fmt::Write as _;

    use diesel::query_builder::QueryBuilder;
    use diesel::sqlite::{Sqlite, SqliteQueryBuilder};

    let mut builder = SqliteQueryBuilder::default();
    query.to_sql(&mut builder, &Sqlite)?;
    let sql = builder.finish();
    key.part(sql.as_bytes());
    let mut values = <Sqlite as diesel::backend::Backend>::BindCollector::default();
    query.collect_binds(&mut values, &mut (), &Sqlite)?;
    // Writing into memory cannot fail.
    let _ = write!(key, "{values:?}");
    Ok(sql)
}
