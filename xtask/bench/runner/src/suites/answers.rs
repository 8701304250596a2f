//! Whether all subjects answer the same bytes: who says less is faster for nothing.

use anyhow::ensure;

use super::entrant::Entrant;
use super::subject::Subject;

/// Asks everybody for `paths` and compares the bodies.
///
/// # Errors
/// If an answer is missing or differs from the first entrant's: measuring would be unfair.
pub(super) fn compare(entrants: &[Entrant], paths: &[String]) -> anyhow::Result<()> {
    let Some((first, others)) = entrants.split_first() else {
        return Ok(());
    };
    for path in paths {
        let expected = first.get(path)?;
        for other in others {
            let answer = other.get(path)?;
            same(
                path,
                (first.subject(), &expected),
                (other.subject(), &answer),
            )?;
        }
    }
    Ok(())
}

fn same(path: &str, one: (Subject, &[u8]), other: (Subject, &[u8])) -> anyhow::Result<()> {
    ensure!(
        one.1 == other.1,
        "not measured, it would be unfair: {} and {} answer GET {path} differently\n  {}\n  {}",
        one.0.name(),
        other.0.name(),
        shown(one.1),
        shown(other.1)
    );
    Ok(())
}

/// Its beginning, as far as it is text.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(SHOWN).collect()
}

const SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_otherwise_is_not_measured() {
        let compare =
            |one: &[u8], other: &[u8]| same("/x", (Subject::Service, one), (Subject::Naive, other));
        assert!(compare(b"{}", b"{}").is_ok());
        let error = compare(b"{\"id\":1}", &[b'x'; 9_999]).expect_err("less work");
        let text = error.to_string();
        assert!(
            text.contains("reference-service and naive answer GET /x differently"),
            "{text}"
        );
        assert!(text.contains("{\"id\":1}") && text.len() < 400, "{text}");
    }
}
