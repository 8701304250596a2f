//! Implicit tags: the prefixes of a key's text, and the groups into which patterns put keys. They make
//! an invalidation by prefix or pattern cost what one by tag does, however many keys it covers.

use std::{fmt, sync::Arc};

use crate::{
    coherence::Target,
    key::{CacheKey, KEY_BYTES_MAX, key_head},
    tag::Tag,
};

/// A function that puts a key into a group, whose name it gives.
pub(crate) type Grouping<K> = Arc<dyn Fn(&K) -> Option<String> + Send + Sync>;

/// How one cache groups its keys.
pub(crate) struct Groups<K> {
    pub(crate) cache: u64,
    pub(crate) delimiter: Option<char>,
    pub(crate) patterns: Vec<(Box<str>, Grouping<K>)>,
}

impl<K: CacheKey> Groups<K> {
    /// The tags that every entry of the key has.
    pub(crate) fn of(&self, key: &K) -> Vec<u64> {
        let mut tags = Vec::new();
        if let Some(delimiter) = self.delimiter {
            let text = key_head(key);
            tags.extend(prefixes(&text, delimiter).map(|prefix| self.prefix(prefix)));
        }
        for (name, group_of) in &self.patterns {
            if let Some(group) = group_of(key) {
                tags.push(Tag::of_pattern(self.cache, name, &group).hash);
            }
        }
        tags
    }

    /// What to invalidate so that every key that begins with `prefix` is covered: the longest
    /// registered prefix of it, else the whole cache. Too much costs loads, too little wrong values.
    pub(crate) fn covering_prefix(&self, prefix: &str) -> Target {
        let longest = self.delimiter;
        let longest = longest.and_then(|delimiter| prefixes(prefix, delimiter).last());
        longest.map_or(Target::Cache(self.cache), |longest| {
            Target::Tag(self.prefix(longest))
        })
    }

    /// What to invalidate so that every key of the group is covered.
    pub(crate) fn covering_group(&self, name: &str, group: &str) -> Target {
        if self.patterns.iter().any(|(own, _)| **own == *name) {
            Target::Tag(Tag::of_pattern(self.cache, name, group).hash)
        } else {
            Target::Cache(self.cache)
        }
    }

    fn prefix(&self, prefix: &str) -> u64 {
        Tag::of_prefix(self.cache, prefix).hash
    }
}

impl<K> fmt::Debug for Groups<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.patterns.iter().map(|(name, _)| name).collect();
        f.debug_struct("Groups")
            .field("delimiter", &self.delimiter)
            .field("patterns", &names)
            .finish_non_exhaustive()
    }
}

/// The prefixes of a text that are tags, the shortest first.
fn prefixes(text: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let ends = text.match_indices(delimiter).take(LEVELS);
    ends.map(|(at, found)| &text[..at + found.len()])
        .take_while(|prefix| prefix.len() <= KEY_BYTES_MAX)
}

/// Deeper prefixes are invalidated with the one of this depth.
const LEVELS: usize = 8;

#[cfg(test)]
mod tests {
    use super::Groups;
    use crate::{coherence::Target, tag::Tag};

    fn groups() -> Groups<String> {
        Groups {
            cache: 7,
            delimiter: Some(':'),
            patterns: vec![(
                "first".into(),
                std::sync::Arc::new(|key: &String| key.chars().next().map(String::from)),
            )],
        }
    }

    fn tag(prefix: &str) -> u64 {
        Tag::of_prefix(7, prefix).hash
    }

    #[test]
    fn a_key_has_a_tag_for_each_prefix_that_ends_at_a_delimiter_and_for_each_group() {
        let first = Tag::of_pattern(7, "first", "e").hash;
        assert_eq!(
            groups().of(&"eu:de:7".to_owned()),
            [tag("eu:"), tag("eu:de:"), first]
        );
        assert_eq!(groups().of(&"e".to_owned()), [first]);
        assert_eq!(groups().of(&":".repeat(50)).len(), 8 + 1);
    }

    #[test]
    fn an_invalidation_covers_at_least_what_was_asked() {
        let groups = groups();
        assert_eq!(groups.covering_prefix("eu:"), Target::Tag(tag("eu:")));
        assert_eq!(groups.covering_prefix("eu:d"), Target::Tag(tag("eu:")));
        assert_eq!(groups.covering_prefix("e"), Target::Cache(7));
        assert_eq!(groups.covering_prefix(""), Target::Cache(7));
        let deep = ":".repeat(50);
        assert_eq!(groups.covering_prefix(&deep), Target::Tag(tag(&deep[..8])));
        assert_eq!(groups.covering_group("unknown", "x"), Target::Cache(7));
    }
}
