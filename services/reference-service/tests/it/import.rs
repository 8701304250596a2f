//! `import`: all of a file or nothing of it.

use std::{fs, path::PathBuf};

use reference_service::{
    cli::Import,
    commands,
    config::Config,
    domain::RecordFilter,
    failure::{self, Failure},
    store::Store,
};
use tempfile::TempDir;

use crate::support::{PostgresDatabase, config};

const GOOD: &str = "{\"title\":\"good\",\"text\":\"t\"}\n";

async fn import(
    config: &Config,
    folder: &TempDir,
    text: impl AsRef<[u8]>,
    skip_bad: bool,
) -> Result<(), Failure> {
    let file = folder.path().join("records.ndjson");
    fs::write(&file, text).unwrap();
    commands::import::run(config.clone(), Import { file, skip_bad })
        .await
        .map(|_| ())
}

async fn stored(config: &Config) -> (usize, u64) {
    let store = Store::connect(config.database.pool()).await.unwrap();
    store.migrate().await.unwrap();
    let records = store
        .records(&RecordFilter::default(), None, 1000)
        .await
        .unwrap();
    let epoch = store.cache_epoch().await.unwrap();
    store.close().await;
    (records.len(), epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_keeps_everything_out_unless_it_may_be_skipped() {
    let (config, folder) = config();
    let text = format!("{GOOD}{GOOD}no json\n{GOOD}{{\"title\":\"\",\"text\":\"\"}}\n");
    let failed = import(&config, &folder, &text, false)
        .await
        .expect_err("line 3 is bad");
    assert_eq!(failed.code(), failure::IO);
    assert!(
        failed.message().contains("2 bad line(s)"),
        "{}",
        failed.message()
    );
    let (_, epoch) = stored(&config).await;
    import(&config, &folder, &text, true).await.unwrap();
    assert_eq!(stored(&config).await, (3, epoch + 1), "and caches are told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_empty_missing_or_binary_do_no_harm() {
    let (config, folder) = config();
    import(&config, &folder, "", false).await.unwrap();
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let failed = import(&config, &folder, &binary, false)
        .await
        .expect_err("no records");
    assert_eq!(failed.code(), failure::IO);
    let missing = Import {
        file: PathBuf::from("/does/not/exist"),
        skip_bad: true,
    };
    let failed = commands::import::run(config.clone(), missing)
        .await
        .expect_err("no file");
    assert_eq!(failed.code(), failure::IO);
    assert_eq!(stored(&config).await.0, 0);
}

/// 5,000 records: real text where the file is beside the repository, made-up text elsewhere.
async fn five_thousand_records_are_imported_whole(config: &Config, folder: &TempDir) {
    let real =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/records.ndjson");
    let file = if real.exists() {
        real
    } else {
        let made = folder.path().join("made.ndjson");
        fs::write(&made, (0..5000).map(made_up).collect::<String>()).unwrap();
        made
    };
    let options = Import {
        file,
        skip_bad: false,
    };
    commands::import::run(config.clone(), options)
        .await
        .unwrap();
    let store = Store::connect(config.database.pool()).await.unwrap();
    let mut found = 0;
    let mut after = None;
    loop {
        let page = store
            .records(&RecordFilter::default(), after.as_ref(), 1000)
            .await
            .unwrap();
        found += page.len();
        match page.last() {
            Some(last) => after = Some(last.key()),
            None => break,
        }
    }
    store.close().await;
    assert_eq!(found, 5000);
}

/// Texts of all sizes, tags that few and tags that many share, characters beyond ASCII.
fn made_up(index: usize) -> String {
    let text = "pr\u{fc}fung \u{1f980} ".repeat(index % 40);
    let tags = [format!("tag{}", index % 7), format!("rare{}", index / 50)];
    let record = serde_json::json!({
        "title": format!("record {index}"), "text": text, "tags": tags, "importance": 1 + index % 5,
    });
    format!("{record}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_records_are_imported_on_sqlite() {
    let (config, folder) = config();
    five_thousand_records_are_imported_whole(&config, &folder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_records_are_imported_on_postgres() {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    let (mut config, folder) = config();
    config.database.url = database.url();
    five_thousand_records_are_imported_whole(&config, &folder).await;
    database.drop_it().await;
}
