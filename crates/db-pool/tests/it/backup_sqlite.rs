//! Copies of a SQLite file: complete, verified, kept for a while, restored, and proven by a drill.

use std::fs;
use std::path::Path;
use std::time::Duration;

use db_pool::{BackupConfig, BackupError, BackupProgress, Backups, Pool, PoolConfig, Sqlite};
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{Count, chain};

struct Source {
    folder: TempDir,
    pool: Pool<Sqlite>,
    backups: Backups<Sqlite>,
}

impl Source {
    /// A file with 100 notes, and backups into a folder that does not exist yet.
    async fn new(change: impl FnOnce(&mut BackupConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db").display().to_string();
        let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file))
            .await
            .unwrap();
        let script = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
             CREATE TABLE \"odd \"\"name\" (x);
             WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 100)
             INSERT INTO notes SELECT id, 'note ' || id FROM ids;";
        let mut connection = pool.acquire().await.unwrap();
        connection.batch_execute(script).await.unwrap();
        drop(connection);
        let mut config = BackupConfig::new(folder.path().join("copies/daily"));
        change(&mut config);
        let backups = Backups::new(&pool, config).unwrap();
        Self {
            folder,
            pool,
            backups,
        }
    }

    fn target(&self) -> (std::path::PathBuf, String) {
        let path = self.folder.path().join("restored.db");
        let url = format!("sqlite:{}", path.display());
        (path, url)
    }

    fn files(&self) -> Vec<String> {
        names(&self.folder.path().join("copies/daily"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn notes(url: &str) -> i64 {
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(url))
        .await
        .unwrap();
    let mut lane = pool.read().await.unwrap();
    let query = sql_query("SELECT count(*) AS n FROM notes");
    let count: Count = query.get_result(&mut lane).await.unwrap();
    drop(lane);
    pool.close().await;
    count.n
}

#[tokio::test]
async fn a_copy_is_complete_and_can_be_restored_while_the_original_is_written() {
    let source = Source::new(|_| {}).await;
    // An open transaction must neither wait nor be copied.
    let mut writer = source.pool.acquire().await.unwrap();
    writer
        .batch_execute("BEGIN; INSERT INTO notes VALUES (1000, 'not committed')")
        .await
        .unwrap();
    let progress = BackupProgress::default();
    assert_eq!(progress.to_string(), "starting");
    let copy = source.backups.take_with(&progress).await.unwrap();
    assert_eq!(progress.to_string(), "100 %");
    writer.batch_execute("COMMIT").await.unwrap();
    let rows: Vec<_> = copy
        .tables()
        .iter()
        .map(|table| (table.table.as_str(), table.rows))
        .collect();
    assert_eq!(rows, [("notes", 100), ("odd \"name", 0)]);
    source.backups.verify(&copy).await.unwrap();
    let (_, url) = source.target();
    source.backups.restore(&copy, &url).await.unwrap();
    assert_eq!(notes(&url).await, 100);
    assert_eq!(
        source.backups.list().await.unwrap(),
        std::slice::from_ref(&copy)
    );
    assert_eq!(source.files().len(), 2, "the copy and what is known of it");
}

#[tokio::test]
async fn a_drill_restores_and_leaves_nothing_behind() {
    let source = Source::new(|_| {}).await;
    let copy = source.backups.take().await.unwrap();
    let before = source.files();
    source.backups.drill(&copy).await.unwrap();
    assert_eq!(source.files(), before);
}

#[tokio::test]
async fn a_changed_byte_is_found_before_anything_is_restored() {
    let source = Source::new(|_| {}).await;
    let copy = source.backups.take().await.unwrap();
    let mut bytes = fs::read(copy.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(copy.path(), &bytes).unwrap();
    let (path, url) = source.target();
    for result in [
        source.backups.verify(&copy).await,
        source.backups.restore(&copy, &url).await,
        source.backups.drill(&copy).await,
    ] {
        assert!(
            matches!(result, Err(BackupError::Damaged { .. })),
            "{result:?}"
        );
    }
    bytes.truncate(middle);
    fs::write(copy.path(), &bytes).unwrap();
    let error = source.backups.verify(&copy).await.unwrap_err();
    assert!(error.to_string().contains("bytes, not"), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn nothing_is_ever_overwritten_by_a_restore() {
    let source = Source::new(|_| {}).await;
    let copy = source.backups.take().await.unwrap();
    let (path, url) = source.target();
    for existing in [path.clone(), path.with_extension("db-wal")] {
        fs::write(&existing, "precious").unwrap();
        let error = source.backups.restore(&copy, &url).await.unwrap_err();
        assert!(matches!(error, BackupError::TargetInUse { .. }), "{error}");
        assert_eq!(fs::read_to_string(&existing).unwrap(), "precious");
        fs::remove_file(&existing).unwrap();
    }
    source.backups.restore(&copy, &url).await.unwrap();
    assert_eq!(notes(&url).await, 100);
}

#[tokio::test]
async fn a_damaged_database_gives_no_copy_and_older_ones_stay() {
    let source = Source::new(|_| {}).await;
    // What is not in the file yet cannot be damaged there.
    source.pool.close().await;
    let file = source.folder.path().join("app.db");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0xAA);
    fs::write(&file, bytes).unwrap();
    let error = source.backups.take().await.unwrap_err();
    assert!(chain(&error).contains("malformed"), "{}", chain(&error));
    assert_eq!(source.files(), [""; 0], "no half copy is left");
}

#[tokio::test]
async fn only_as_many_copies_stay_as_are_to_be_kept() {
    let source = Source::new(|config| config.keep = 1).await;
    let copy = source.backups.take().await.unwrap();
    // As if they had been taken on earlier days.
    let folder = copy.path().parent().unwrap();
    for day in ["20200101T000000Z", "20200102T000000Z"] {
        for ending in ["", ".json"] {
            let from = format!("{}{ending}", copy.path().display());
            let text = fs::read(&from).unwrap();
            fs::write(folder.join(format!("main-{day}.db{ending}")), text).unwrap();
        }
    }
    fs::write(folder.join("main-20200101T000000Z.txt"), "not ours").unwrap();
    assert_eq!(source.backups.list().await.unwrap().len(), 3);
    assert_eq!(source.backups.prune().await.unwrap(), 2);
    assert_eq!(
        source.backups.list().await.unwrap(),
        std::slice::from_ref(&copy)
    );
    assert!(folder.join("main-20200101T000000Z.txt").exists());
}

#[tokio::test]
async fn what_a_killed_process_left_behind_goes_with_the_next_copy() {
    let source = Source::new(|config| config.limit = Duration::from_secs(60)).await;
    let folder = source.folder.path().join("copies/daily");
    fs::create_dir_all(&folder).unwrap();
    let old = folder.join("main-20200101T000000Z.db.partial");
    fs::write(&old, "half").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let fresh = folder.join("main-20200102T000000Z.db.partial");
    fs::write(&fresh, "being written").unwrap();
    source.backups.take().await.unwrap();
    assert!(!old.exists());
    assert!(fresh.exists(), "another process may be writing it");
}

#[tokio::test]
async fn the_schedule_takes_one_when_none_is_recent() {
    let source = Source::new(|_| {}).await;
    let day = Duration::from_secs(24 * 3600);
    let scheduled = source.backups.clone();
    let running = tokio::spawn(async move { scheduled.run_every(day).await });
    let taken = async {
        while source.backups.list().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), taken).await.unwrap();
    running.abort();
    let _ = running.await;
    let first = source.backups.list().await.unwrap();
    // A restart of the service: nothing is due.
    let scheduled = source.backups.clone();
    let running = tokio::spawn(async move { scheduled.run_every(day).await });
    for _ in 0..3 {
        assert_eq!(source.backups.list().await.unwrap(), first);
    }
    running.abort();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let source = Source::new(|_| {}).await;
    let blocked = source.folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let backups = Backups::new(&source.pool, BackupConfig::new(blocked.join("copies"))).unwrap();
    let error = backups.take().await.unwrap_err();
    assert!(error.to_string().contains("file/copies"), "{error}");
}

#[tokio::test]
async fn pools_whose_names_differ_only_in_what_a_file_cannot_be_called_keep_their_copies_apart() {
    let source = Source::new(|_| {}).await;
    let folder = source.folder.path().join("copies");
    let mut all = Vec::new();
    for name in ["a/b", "a_b"] {
        let mut config = PoolConfig::embedded(&source.pool.config().url);
        config.name = name.to_owned();
        let pool = Pool::<Sqlite>::connect(config).await.unwrap();
        let mut config = BackupConfig::new(&folder);
        config.keep = 1;
        all.push(Backups::new(&pool, config).unwrap());
    }
    let mut taken = Vec::new();
    for backups in &all {
        taken.push(take_in_some_second(backups).await);
    }
    for (backups, copy) in all.iter().zip(taken) {
        assert_eq!(backups.list().await.unwrap(), [copy]);
        assert_eq!(backups.prune().await.unwrap(), 0);
    }
}

/// Copies with names alike need seconds of their own.
async fn take_in_some_second(backups: &Backups<Sqlite>) -> db_pool::Backup {
    loop {
        match backups.take().await {
            Err(BackupError::TargetInUse { .. }) => tokio::task::yield_now().await,
            taken => return taken.unwrap(),
        }
    }
}

#[tokio::test]
async fn copies_of_the_future_keep_nobody_from_taking_one_and_are_the_first_to_go() {
    let source = Source::new(|config| config.keep = 2).await;
    let first = source.backups.take().await.unwrap();
    let folder = first.path().parent().unwrap().to_owned();
    // As if the clock had been set back since.
    for (stamp, time) in [
        ("20990101T000000Z", "2099-01-01T00:00:00Z"),
        ("20980101T000000Z", "2098-01-01T00:00:00Z"),
    ] {
        let about = format!("{}.json", first.path().display());
        let mut about: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(about).unwrap()).unwrap();
        about["taken_at"] = time.into();
        fs::copy(first.path(), folder.join(format!("main-{stamp}.db"))).unwrap();
        let text = about.to_string();
        fs::write(folder.join(format!("main-{stamp}.db.json")), text).unwrap();
    }
    for name in source.files() {
        if !name.contains("-209") {
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
    let backups = source.backups.clone();
    let running = tokio::spawn(async move { backups.run_every(Duration::from_secs(3600)).await });
    let taken = async {
        loop {
            let copies = source.backups.list().await.unwrap();
            let new = copies.into_iter().find(|copy| {
                copy.taken_at() >= first.taken_at()
                    && copy.taken_at() <= std::time::SystemTime::now()
            });
            if let Some(copy) = new {
                return copy;
            }
            tokio::task::yield_now().await;
        }
    };
    let new = timeout(Duration::from_secs(30), taken).await.unwrap();
    let pruned = async {
        while source.backups.list().await.unwrap().len() > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), pruned).await.unwrap();
    running.abort();
    assert!(source.backups.list().await.unwrap().contains(&new));
}

#[tokio::test]
async fn what_is_dropped_or_takes_too_long_leaves_nothing_behind() {
    use futures_util::FutureExt;

    let source = Source::new(|_| {}).await;
    let copy = source.backups.take().await.unwrap();
    let before = source.files();
    let (path, url) = source.target();
    for polls in 1..4 {
        let mut restoring = Box::pin(source.backups.restore(&copy, &url));
        let mut drilling = Box::pin(source.backups.drill(&copy));
        for _ in 0..polls {
            let _ = drilling.as_mut().now_or_never();
            if restoring.as_mut().now_or_never().is_some() {
                fs::remove_file(&path).unwrap();
                break;
            }
        }
        drop((restoring, drilling));
    }
    let gone = || {
        source.files() == before
            && names(source.folder.path())
                .iter()
                .all(|name| !name.contains("restor"))
    };
    crate::support::eventually("nothing is left", gone).await;

    let mut config = BackupConfig::new(source.folder.path().join("slow"));
    config.limit = Duration::from_nanos(1);
    let backups = Backups::new(&source.pool, config).unwrap();
    let error = backups.take().await.unwrap_err();
    assert!(matches!(error, BackupError::TimedOut { .. }), "{error}");
    let slow = source.folder.path().join("slow");
    crate::support::eventually("nothing is left", || names(&slow).is_empty()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn copies_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let source = Source::new(|_| {}).await;
    source.backups.take().await.unwrap();
    let folder = source.folder.path().join("copies/daily");
    for name in source.files() {
        let mode = fs::metadata(folder.join(&name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
