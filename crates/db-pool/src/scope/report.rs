//! What one request asked of its databases, as data and as text.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::log::N_PLUS_ONE;

/// The statements of one [`Scope`](crate::Scope) so far; prints well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScopeReport {
    /// How many statements were answered, without begin and end of transactions.
    pub statements: u64,
    /// How long they took, added up.
    #[serde(serialize_with = "crate::observe::seconds")]
    pub time: Duration,
    /// Those that ran five times or more, with other values each time, one run after another.
    pub n_plus_ones: Vec<ScopeStatement>,
    /// Reads that ran again with the same values although the scope had written nothing in between.
    pub duplicates: Vec<ScopeStatement>,
    /// All, those that took most time first; at most 128.
    pub by_statement: Vec<ScopeStatement>,
}

/// All runs of one statement in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScopeStatement {
    /// The statement, with `?` for values.
    pub sql: String,
    /// Its verb and first table.
    pub summary: String,
    /// Who had borrowed the connection at the first run; `None` on a shared lane.
    pub at: Option<String>,
    /// How often it ran.
    pub count: u64,
    /// How often with values of its own, and after the run before had ended.
    pub in_turn: u64,
    /// How often a read ran with values that it had run with before, without a write in between.
    pub duplicates: u64,
    /// How long all runs took.
    #[serde(serialize_with = "crate::observe::seconds")]
    pub total: Duration,
    /// The longest run.
    #[serde(serialize_with = "crate::observe::seconds")]
    pub longest: Duration,
    /// Whether it may change something.
    pub writes: bool,
}

impl ScopeStatement {
    /// What to do about an N+1.
    pub(crate) fn cure(writes: bool) -> &'static str {
        if writes {
            "send all rows in one statement"
        } else {
            "load all of them at once by `Pool::loader` or `eq_any`"
        }
    }
}

impl ScopeReport {
    pub(super) fn new(statements: u64, time: Duration, mut all: Vec<ScopeStatement>) -> Self {
        all.sort_by(|one, other| {
            Reverse(one.total)
                .cmp(&Reverse(other.total))
                .then_with(|| one.sql.cmp(&other.sql))
        });
        let those = |which: fn(&ScopeStatement) -> bool| {
            let those = all.iter().filter(|one| which(one));
            those.cloned().collect()
        };
        Self {
            statements,
            time,
            n_plus_ones: those(|one| one.in_turn >= N_PLUS_ONE),
            duplicates: those(|one| one.duplicates > 0),
            by_statement: all,
        }
    }

    /// The statement with the longest single run.
    pub fn longest(&self) -> Option<&ScopeStatement> {
        self.by_statement.iter().max_by_key(|one| one.longest)
    }
}

impl fmt::Display for ScopeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} statements in {:.1?}", self.statements, self.time)?;
        for one in &self.n_plus_ones {
            let cure = ScopeStatement::cure(one.writes);
            write!(f, "\n  N+1: {} times, {:.1?}", one.in_turn, one.total)?;
            write!(f, "{}: {}; {cure}", At(&one.at), one.sql)?;
        }
        for one in &self.duplicates {
            let times = one.duplicates;
            write!(
                f,
                "\n  again: {times} times with values that had been asked for"
            )?;
            write!(f, "{}: {}", At(&one.at), one.sql)?;
        }
        if let Some(one) = self.longest() {
            write!(
                f,
                "\n  longest: {:.1?}{}: {}",
                one.longest,
                At(&one.at),
                one.sql
            )?;
        }
        Ok(())
    }
}

struct At<'a>(&'a Option<String>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, " at {at}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_report_names_what_is_repeated_and_what_to_do() {
        let statement = |sql: &str, count, in_turn, duplicates, millis| ScopeStatement {
            sql: sql.into(),
            summary: String::new(),
            at: Some("src/users.rs:40:9".into()),
            count,
            in_turn,
            duplicates,
            total: Duration::from_millis(millis),
            longest: Duration::from_millis(millis / count),
            writes: sql.starts_with("INSERT"),
        };
        let all = vec![
            statement("SELECT * FROM settings", 3, 1, 2, 6),
            statement("SELECT name FROM users WHERE id = ?", 20, 20, 0, 40),
            statement("INSERT INTO visits (user_id) VALUES (?)", 20, 20, 0, 60),
        ];
        let report = ScopeReport::new(43, Duration::from_millis(106), all);
        expect![[r#"
            43 statements in 106.0ms
              N+1: 20 times, 60.0ms at src/users.rs:40:9: INSERT INTO visits (user_id) VALUES (?); send all rows in one statement
              N+1: 20 times, 40.0ms at src/users.rs:40:9: SELECT name FROM users WHERE id = ?; load all of them at once by `Pool::loader` or `eq_any`
              again: 2 times with values that had been asked for at src/users.rs:40:9: SELECT * FROM settings
              longest: 3.0ms at src/users.rs:40:9: INSERT INTO visits (user_id) VALUES (?)"#]].assert_eq(&report.to_string());
    }
}
