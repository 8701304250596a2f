//! Copies of the database: taken by themselves while the service runs, and good to start from.

use std::{path::PathBuf, time::Duration};

use reference_service::config::ConnectionUrl;
use serde_json::json;

use crate::support::{App, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_service_takes_copies_from_which_another_can_start() {
    let (mut setup, folder) = config();
    let copies = tempfile::tempdir().unwrap();
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let task = app.post("/api/v1/tasks", &json!({"title": "kept"})).await;
    let path = task.header("location").to_owned();
    app.stop().await;

    setup.database.backup.folder = Some(copies.path().join("new"));
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let taken = async {
        loop {
            if let Some(copy) = newest(&copies.path().join("new")) {
                return copy;
            }
            tokio::task::yield_now().await;
        }
    };
    let copy = tokio::time::timeout(Duration::from_secs(30), taken)
        .await
        .expect("one is taken at once when there is none");
    app.stop().await;

    setup.database.backup.folder = None;
    setup.database.url = ConnectionUrl::from(format!("sqlite:{}", copy.display()).as_str());
    let app = App::start((setup, folder)).await;
    assert_eq!(app.get(&path).await.json()["title"], "kept");
    app.stop().await;
}

/// The copy that is complete: its description lies beside it, with `.json` after its name.
fn newest(folder: &PathBuf) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?;
    let mut described = files.filter_map(|file| {
        let name = file.ok()?.path().to_str()?.to_owned();
        name.strip_suffix(".json").map(PathBuf::from)
    });
    described.find(|copy| copy.exists())
}
