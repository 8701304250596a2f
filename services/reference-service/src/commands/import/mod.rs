//! `import`: the records of a file into the database, all of them or none.
//!
//! Two passes: the first reads and checks every line, so that a bad one is found before anything
//! is written; the second inserts in batches inside one transaction. Memory stays flat however
//! large the file is.

mod lines;

use std::{
    fs::File,
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use db_pool::PoolConfig;
use indicatif::{HumanCount, ProgressBar, ProgressFinish, ProgressStyle};
use jiff::Timestamp;
use tokio::{sync::mpsc, task::spawn_blocking, time::Instant};

use self::lines::{BadLine, Lines};
use crate::{
    cli::Import,
    config::{Config, ConnectionUrl},
    data_dir::DataLock,
    domain::Record,
    failure::{self, DataError, Failure},
    store::{Batch, Hold, Store},
};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Some lines are no records.
    #[error("{path} has {count} bad line(s), nothing was imported; --skip-bad leaves them out")]
    BadLines {
        /// The file.
        path: PathBuf,
        /// How many lines.
        count: u64,
    },
    /// The file was changed between the two passes.
    #[error("{path} changed while it was imported, nothing was imported")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl ImportError {
    /// The exit code of this failure.
    pub fn code(&self) -> u8 {
        failure::IO
    }
}

/// Inserts the records of the file and says how it went.
///
/// Refuses while a server holds the data, and raises the cache epoch, so that no server serves
/// older copies from its disk or from Redis afterwards.
///
/// # Errors
///
/// The file cannot be read or has bad lines, the data is in use, or the database failed; nothing
/// was written then.
pub async fn run(config: Config, options: Import) -> Result<ExitCode, Failure> {
    let _lock = DataLock::take(&config.database.pool())?;
    let scan = {
        let options = options.clone();
        spawn_blocking(move || scan(&options.file))
            .await
            .map_err(io::Error::from)
    };
    let scan = scan.map_err(Failure::Runtime)??;
    report(&scan);
    if scan.bad_count > 0 && !options.skip_bad {
        let path = options.file;
        return Err(ImportError::BadLines {
            path,
            count: scan.bad_count,
        }
        .into());
    }
    let pool = PoolConfig {
        // The one transaction may take long; that is no leak.
        leak_after: None,
        ..config.database.pool()
    };
    let store = Store::connect(pool).await?;
    let imported = import(&store, &config.database.url, &options, &scan).await;
    store.close().await;
    imported
}

async fn import(
    store: &Store,
    url: &ConnectionUrl,
    options: &Import,
    scan: &Scan,
) -> Result<ExitCode, Failure> {
    let in_use = || DataError::InUse {
        what: url.to_string(),
    };
    let _hold = store.hold(Hold::Alone).await?.ok_or_else(in_use)?;
    store.migrate().await?;
    let began = Instant::now();
    let (batches, queue) = mpsc::channel(BATCHES_WAITING_MAX);
    let bar = progress_bar(scan.records);
    let reader = spawn_blocking({
        let (file, expected, bar) = (options.file.clone(), scan.records, bar.clone());
        move || send_batches(&file, expected, &batches, &bar)
    });
    let imported = store.import_records(queue).await;
    // The reader's reason comes first: the store only sees that the batches ended early.
    reader
        .await
        .map_err(|error| Failure::Runtime(error.into()))??;
    let imported = imported?;
    bar.finish_and_clear();
    let took = began.elapsed().max(Duration::from_millis(1));
    let _ = writeln!(
        io::stdout(),
        "{} records imported in {took:.2?} ({}/s), {} lines skipped",
        HumanCount(imported),
        HumanCount(imported.saturating_mul(1000) / u64::try_from(took.as_millis()).unwrap_or(1)),
        HumanCount(scan.bad_count),
    );
    Ok(ExitCode::SUCCESS)
}

/// What the first pass found.
#[derive(Debug, Default)]
struct Scan {
    records: u64,
    bad_count: u64,
    /// The first of the bad lines.
    bad: Vec<BadLine>,
}

fn scan(path: &Path) -> Result<Scan, ImportError> {
    let mut scan = Scan::default();
    for line in open(path)? {
        match line.map_err(|source| ImportError::File {
            path: path.to_owned(),
            source,
        })? {
            Ok(_record) => scan.records += 1,
            Err(bad) => {
                scan.bad_count += 1;
                if scan.bad.len() < BAD_LINES_SHOWN_MAX {
                    scan.bad.push(bad);
                }
            }
        }
    }
    Ok(scan)
}

fn report(scan: &Scan) {
    let mut out = io::stderr().lock();
    for bad in &scan.bad {
        let _ = writeln!(out, "line {}: {}", bad.number, bad.reason);
    }
    let more = scan.bad_count.saturating_sub(scan.bad.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "and {} more bad lines", HumanCount(more));
    }
}

/// The second pass. Anything unexpected ends it without [`Batch::End`], and so the transaction
/// without a commit.
fn send_batches(
    path: &Path,
    expected: u64,
    batches: &mpsc::Sender<Batch>,
    bar: &ProgressBar,
) -> Result<(), ImportError> {
    let now = Timestamp::now();
    let mut sent = 0;
    let mut batch = Vec::with_capacity(BATCH_RECORDS);
    for line in open(path)? {
        let line = line.map_err(|source| ImportError::File {
            path: path.to_owned(),
            source,
        })?;
        let Ok(new) = line else { continue };
        // The first pass accepted the same line; if it did not, the count below tells.
        let Ok(record) = Record::new(new, now) else {
            continue;
        };
        batch.push(record);
        sent += 1;
        if batch.len() == BATCH_RECORDS {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_RECORDS));
            if batches.blocking_send(Batch::Records(full)).is_err() {
                // The store gave up; it has the reason.
                return Ok(());
            }
            bar.set_position(sent);
        }
    }
    if sent != expected {
        return Err(ImportError::Changed {
            path: path.to_owned(),
        });
    }
    for last in [Batch::Records(batch), Batch::End] {
        if batches.blocking_send(last).is_err() {
            return Ok(());
        }
    }
    bar.set_position(sent);
    Ok(())
}

/// Two passes need a file that stays: of a pipe the second would find nothing.
fn open(path: &Path) -> Result<Lines<BufReader<File>>, ImportError> {
    let failed = |source| ImportError::File {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(failed)?.is_file() {
        let reason = "not a regular file; save it first";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    let file = File::open(path).map_err(failed)?;
    Ok(Lines::new(BufReader::new(file)))
}

/// Shown on a terminal only.
fn progress_bar(records: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} records  {per_sec}  eta {eta}",
    )
    .expect("the template is constant");
    ProgressBar::new(records)
        .with_style(style)
        .with_finish(ProgressFinish::AndClear)
}

const BATCH_RECORDS: usize = 500;
const BATCHES_WAITING_MAX: usize = 4;
const BAD_LINES_SHOWN_MAX: usize = 20;
