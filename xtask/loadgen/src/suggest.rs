//! The known word that a mistyped one was probably meant to be.

/// The nearest of `known`, if it is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |known: &'a str| (strsim::damerau_levenshtein(word, known), known);
    let (distance, known) = known
        .into_iter()
        .map(near)
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count().div_ceil(3)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_miss_is_suggested() {
        let known = ["record", "task"];
        assert_eq!(nearest("recrod", known), Some("record"));
        assert_eq!(nearest("records", known), Some("record"));
        assert_eq!(nearest("user", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
