//! Text with `{name}` placeholders.

/// Text with placeholders, split once when the mix is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// What stands between the braces.
    Name(String),
}

impl Template {
    pub(super) fn literal(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// `{name}` is a placeholder if the name is made of lowercase letters, digits, `_` and `-` and begins with a letter;
    /// every other brace is text, so that JSON can be written as it is. `{{` writes one brace where that is not enough.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                literal.push('{');
                rest = after;
            } else if let Some((name, after)) =
                rest.split_once('}').filter(|(name, _)| is_name(name))
            {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Name(name.to_owned()));
                rest = after;
            } else {
                literal.push('{');
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Self(parts)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Name(_) => None,
        })
    }
}

/// Whether `{name}` is a placeholder.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let show = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Name(name) => format!("<{name}>"),
        };
        Template::parse(text).0.iter().map(show).collect()
    }

    #[test]
    fn json_needs_no_escapes_around_placeholders() {
        assert_eq!(
            shown(r#"{"a": {"b": {n}, "c": "{some-id}x"}, "d": {}}"#),
            r#"{"a": {"b": <n>, "c": "<some-id>x"}, "d": {}}"#
        );
    }

    #[test]
    fn a_doubled_brace_is_one_brace() {
        assert_eq!(shown("{{n} {n}"), "{n} <n>");
        assert_eq!(shown("{{{n}"), "{<n>");
    }

    #[test]
    fn what_is_no_name_is_text() {
        for text in ["{", "{}", "{N}", "{a b}", "{1}", "a}b", "{\"x\"}", ""] {
            assert_eq!(shown(text), text);
        }
    }
}
