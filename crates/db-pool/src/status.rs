//! A snapshot of a pool that prints well.

use std::fmt;

use serde::Serialize;

use crate::observe::Usage;
use crate::registry::Holder;
use crate::url::BackendKind;

/// The state of a pool at one moment; the numbers may be a moment apart from each other.
///
/// Prints as one line; `{:#}` adds lines that say who holds connections and what takes time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The pool's name.
    pub name: String,
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// The most connections that there may be.
    pub max_size: u32,
    /// Open connections.
    pub size: usize,
    /// Open connections that nobody uses.
    pub idle: usize,
    /// Borrowed connections, those being repaired included.
    pub in_use: usize,
    /// Connections being repaired after their borrower vanished.
    pub recovering: usize,
    /// Connections that are being opened; they are not part of `size`.
    pub connecting: usize,
    /// Callers waiting for a connection.
    pub waiting: usize,
    /// Connections borrowed since the start.
    pub acquired_total: u64,
    /// Borrowing that ran out of time since the start.
    pub timeouts_total: u64,
    /// Connections opened since the start.
    pub connects_total: u64,
    /// Connections that could not be opened since the start.
    pub connect_failures_total: u64,
    /// Abandoned connections repaired since the start.
    pub recovered_total: u64,
    /// Abandoned connections closed since the start.
    pub discarded_total: u64,
    /// Connections told as leaks since the start.
    pub leaks_total: u64,
    /// Why the last attempt to connect failed; `None` after a success.
    pub last_connect_error: Option<String>,
    /// Who holds connections, the longest first; at most sixteen.
    pub holders: Vec<Holder>,
    /// What borrowing, holding and statements have cost.
    pub usage: Usage,
    /// Whether the pool is suspended.
    pub suspended: bool,
    /// Whether the pool is closed.
    pub closed: bool,
}

