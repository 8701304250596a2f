//! Tuples of columns of one table.

use diesel::Column;
use diesel::associations::HasTable;
use diesel::query_source::QuerySource;

/// Columns of one table that rows can be inserted into; implemented for tuples of up to sixteen.
pub trait InsertColumns {
    /// What names the table in a statement.
    type Table;
    /// The names of the columns.
    const NAMES: &'static [&'static str];
    /// The table's name.
    fn table() -> Self::Table;
}

/// Calls `$then!` with the columns, values, and places of each length of tuple.
macro_rules! for_each_length {
    ($then:ident) => {
        for_each_length! { @shorter $then []
            [A a 0] [B b 1] [C c 2] [D d 3] [E e 4] [F f 5] [G g 6] [H h 7]
            [I i 8] [J j 9] [K k 10] [L l 11] [M m 12] [N n 13] [O o 14] [P p 15]
        }
    };
    (@shorter $then:ident [$($done:tt)*]) => {};
    (@shorter $then:ident [$($done:tt)*] $next:tt $($rest:tt)*) => {
        $then! { $($done)* $next }
        for_each_length! { @shorter $then [$($done)* $next] $($rest)* }
    };
}
pub(super) use for_each_length;

macro_rules! columns {
    ([$first:ident $first_value:ident $first_at:tt] $([$column:ident $value:ident $at:tt])*) => {
        impl<$first, $($column,)*> InsertColumns for ($first, $($column,)*)
        where
            $first: Column,
            $first::Table: HasTable<Table = $first::Table>,
            $($column: Column<Table = $first::Table>,)*
        {
            type Table = <$first::Table as QuerySource>::FromClause;
            const NAMES: &'static [&'static str] = &[$first::NAME, $($column::NAME,)*];

            fn table() -> Self::Table {
                $first::Table::table().from_clause()
            }
        }
    };
}

for_each_length!(columns);
