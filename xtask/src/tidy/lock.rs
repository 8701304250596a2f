//! Packages that must not come in through any dependency. `cargo deny` knows the same list; this works without it.

use super::{Finding, Source};

/// TLS is rustls with ring: no C library of TLS to install, no second provider to clash with the first.
const BANNED: [&str; 5] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(lock) = sources.iter().find(|source| source.path == "Cargo.lock") else {
        return vec![Finding::new(
            "Cargo.lock",
            1,
            "missing; it is committed, as there is a binary",
        )];
    };
    let banned = |line: &str| {
        let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
        BANNED
            .contains(&name)
            .then(|| format!("{name} is banned, see deny.toml"))
    };
    lock.text
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some(Finding::new(&lock.path, index + 1, banned(line)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_package_is_found_with_its_line() {
        let text = "[[package]]\nname = \"openssl-probe\"\n[[package]]\nname = \"openssl-sys\"\n";
        let lock = Source {
            path: "Cargo.lock".to_owned(),
            text: text.to_owned(),
        };
        let found = check(&[lock]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "Cargo.lock:4: openssl-sys is banned, see deny.toml"
        );
    }

    #[test]
    fn deny_toml_bans_the_same() {
        let deny = include_str!("../../../deny.toml");
        for name in BANNED {
            assert!(deny.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
