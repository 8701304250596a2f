//! The history in a file: read with suspicion, replaced as a whole. All of this blocks on the file system.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{error, fmt, process};

use super::{History, line};

/// What is wrong with a history file. It never fails a start: what can be read is used, the rest is ignored and replaced
/// when the next start is written down.
#[derive(Debug)]
pub struct HistoryError {
    path: PathBuf,
    problem: String,
    source: Option<io::Error>,
}

impl History {
    /// Reads the file at `path`; one that is missing is an empty history. Blocks on the file system.
    ///
    /// Lines that cannot be read are left out and the first of them is told beside what could be read. A file over
    /// 16 MiB and what is no file are not read at all.
    ///
    /// ```
    /// # fn main() -> init_graph::Result<()> {
    /// use init_graph::History;
    ///
    /// # let folder = std::env::temp_dir().join(format!("history-{}", std::process::id()));
    /// let path = folder.join("starts.jsonl");
    /// History::new().save(&path)?;
    /// let (history, error) = History::load(&path);
    /// assert!(error.is_none());
    /// for start in history.runs() {
    ///     println!("{:?}, {} components", start.took, start.nodes.len());
    /// }
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(path: impl AsRef<Path>) -> (Self, Option<HistoryError>) {
        let path = path.as_ref();
        let mut history = Self::new();
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (history, None),
            Err(error) => {
                return (
                    history,
                    Some(HistoryError::new(path, "cannot be read", error)),
                );
            }
        };
        let mut problem = None;
        let mut ignored = 0;
        for (number, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match line::read(text) {
                Ok(run) => history.push(run),
                Err(what) => {
                    ignored += 1;
                    problem.get_or_insert((number, what));
                }
            }
        }
        let error = problem.map(|(number, what)| HistoryError {
            path: path.to_owned(),
            problem: match ignored {
                1 => format!("line {number} is ignored: {what}"),
                _ => format!("{ignored} lines are ignored, the first is line {number}: {what}"),
            },
            source: None,
        });
        (history, error)
    }

    /// Replaces the file at `path` as a whole: writes another one beside it and renames that. Makes the folder where it
    /// is missing. Blocks on the file system.
    ///
    /// Of two processes that load, record and save at once, one may lose its start; the file is whole in any case.
    ///
    /// # Errors
    /// When the file system refuses; what was there before is still there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), HistoryError> {
        let path = path.as_ref();
        replace(path, &self.lines())
            .map_err(|error| HistoryError::new(path, "cannot be written", error))
    }

    /// The newest runs that fit.
    fn lines(&self) -> String {
        let mut lines = Vec::new();
        let mut bytes = 0;
        for run in self.runs.iter().rev() {
            let line = line::write(run);
            bytes += line.len() + 1;
            if bytes > WRITTEN_BYTES_MAX {
                break;
            }
            lines.push(line);
        }
        lines.iter().rev().flat_map(|line| [line, "\n"]).collect()
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > READ_BYTES_MAX {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    File::open(path)?
        .take(READ_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("the path names no file"))?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut temporary = temporary_prefix(name.to_owned());
    // A name of its own: two writers never share a file, so whichever is renamed last is whole.
    temporary.push(format!(
        "{}-{}.tmp",
        process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    let temporary = folder.join(temporary);
    let written = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    remove_leftovers(folder, &temporary_prefix(name.to_owned()));
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    // Otherwise the name could reach the disk before the content does.
    file.sync_all()
}

/// Removes what processes have left behind that were killed while they wrote.
fn remove_leftovers(folder: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.take(ENTRIES_MAX).flatten() {
        let name = entry.file_name();
        let ours = name
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
            && name.as_encoded_bytes().ends_with(b".tmp");
        let age = || {
            SystemTime::now()
                .duration_since(entry.metadata()?.modified()?)
                .map_err(io::Error::other)
        };
        if ours && age().is_ok_and(|age| age > LEFTOVER_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn temporary_prefix(name: OsString) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

impl HistoryError {
    fn new(path: &Path, problem: &str, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.to_owned(),
            source: Some(source),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "history file `{}`: {}",
            self.path.display(),
            self.problem
        )
    }
}

impl error::Error for HistoryError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

const WRITTEN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// More than is ever written, so that what one release writes another one reads.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Files of a folder that are looked at for leftovers.
const ENTRIES_MAX: usize = 1_000;
const LEFTOVER_AGE: Duration = Duration::from_secs(600);
