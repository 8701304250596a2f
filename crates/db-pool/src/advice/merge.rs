//! Suggestions that serve each other: of two indexes that begin alike the longer one is enough.

use super::finding::{Action, Finding, FindingKind, SuggestedIndex};

/// Sorts by gravity, leaves out suggestions that a longer one serves, and sends foreign keys to it.
pub(super) fn merged(mut findings: Vec<Finding>) -> Vec<Finding> {
    let suggested: Vec<SuggestedIndex> =
        findings.iter().filter_map(|it| it.index.clone()).collect();
    let longer = |index: &SuggestedIndex| {
        suggested.iter().find(|other| {
            let here = other.schema == index.schema && other.table == index.table;
            here && other.columns.len() > index.columns.len()
                && other.columns.starts_with(&index.columns)
        })
    };
    findings.retain(|it| {
        let served = it.index.as_ref().and_then(longer).is_some();
        it.kind != FindingKind::MissingIndex || !served
    });
    for finding in &mut findings {
        if let Some(longer) = finding.index.as_ref().and_then(longer) {
            let hint = format!("the index on {longer} that is suggested here, too, serves it");
            finding.todo = vec![Action::Code { hint }];
        }
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn finding(kind: FindingKind, columns: &[&str]) -> Finding {
        let columns = columns.iter().map(|it| ((*it).to_owned(), false)).collect();
        let index = SuggestedIndex::new("public", "posts", columns);
        let mut finding =
            Finding::new(Severity::Hint, kind, index.to_string()).sql(index.create_sql());
        finding.index = Some(index);
        finding
    }

    #[test]
    fn the_longer_of_two_suggestions_serves_both_and_the_gravest_comes_first() {
        use FindingKind::{MissingIndex, PoolTooSmall, UnindexedForeignKey};
        let all = vec![
            finding(UnindexedForeignKey, &["a"]),
            finding(UnindexedForeignKey, &["b"]),
            finding(MissingIndex, &["a"]),
            finding(MissingIndex, &["a", "c"]),
            Finding::new(Severity::Urgent, PoolTooSmall, "small"),
        ];
        let shown: Vec<String> = merged(all)
            .iter()
            .map(|it| {
                format!(
                    "{} > {}",
                    it.what,
                    it.todo.iter().map(ToString::to_string).collect::<String>()
                )
            })
            .collect();
        expect_test::expect![[r#"
            small > 
            posts (a) > the index on posts (a, c) that is suggested here, too, serves it
            posts (b) > CREATE INDEX CONCURRENTLY ON "public"."posts" ("b");
            posts (a, c) > CREATE INDEX CONCURRENTLY ON "public"."posts" ("a", "c");"#]]
        .assert_eq(&shown.join("\n"));
    }
}