impl Status {
    pub(crate) fn kind(kind: BackendKind) -> &'static str {
        kind.as_str()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            backend,
            max_size,
            size,
            idle,
            in_use,
            recovering,
            waiting,
            ..
        } = self;
        write!(
            f,
            "{name} ({backend}): {size} of {max_size} open, {idle} idle, {in_use} in use"
        )?;
        if *recovering > 0 {
            write!(f, " ({recovering} recovering)")?;
        }
        if self.connecting > 0 {
            write!(f, ", {} connecting", self.connecting)?;
        }
        write!(f, ", {waiting} waiting; {} acquired", self.acquired_total)?;
        for (count, what) in [
            (self.timeouts_total, "timed out"),
            (self.connect_failures_total, "connects failed"),
            (self.recovered_total, "recovered"),
            (self.discarded_total, "discarded"),
            (self.leaks_total, "leaked"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if let Some(error) = &self.last_connect_error {
            write!(f, "; connecting fails: {error}")?;
        }
        f.write_str(match (self.closed, self.suspended) {
            (true, _) => "; closed",
            (false, true) => "; suspended",
            (false, false) => "",
        })?;
        if f.alternate() {
            for holder in &self.holders {
                write!(f, "\n  held now  #{} at {holder}", holder.connection)?;
            }
            self.usage.fmt_lines(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::time::Duration;

    use expect_test::expect;

    use super::*;

    fn status() -> Status {
        Status {
            name: "orders".into(),
            backend: "postgres",
            max_size: 10,
            size: 4,
            idle: 1,
            in_use: 3,
            recovering: 1,
            connecting: 1,
            waiting: 2,
            acquired_total: 120_034,
            timeouts_total: 2,
            connects_total: 9,
            connect_failures_total: 0,
            recovered_total: 7,
            discarded_total: 1,
            leaks_total: 1,
            last_connect_error: None,
            holders: vec![Holder {
                connection: 3,
                held: Duration::from_millis(31_400),
                at: Location::caller(),
                recovering: false,
            }],
            usage: Usage::example(),
            suspended: false,
            closed: false,
        }
    }

    fn without_line_numbers(text: &str) -> String {
        let column = |c: char| c.is_ascii_digit() || c == ':';
        let lines = text
            .lines()
            .map(|line| match line.split_once("status.rs:") {
                Some((before, after)) => {
                    format!("{before}status.rs{}", after.trim_start_matches(column))
                }
                None => line.to_owned(),
            });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_line_says_how_a_pool_is() {
        expect!["orders (postgres): 4 of 10 open, 1 idle, 3 in use (1 recovering), 1 connecting, 2 waiting; 120034 acquired, 2 timed out, 7 recovered, 1 discarded, 1 leaked"].assert_eq(&status().to_string());
    }

    #[test]
    fn several_lines_say_who_holds_connections_and_what_takes_time() {
        expect![[r#"
            orders (postgres): 4 of 10 open, 1 idle, 3 in use (1 recovering), 1 connecting, 2 waiting; 120034 acquired, 2 timed out, 7 recovered, 1 discarded, 1 leaked
              held now  #3 at crates/db-pool/src/status.rs for 31s 400ms
              acquire   p50 420.0ns, p99 1.2ms, 120036 times
              hold      p50 900.0µs, p99 14.0ms, 120031 times
              query     p50 310.0µs, p99 4.0ms, 310200 times
              working   30 % of the time that connections were held
              seen      4 slow queries, 2 N+1
                  total     count       p99  statement
                  92.0s    310000     1.3ms  SELECT name FROM users WHERE id = ?
                640.0ms       200     1.3ms  SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement SELE ...
                   held     count       p99  working  borrowed at
                 310.0s    120031    14.0ms     30 %  src/users.rs:40:9"#]].assert_eq(&without_line_numbers(&format!("{:#}", status())));
    }

    #[test]
    fn as_data_times_are_seconds() {
        let mut status = status();
        status.holders.clear();
        let json = serde_json::to_string_pretty(&status).expect("plain data");
        expect![[r#"
            {
              "name": "orders",
              "backend": "postgres",
              "max_size": 10,
              "size": 4,
              "idle": 1,
              "in_use": 3,
              "recovering": 1,
              "connecting": 1,
              "waiting": 2,
              "acquired_total": 120034,
              "timeouts_total": 2,
              "connects_total": 9,
              "connect_failures_total": 0,
              "recovered_total": 7,
              "discarded_total": 1,
              "leaks_total": 1,
              "last_connect_error": null,
              "holders": [],
              "usage": {
                "acquire": {
                  "count": 120036,
                  "p50": 4.2e-7,
                  "p99": 0.0012
                },
                "hold": {
                  "count": 120031,
                  "p50": 0.0009,
                  "p99": 0.014
                },
                "query": {
                  "count": 310200,
                  "p50": 0.00031,
                  "p99": 0.004
                },
                "held": 310.0,
                "querying": 93.0,
                "slow_acquires_total": 0,
                "slow_queries_total": 4,
                "statement_errors_total": 0,
                "retries_total": 0,
                "n_plus_one_total": 2,
                "duplicate_queries_total": 0,
                "statements": [
                  {
                    "fingerprint": "000000000000004d",
                    "sql": "SELECT name FROM users WHERE id = ?",
                    "summary": "SELECT users",
                    "count": 310000,
                    "total": 92.0,
                    "p50": 0.00031,
                    "p99": 0.00129,
                    "max": 0.014,
                    "errors": 0,
                    "last_at": "src/users.rs:40:9",
                    "plan": null
                  },
                  {
                    "fingerprint": "000000000000004d",
                    "sql": "SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement SELECT a long statement ",
                    "summary": "SELECT users",
                    "count": 200,
                    "total": 0.64,
                    "p50": 0.00031,
                    "p99": 0.00129,
                    "max": 0.014,
                    "errors": 0,
                    "last_at": "src/users.rs:40:9",
                    "plan": null
                  }
                ],
                "call_sites": [
                  {
                    "at": "src/users.rs:40:9",
                    "holds": 120031,
                    "held": 310.0,
                    "held_p50": 0.0009,
                    "held_p95": 0.004,
                    "held_p99": 0.014,
                    "held_max": 0.08,
                    "querying": 93.0,
                    "statements": 310200
                  }
                ]
              },
              "suspended": false,
              "closed": false
            }"#]].assert_eq(&json);
    }
}
