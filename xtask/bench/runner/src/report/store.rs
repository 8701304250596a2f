//! Reports on disk: written whole or not at all, and read only if this program knows their version.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::{Report, SCHEMA_VERSION, csv, html, markdown};

/// The file that is the report; the others are rendered from it.
pub(crate) const FILE: &str = "report.json";

impl Report {
    /// Writes `report.json` into `folder`, then what is rendered from it: CSV, Markdown, HTML.
    ///
    /// # Errors
    /// If the folder cannot be written or is full; no file is left half written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let mut json = serde_json::to_string_pretty(self).context("the report as JSON")?;
        json.push('\n');
        write(folder, FILE, &json)?;
        write(folder, "report.csv", &csv::csv(self))?;
        write(folder, "report.md", &markdown::markdown(self))?;
        write(folder, "report.html", &html::html(self))
    }

    /// Reads one that [`Self::write`] wrote.
    ///
    /// # Errors
    /// If there is none, or if it is of a version that this program does not know.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("{name}"))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("{name} is no report: it is no JSON"))?;
        match value
            .get("schema_version")
            .and_then(serde_json::Value::as_u64)
        {
            Some(version) if version == u64::from(SCHEMA_VERSION) => {}
            Some(version) => bail!(
                "{name} is a report of version {version}, and this program reads version \
                 {SCHEMA_VERSION}; measure again"
            ),
            None => bail!("{name} is no report: it has no schema_version"),
        }
        serde_json::from_value(value).with_context(|| format!("{name} is no report"))
    }
}

/// Beside the old file first, then in its place.
fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let attempt = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        // Some file systems tell that they are full only now.
        file.as_file().sync_all()?;
        // Temporary files are their owner's alone; a report is an ordinary file.
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_report_survives_writing_and_reading_with_its_renderings_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let report = sample();
        report.write(folder.path()).expect("written");
        let read = Report::read(&folder.path().join(FILE)).expect("read");
        assert!(read == report);
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["report.csv", "report.html", "report.json", "report.md"]
        );
    }

    #[test]
    fn a_report_of_another_version_is_refused_with_both_versions() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        for (text, expected) in [
            (
                r#"{"schema_version": 2}"#,
                "version 2, and this program reads version 1",
            ),
            (r#"{"schema_version": "1"}"#, "no schema_version"),
            (r#"{"schema_version": 1}"#, "is no report"),
            ("[]", "no schema_version"),
            ("{", "it is no JSON"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = Report::read(&path).expect_err(text);
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_one_clear_message() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = sample()
            .write(&folder.path().join("gone"))
            .expect_err("no folder");
        let text = format!("{error:#}");
        assert!(text.contains("cannot write"), "{text}");
        assert!(text.contains("report.json"), "{text}");
    }
}
