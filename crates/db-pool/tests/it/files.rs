//! SQLite files that cannot be opened: the error comes at once, with a kind and the path.

use std::fs;
use std::path::Path;

use db_pool::{ConnectErrorKind, OpenError, Pool, PoolConfig, Sqlite};

use crate::sqlite_support::sqlite;
use crate::support::chain;

async fn open(url: impl Into<String>) -> Result<Pool<Sqlite>, OpenError> {
    Pool::connect(PoolConfig::embedded(url)).await
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_missing_folder_is_an_error_and_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/app.db");
    let error = open(text(&path)).await.unwrap_err();
    let connect = error.connect().unwrap();
    assert_eq!(connect.kind(), ConnectErrorKind::NoSuchDirectory, "{error}");
    assert_eq!(connect.path(), Some(&*path));
    assert!(
        connect.is_permanent() && chain(&error).contains("missing"),
        "{}",
        chain(&error)
    );
    assert!(!path.parent().unwrap().exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    fs::write(
        &path,
        "This is not a database, whatever its name says. ".repeat(200),
    )
    .unwrap();
    let error = open(text(&path)).await.unwrap_err();
    assert!(
        error.is_corrupt() && !error.is_read_only(),
        "{}",
        chain(&error)
    );
    assert_eq!(error.connect().unwrap().path(), Some(&*path));
    assert_eq!(
        fs::read(&path).unwrap()[..4],
        *b"This",
        "the file is left as it was"
    );
}

#[tokio::test]
async fn a_damaged_database_is_corrupt() {
    let (folder, pool) = sqlite().await;
    assert_eq!(pool.close().await, 0);
    let path = folder.path().join("app.db");
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 200);
    // The list of tables, behind the header.
    bytes[100..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = open(text(&path)).await.unwrap_err();
    assert!(error.is_corrupt(), "{}", chain(&error));
}

#[tokio::test]
async fn a_read_only_database_is_an_error_when_it_is_opened() {
    let (folder, pool) = sqlite().await;
    pool.close().await;
    let path = text(&folder.path().join("app.db"));
    let error = open(format!("sqlite:{path}?mode=ro")).await.unwrap_err();
    assert!(
        error.is_read_only() && !error.is_corrupt(),
        "{}",
        chain(&error)
    );
}

/// Permissions bind everybody but root, who may run the tests: `/proc` takes no files from root either.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_takes_no_file_is_a_read_only_error() {
    let error = open("/proc/app.db").await.unwrap_err();
    assert!(error.is_read_only(), "{}", chain(&error));
}

#[tokio::test]
async fn a_folder_in_place_of_the_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(format!("sqlite:{}", text(folder.path())))
        .await
        .unwrap_err();
    assert_eq!(
        error.connect().unwrap().kind(),
        ConnectErrorKind::Other,
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn urls_that_name_no_file_are_refused() {
    for url in [
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite:a.db?mode=memory",
        "sqlite:a\0b",
        "",
    ] {
        let error = open(url).await.unwrap_err();
        assert!(error.is_config(), "{url}: {error}");
    }
    let error = open("postgres://localhost/app").await.unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("another database"),
        "{error}"
    );
}

#[tokio::test]
async fn paths_may_hold_any_character() {
    let folder = tempfile::tempdir().unwrap();
    let name = "ä b%20c#d.db";
    let path = text(&folder.path().join(name));
    let pool = open(path.clone()).await.unwrap();
    assert_eq!(pool.close().await, 0);
    let pool = open(format!("sqlite:{path}?cache=private")).await.unwrap();
    assert_eq!(pool.close().await, 0);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, [name], "both found the same file");
}
