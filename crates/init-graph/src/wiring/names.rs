//! Readable names out of what the compiler calls things.

use std::borrow::Cow;

/// The default name of a component: its function, with the type in front for an associated function; a closure is
/// named after what it makes.
pub(crate) fn function_name(function: &'static str, output: &'static str) -> Cow<'static, str> {
    let path = without_generics(function);
    let (outer, last) = split_last(path);
    if last.starts_with('{') {
        return match output {
            "()" => "closure".into(),
            output => short_label(output),
        };
    }
    match outer.map(|outer| split_last(outer).1) {
        // Both together are the end of the path.
        Some(owner) if owner.starts_with(char::is_uppercase) => {
            path[path.len() - owner.len() - "::".len() - last.len()..].into()
        }
        _ => last.into(),
    }
}

/// The last segment of a path and what is in front of it. Byte by byte, which is faster than a search for short paths.
fn split_last(path: &'static str) -> (Option<&'static str>, &'static str) {
    match path.bytes().rposition(|byte| byte == b':') {
        Some(at) if at > 0 => (Some(&path[..at - 1]), &path[at + 1..]),
        _ => (None, path),
    }
}

/// As [`type_label`], borrowed for types without parameters.
pub(crate) fn short_label(full: &'static str) -> Cow<'static, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
    if full.bytes().all(plain) {
        split_last(full).1.into()
    } else {
        type_label(full).into()
    }
}

/// A type's name without the paths: `alloc::sync::Arc<app::Database>` becomes `Arc<Database>`.
pub(crate) fn type_label(full: &str) -> String {
    let mut label = String::with_capacity(full.len());
    let mut segment_start = 0;
    for character in full.chars() {
        match character {
            ':' => label.truncate(segment_start),
            _ => {
                label.push(character);
                // Braces: a type inside of a function has `{{closure}}` in its path.
                if !(character.is_alphanumeric() || "_{}".contains(character)) {
                    segment_start = label.len();
                }
            }
        }
    }
    label
}

fn without_generics(path: &'static str) -> &'static str {
    path.bytes()
        .position(|byte| byte == b'<')
        .filter(|at| *at > 0)
        .map_or(path, |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_by_its_last_segment_and_an_associated_one_by_its_type_too() {
        assert_eq!(
            function_name("app::db::database", "app::Database"),
            "database"
        );
        assert_eq!(
            function_name("app::Database::connect", "app::Database"),
            "Database::connect"
        );
        assert_eq!(
            function_name("app::load<app::Config>", "app::Config"),
            "load"
        );
        assert_eq!(
            function_name("app::main::{{closure}}", "app::Config"),
            "Config"
        );
        assert_eq!(function_name("app::main::{{closure}}", "()"), "closure");
        assert_eq!(function_name("noop", "()"), "noop");
        assert_eq!(
            function_name("app::main::{{closure}}", "alloc::vec::Vec<app::Config>"),
            "Vec<Config>"
        );
    }

    #[test]
    fn a_type_label_keeps_the_shape_and_drops_the_paths() {
        assert_eq!(type_label("app::config::Config"), "Config");
        assert_eq!(
            type_label("alloc::sync::Arc<app::Database>"),
            "Arc<Database>"
        );
        assert_eq!(type_label("(app::A, [app::b::B; 3])"), "(A, [B; 3])");
        assert_eq!(type_label("app::main::{{closure}}::Late"), "Late");
        assert_eq!(type_label("u64"), "u64");
    }
}
