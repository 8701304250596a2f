//! Advice as text for a terminal, wide or narrow.

use std::fmt;

use super::finding::{Advice, Finding, Severity};

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(WIDTH).max(NARROWEST);
        // In a narrow terminal the text needs the room that a column of severities would take.
        let indent = if width < NARROW { 2 } else { 9 };
        write!(f, "{} ({}): {}", self.pool, self.backend, self.summary())?;
        for finding in &self.findings {
            write!(f, "\n\n{}", finding.severity)?;
            let mut page = Page { f, width, indent };
            page.first(finding.severity, &finding.what)?;
            page.details(finding)?;
        }
        if !self.notes.is_empty() {
            f.write_str("\n\nnot looked at")?;
            for note in &self.notes {
                Page { f, width, indent }.item("-", note)?;
            }
        }
        Ok(())
    }
}

impl Advice {
    fn summary(&self) -> String {
        let count = |severity| {
            let all = self.findings.iter();
            all.filter(|it| it.severity == severity).count()
        };
        let told: Vec<String> = [Severity::Urgent, Severity::Warning, Severity::Hint]
            .into_iter()
            .map(|severity| (severity, count(severity)))
            .filter(|(_, count)| *count > 0)
            .map(|(severity, count)| match (severity, count) {
                (Severity::Urgent, count) => format!("{count} urgent"),
                (severity, 1) => format!("1 {severity}"),
                (severity, count) => format!("{count} {severity}s"),
            })
            .collect();
        if told.is_empty() {
            "nothing to change".to_owned()
        } else {
            told.join(", ")
        }
    }
}

struct Page<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    width: usize,
    indent: usize,
}

impl Page<'_, '_> {
    /// The sentence, beside the severity where there is room.
    fn first(&mut self, severity: Severity, what: &str) -> fmt::Result {
        let taken = severity.to_string().len();
        if taken < self.indent {
            write!(self.f, "{:1$}", "", self.indent - taken)?;
        } else {
            self.line("")?;
        }
        self.wrapped(what, self.indent)
    }

    fn details(&mut self, finding: &Finding) -> fmt::Result {
        if !finding.evidence.is_empty() {
            let all: Vec<String> = finding
                .evidence
                .iter()
                .map(|evidence| format!("{} {}", evidence.name, evidence.value))
                .collect();
            self.line("")?;
            self.wrapped(&all.join(", "), self.indent)?;
        }
        if let Some(statement) = &finding.statement {
            self.item(":", &shortened(statement))?;
        }
        for action in &finding.todo {
            self.item(">", &action.to_string())?;
        }
        Ok(())
    }

    fn item(&mut self, mark: &str, text: &str) -> fmt::Result {
        self.line(mark)?;
        self.f.write_str(" ")?;
        self.wrapped(text, self.indent + mark.len() + 1)
    }

    fn line(&mut self, mark: &str) -> fmt::Result {
        write!(self.f, "\n{:1$}{mark}", "", self.indent)
    }

    /// Words, with line breaks before those that would not fit; the first line begins at `indent` already.
    fn wrapped(&mut self, text: &str, indent: usize) -> fmt::Result {
        let mut column = indent;
        for (at, word) in text.split_whitespace().enumerate() {
            let length = word.chars().count();
            if at > 0 && column + 1 + length > self.width {
                write!(self.f, "\n{:indent$}", "")?;
                column = indent;
            } else if at > 0 {
                self.f.write_str(" ")?;
                column += 1;
            }
            self.f.write_str(word)?;
            column += length;
        }
        Ok(())
    }
}

fn shortened(statement: &str) -> String {
    match statement.char_indices().nth(STATEMENT) {
        Some((end, _)) => format!("{} ...", &statement[..end]),
        None => statement.to_owned(),
    }
}

const WIDTH: usize = 100;
const NARROW: usize = 70;
const NARROWEST: usize = 30;
/// The most characters of a statement that are shown; all of it is in the data.
const STATEMENT: usize = 300;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::super::finding::{FindingKind, SuggestedIndex, Value};
    use super::super::input::StatementNumbers;
    use super::*;

    fn advice() -> Advice {
        let index = SuggestedIndex::new("public", "posts", vec![("author_id".to_owned(), false)]);
        let statement = StatementNumbers {
            sql: "SELECT id, title FROM posts WHERE author_id = ?".to_owned(),
            count: 1_200,
            total: Duration::from_secs(36),
            p99: Duration::from_millis(80),
            at: Some("src/posts.rs:42:17".to_owned()),
            ..StatementNumbers::default()
        };
        Advice {
            pool: "main".to_owned(),
            backend: "postgres",
            findings: vec![
                Finding::new(
                    Severity::Urgent,
                    FindingKind::PoolTooSmall,
                    "the pool is too small: this traffic needs 14 connections and 10 are allowed",
                )
                .with("borrowed", Value::PerSecond(812.4))
                .with("held p95", Value::Seconds(0.0141))
                .with("timed out", Value::Count(1_234))
                .setting("max_size", 14),
                Finding::new(
                    Severity::Warning,
                    FindingKind::MissingIndex,
                    "a slow statement reads all of posts",
                )
                .with("rows", Value::Count(2_000_000))
                .with("size", Value::Bytes(3_400_000))
                .about(&statement)
                .sql(index.create_sql()),
            ],
            notes: vec![
                "unused indexes: permission denied for view pg_stat_user_indexes".to_owned(),
            ],
        }
    }

    #[test]
    fn a_wide_terminal_gets_one_block_for_each_finding() {
        expect![[r#"
            main (postgres): 1 urgent, 1 warning

            urgent   the pool is too small: this traffic needs 14 connections and 10 are allowed
                     borrowed 812/s, held p95 14.1 ms, timed out 1,234
                     > set max_size = 14

            warning  a slow statement reads all of posts
                     rows 2,000,000, size 3.2 MiB, runs 1,200, p99 80.0 ms, in all 36.0 s, last from
                     src/posts.rs:42:17
                     : SELECT id, title FROM posts WHERE author_id = ?
                     > CREATE INDEX CONCURRENTLY ON "public"."posts" ("author_id");

            not looked at
                     - unused indexes: permission denied for view pg_stat_user_indexes"#]]
        .assert_eq(&advice().to_string());
    }

    #[test]
    fn a_narrow_terminal_loses_no_word_and_no_line_is_too_long() {
        let narrow = format!("{:44}", advice());
        expect![[r#"
            main (postgres): 1 urgent, 1 warning

            urgent
              the pool is too small: this traffic needs
              14 connections and 10 are allowed
              borrowed 812/s, held p95 14.1 ms, timed
              out 1,234
              > set max_size = 14

            warning
              a slow statement reads all of posts
              rows 2,000,000, size 3.2 MiB, runs 1,200,
              p99 80.0 ms, in all 36.0 s, last from
              src/posts.rs:42:17
              : SELECT id, title FROM posts WHERE
                author_id = ?
              > CREATE INDEX CONCURRENTLY ON
                "public"."posts" ("author_id");

            not looked at
              - unused indexes: permission denied for
                view pg_stat_user_indexes"#]]
        .assert_eq(&narrow);
        assert!(narrow.lines().all(|line| line.chars().count() <= 44));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&narrow), words(&advice().to_string()));
    }

    #[test]
    fn nothing_to_change_is_one_line() {
        let mut quiet = advice();
        quiet.findings.clear();
        quiet.notes.clear();
        assert_eq!(quiet.to_string(), "main (postgres): nothing to change");
    }
}
