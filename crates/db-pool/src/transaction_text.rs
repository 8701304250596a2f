//! Recognises statements that open or end a transaction, for those that users send as plain SQL.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a transaction may be open, as far as the texts of the statements tell.
#[derive(Debug, Default)]
pub(crate) struct MaybeOpen(AtomicBool);

impl MaybeOpen {
    /// Call before sending: what is never confirmed counts as open.
    pub(crate) fn sending(&self, sql: &str) {
        if opens(sql) {
            self.set(true);
        }
    }

    /// Call when the database confirmed the statement.
    pub(crate) fn confirmed(&self, sql: &str) {
        if ends(sql) {
            self.set(false);
        }
    }

    pub(crate) fn set(&self, open: bool) {
        self.0.store(open, Ordering::Release);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn opens(sql: &str) -> bool {
    ["BEGIN", "START TRANSACTION", "SAVEPOINT"]
        .iter()
        .any(|word| starts_with(sql, word))
}

/// Only whole statements count: what follows in a batch may have opened another transaction.
fn ends(sql: &str) -> bool {
    let sql = sql.trim().trim_end_matches(';');
    ["COMMIT", "ROLLBACK", "END"]
        .iter()
        .any(|word| sql.eq_ignore_ascii_case(word))
}

fn starts_with(sql: &str, word: &str) -> bool {
    sql.trim_start()
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_counts_as_open_until_its_end_is_confirmed() {
        let open = MaybeOpen::default();
        for sql in ["SELECT 1", "", "é", "COMMIT"] {
            open.sending(sql);
            assert!(!open.get(), "{sql}");
        }
        for (begin, end) in [
            ("BEGIN", "COMMIT"),
            (" begin immediate", "rollback;"),
            ("START TRANSACTION", "END"),
        ] {
            open.sending(begin);
            open.confirmed(begin);
            assert!(open.get(), "{begin}");
            open.confirmed("ROLLBACK TO SAVEPOINT a");
            open.confirmed("COMMIT; BEGIN");
            assert!(open.get(), "{begin}");
            open.confirmed(end);
            assert!(!open.get(), "{end}");
        }
    }
}
