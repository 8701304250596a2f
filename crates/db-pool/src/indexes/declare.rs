//! Declaring indexes beside the code that needs them: plain constants, and a macro that writes them shortly.

use std::fmt;

use crate::sql::quote;

/// An index that the program expects; made in constants, usually by [`ensure_indexes!`](crate::ensure_indexes).
///
/// ```
/// use db_pool::Index;
///
/// const BY_EMAIL: Index = Index::on("users", &["email"]).unique();
/// const DRAFTS: Index = Index::on("posts", &["author_id"]).filter("published_at IS NULL");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Index {
    pub(crate) schema: Option<&'static str>,
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) descending: &'static [bool],
    pub(crate) unique: bool,
    pub(crate) filter: Option<&'static str>,
    pub(crate) name: Option<&'static str>,
}

impl Index {
    /// An index on these columns, in this order. Names are taken as they are; quoting is done here.
    pub const fn on(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self {
            schema: None,
            table,
            columns,
            descending: &[],
            unique: false,
            filter: None,
            name: None,
        }
    }

    /// The schema that the table lies in; without it PostgreSQL searches its `search_path`.
    #[must_use]
    pub const fn in_schema(mut self, schema: &'static str) -> Self {
        self.schema = Some(schema);
        self
    }

    /// No two rows may be equal in these columns.
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Which columns are in descending order, one `bool` per column; missing ones ascend.
    #[must_use]
    pub const fn descending(mut self, descending: &'static [bool]) -> Self {
        self.descending = descending;
        self
    }

    /// Only rows for which this SQL condition holds. It is put into the statement as it is: never from input.
    #[must_use]
    pub const fn filter(mut self, condition: &'static str) -> Self {
        self.filter = Some(condition);
        self
    }

    /// A name of your own, instead of one made from table and columns.
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The name that the index gets when it is created: table, columns and `idx` or `key`, at most 63 bytes.
    ///
    /// Names that would be longer, or that a filter or an order makes ambiguous, end with a checksum.
    pub fn name(&self) -> String {
        if let Some(name) = self.name {
            return name.to_owned();
        }
        let ending = if self.unique { "key" } else { "idx" };
        let readable = format!("{}_{}", self.table, self.columns.join("_"));
        let plain = self.filter.is_none() && !self.descending.contains(&true);
        if plain && readable.len() + 1 + ending.len() <= NAME_MAX {
            return format!("{readable}_{ending}");
        }
        let whole = format!("{readable}\0{:?}\0{:?}", self.descending, self.filter);
        let checksum = format!("_{:08x}_{ending}", fnv(whole.as_bytes()));
        let mut cut = readable.len().min(NAME_MAX - checksum.len());
        while !readable.is_char_boundary(cut) {
            cut -= 1;
        }
        format!("{}{checksum}", &readable[..cut])
    }

    pub(crate) fn is_descending(&self, column: usize) -> bool {
        self.descending.get(column).copied().unwrap_or(false)
    }

    /// The table as it stands in SQL.
    pub(crate) fn table_sql(&self) -> String {
        let schema = self.schema.map(|schema| format!("{}.", quote(schema)));
        format!("{}{}", schema.unwrap_or_default(), quote(self.table))
    }

    /// The statement that creates it. `how` stands before the name: `CONCURRENTLY` or nothing.
    pub(crate) fn create_sql(&self, how: &str, name: &str) -> String {
        let unique = if self.unique { "UNIQUE " } else { "" };
        let columns: Vec<String> = (0..self.columns.len())
            .map(|at| {
                let order = if self.is_descending(at) { " DESC" } else { "" };
                format!("{}{order}", quote(self.columns[at]))
            })
            .collect();
        let filter = self.filter.map(|filter| format!(" WHERE {filter}"));
        format!(
            "CREATE {unique}INDEX {how}{name} ON {} ({}){}",
            self.table_sql(),
            columns.join(", "),
            filter.unwrap_or_default(),
        )
    }
}

/// As it is declared: `posts (author_id, created_at desc) unique where deleted_at IS NULL`.
impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = self.schema {
            write!(f, "{schema}.")?;
        }
        write!(f, "{} (", self.table)?;
        for (at, column) in self.columns.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let order = if self.is_descending(at) { " desc" } else { "" };
            write!(f, "{comma}{column}{order}")?;
        }
        f.write_str(if self.unique { ") unique" } else { ")" })?;
        match self.filter {
            Some(filter) => write!(f, " where {filter}"),
            None => Ok(()),
        }
    }
}

/// FNV-1a: the names must be the same in every build of the program, so no hasher of `std` will do.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// The longest name that PostgreSQL does not cut.
const NAME_MAX: usize = 63;

