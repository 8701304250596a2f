//! Whether all subjects answer the same bytes: who says less is faster for nothing.

use anyhow::ensure;

use super::entrant::Entrant;

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
            ensure!(
                answer == expected,
                "not measured, it would be unfair: {} and {} answer GET {path} differently\n  {}\n  {}",
                first.subject().name(),
                other.subject().name(),
                shown(&expected),
                shown(&answer)
            );
        }
    }
    Ok(())
}

/// Its beginning, as far as it is text.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(200).collect()
}
