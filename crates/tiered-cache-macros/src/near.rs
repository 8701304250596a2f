//! Near misses: which known word was probably meant.

/// The known word that differs in fewest letters, if that is less than half of them.
pub(crate) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|known| (strsim::levenshtein(word, known), known));
    let (changes, near) = distances.min()?;
    (changes * 2 <= word.len()).then_some(near)
}