/// A list of [`Index`] as a constant: `&'static [Index]`.
///
/// Each is `table (columns)`, then `unique`, `where "condition"` and `named "name"` as needed, in this order. A column may
/// be followed by `desc`. Names that are no identifiers are written as strings. `schema.table` works too.
///
/// ```
/// use db_pool::{Index, ensure_indexes};
///
/// const INDEXES: &[Index] = ensure_indexes! {
///     users (email) unique;
///     posts (author_id, created_at desc);
///     posts (title) where "deleted_at IS NULL";
///     audit.events (at) named "events_by_time";
///     "odd table" ("odd column");
/// };
/// assert_eq!(INDEXES[1].to_string(), "posts (author_id, created_at desc)");
/// ```
#[macro_export]
macro_rules! ensure_indexes {
    (@name $name:ident) => { ::core::stringify!($name) };
    (@name $name:literal) => { $name };
    (@falls) => { false };
    (@falls asc) => { false };
    (@falls desc) => { true };
    (@table [$($column:tt)+] $table:tt) => {
        $crate::Index::on($crate::ensure_indexes!(@name $table), &[$($crate::ensure_indexes!(@name $column)),+])
    };
    (@table [$($column:tt)+] $schema:tt $table:tt) => {
        $crate::ensure_indexes!(@table [$($column)+] $table).in_schema($crate::ensure_indexes!(@name $schema))
    };
    (@with $index:expr;) => { $index };
    (@with $index:expr; unique $($more:tt)*) => {
        $crate::ensure_indexes!(@with $index.unique(); $($more)*)
    };
    (@with $index:expr; where $filter:literal $($more:tt)*) => {
        $crate::ensure_indexes!(@with $index.filter($filter); $($more)*)
    };
    (@with $index:expr; named $name:literal $($more:tt)*) => {
        $crate::ensure_indexes!(@with $index.named($name); $($more)*)
    };
    (@each $([$($table:tt)+] [$([$column:tt $($order:ident)?])+] [$($option:tt)*])*) => {
        const {
            &[$($crate::ensure_indexes!(
                @with $crate::ensure_indexes!(@table [$($column)+] $($table)+)
                    .descending(&[$($crate::ensure_indexes!(@falls $($order)?)),+]);
                $($option)*
            )),*]
        }
    };
    ($($first:tt $(. $second:tt)? ($($column:tt $($order:ident)?),+ $(,)?) $($word:ident $($text:literal)?)*);* $(;)?) => {
        $crate::ensure_indexes!(
            @each $([$first $($second)?] [$([$column $($order)?])+] [$($word $($text)?)*])*
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Index] = ensure_indexes! {
        users (email) unique;
        audit.events (at desc, kind) unique where "kind <> 'x'" named "odd\"name";
        "odd table" ("odd column")
    };

    #[test]
    fn the_macro_writes_what_the_builder_would() {
        let shown: Vec<String> = DECLARED.iter().map(ToString::to_string).collect();
        let expected = [
            "users (email) unique",
            "audit.events (at desc, kind) unique where kind <> 'x'",
            "odd table (odd column)",
        ];
        assert_eq!(shown, expected);
        let nothing: &[Index] = ensure_indexes! {};
        assert!(nothing.is_empty());
    }

    #[test]
    fn names_in_the_statement_are_quoted_whatever_they_hold() {
        let sql = |index: &Index| index.create_sql("", &quote(&index.name()));
        assert_eq!(
            sql(&DECLARED[1]),
            "CREATE UNIQUE INDEX \"odd\"\"name\" ON \"audit\".\"events\" (\"at\" DESC, \"kind\") WHERE kind <> 'x'"
        );
        let hostile = Index::on("a\"; DROP TABLE b", &["c)"]);
        assert_eq!(
            sql(&hostile),
            "CREATE INDEX \"a\"\"; DROP TABLE b_c)_idx\" ON \"a\"\"; DROP TABLE b\" (\"c)\")"
        );
    }

    #[test]
    fn names_are_readable_short_enough_and_different() {
        assert_eq!(DECLARED[0].name(), "users_email_key");
        let plain = Index::on("posts", &["title"]);
        assert_eq!(plain.name(), "posts_title_idx");
        let others = [
            plain.filter("a"),
            plain.filter("b"),
            plain.descending(&[true]),
        ];
        let mut names: Vec<String> = others.iter().map(Index::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3, "{names:?}");
        let long = Index::on("ééééééééééééééééééééééééééééééééé", &["column"]);
        assert!(long.name().len() <= NAME_MAX && long.name().ends_with("_idx"));
    }
}
