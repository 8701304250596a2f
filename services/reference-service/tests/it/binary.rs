//! The built binary as a user runs it: words, files, signals, exit codes.

use std::{
    collections::HashMap,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};

use crate::support::{Answer, PostgresDatabase, fetch, fetch_until, send};

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that serves, and where.
struct Served {
    child: Child,
    http: SocketAddr,
    admin: SocketAddr,
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-service"));
    command
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("APP__HTTP__ADDRESS", "127.0.0.1:0")
        .env("APP__ADMIN__ADDRESS", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output())
        .await
        .expect("ends by itself")
        .unwrap()
}

#[track_caller]
fn expect_exit(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
}

impl Served {
    async fn start(mut command: Command) -> Self {
        Self::start_with_log(&mut command, Stdio::inherit()).await
    }

    /// Starts it and reads from its output where it listens.
    async fn start_with_log(command: &mut Command, log: Stdio) -> Self {
        let mut child = command.stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut urls = HashMap::new();
        while urls.len() < 4 {
            let line = timeout(PATIENCE, lines.next_line())
                .await
                .expect("says where it listens");
            let line = line.unwrap().expect("the process ended early");
            if let Some((name, url)) = line.trim().split_once("http://") {
                let address = url.split('/').next().unwrap().parse().unwrap();
                urls.insert(name.trim().to_owned(), address);
            }
        }
        // Someone has to read what else it prints.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            http: urls["API"],
            admin: urls["Metrics"],
        }
    }

    async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    /// SIGTERM, then its exit code.
    async fn stop(mut self) -> Option<i32> {
        self.signal("TERM").await;
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("ends by itself")
            .unwrap()
            .code()
    }
}

/// By the shell's own `kill`: the program of that name is not on every system.
async fn signal(child: &Child, name: &str) {
    let words = format!("kill -{name} {}", child.id().unwrap());
    let sent = Command::new("sh").args(["-c", &words]).status().await;
    assert!(sent.unwrap().success());
}

/// A file of records, and how many.
fn records(folder: &TempDir, count: usize) -> String {
    let path = folder.path().join("records.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for index in 0..count {
        let record = json!({"title": format!("record {index}"), "text": "imported text",
                            "tags": ["imported"], "importance": 1 + index % 5});
        writeln!(file, "{record}").unwrap();
    }
    file.flush().unwrap();
    path.to_str().unwrap().to_owned()
}

/// Import, read, stop, start again: everything is there, and metrics tell which tier answered.
async fn what_a_user_does(url: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = records(&folder, 1200);
    let command = |words: &[&str]| {
        let mut command = command(folder.path(), words);
        // Else the second start may have in memory what it is to find on disk.
        command.env("APP__CACHE__MEMORY__HOT_KEYS", "0");
        if let Some(url) = &url {
            command.env("APP__DATABASE__URL", url);
        }
        command
    };
    let imported = output(&mut command(&["import", &file])).await;
    expect_exit(&imported, 0, &[]);
    let said = String::from_utf8_lossy(&imported.stdout);
    assert!(said.starts_with("1,200 records imported"), "{said}");

    let served = Served::start(command(&[])).await;
    let refused = output(&mut command(&["import", &file])).await;
    expect_exit(&refused, 74, &["held by another process", "stop it first"]);
    let mut seen = Vec::new();
    let mut path = "/api/v1/records?limit=100&tag=imported".to_owned();
    loop {
        let page = fetch(served.http, &path).await.unwrap().json();
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|record| record["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/records?limit=100&tag=imported&after={next}"),
            None => break,
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1200);
    let path = format!("/api/v1/records/{}", seen[0]);
    let first = fetch(served.http, &path).await.unwrap();
    assert_eq!(first.json()["text"], "imported text");
    assert_eq!(
        first.header("cache-status"),
        "records; fwd=miss; detail=database"
    );
    let second = fetch(served.http, &path).await.unwrap();
    assert_eq!(second.header("cache-status"), "records; hit; detail=memory");
    let series = [
        "tiered_cache_requests_total{cache=\"records\",tier=\"memory\",outcome=\"hit\"} 1",
        "tiered_cache_requests_total{cache=\"records\",tier=\"disk\",outcome=\"miss\"} 1",
        "db_pool_acquire_seconds_count",
        "http_server_request_duration_seconds_count",
        "process_resident_memory_bytes",
        "init_graph_start_seconds",
    ];
    // The cache tells its counts once a second.
    let all = |metrics: &Answer| series.iter().all(|series| metrics.body.contains(series));
    let metrics = fetch_until(served.admin, "/metrics", all).await;
    assert_eq!(
        metrics.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(served.stop().await, Some(0));

    let served = Served::start(command(&["serve", "--demo"])).await;
    let again = fetch(served.http, &path).await.unwrap();
    assert_eq!(again.header("cache-status"), "records; hit; detail=disk");
    assert_eq!(again.json(), first.json());
    let tasks = fetch(served.http, "/api/v1/tasks").await.unwrap().json();
    assert_eq!(
        tasks["items"],
        json!([]),
        "the sample is for an empty database only"
    );
    let health = served.http.to_string();
    expect_exit(
        &output(&mut command(&["health", "--address", &health])).await,
        0,
        &[],
    );
    assert_eq!(served.stop().await, Some(0));
    expect_exit(
        &output(&mut command(&["health", "--address", &health])).await,
        1,
        &["/readyz"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_serve_stop_and_serve_again_on_sqlite() {
    what_a_user_does(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_serve_stop_and_serve_again_on_postgres() {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    what_a_user_does(Some(database.url().expose().to_owned())).await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_words_and_bad_configuration_exit_with_64_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    expect_exit(
        &output(&mut command(folder.path(), &["fly"])).await,
        64,
        &["fly"],
    );
    for (key, value, words) in [
        (
            "APP__HTTP__ADRESS",
            "127.0.0.1:1",
            &["http.adress", "did you mean"][..],
        ),
        ("APP__CACHE__TTL", "soon", &["cache.ttl", "soon"]),
        (
            "APP__DATABASE__URL",
            "mysql://h/d",
            &["database.url", "mysql://h/d"],
        ),
        ("APP_CONFIG", "missing.toml", &["missing.toml"]),
    ] {
        let refused = output(command(folder.path(), &[]).env(key, value)).await;
        expect_exit(&refused, 64, words);
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_is_what_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let printed = output(command(folder.path(), &["config"]).env("APP__CACHE__TTL", "90m")).await;
    expect_exit(&printed, 0, &[]);
    let text = String::from_utf8(printed.stdout).unwrap();
    let config: reference_service::config::Config = toml::from_str(&text).unwrap();
    assert_eq!(config.cache.ttl, Duration::from_secs(90 * 60));
    let document = output(&mut command(folder.path(), &["openapi"])).await;
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_exits_with_69() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let refused = output(command(folder.path(), &[]).env("APP__HTTP__ADDRESS", &address)).await;
    expect_exit(&refused, 69, &[&address, "APP__HTTP__ADDRESS"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_database_file_exits_with_74_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/service.db");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(&file, "not a database, but somebody's data".repeat(100)).unwrap();
    let refused = output(&mut command(folder.path(), &[])).await;
    expect_exit(&refused, 74, &["service.db"]);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept, "not a database, but somebody's data".repeat(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_cannot_be_made_exits_with_74() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "in the way").unwrap();
    expect_exit(
        &output(&mut command(folder.path(), &[])).await,
        74,
        &["data"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_during_start_up_exits_with_0() {
    // A database that takes the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "postgres://a@{}/b?sslmode=disable",
        silent.local_addr().unwrap()
    );
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &[])
        .env("APP__DATABASE__URL", &url)
        .spawn()
        .unwrap();
    let _connection = timeout(PATIENCE, silent.accept())
        .await
        .expect("it starts")
        .unwrap();
    signal(&child, "TERM").await;
    let ended = timeout(PATIENCE, child.wait())
        .await
        .expect("ends by itself")
        .unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &[]);
    command.env("APP__SHUTDOWN__DRAIN_DELAY", "1h");
    let mut served = Served::start(command).await;
    served.signal("TERM").await;
    // The first one is noticed when readiness is off; only then the second one is the second.
    fetch_until(served.http, "/readyz", |answer| answer.status == 503).await;
    served.signal("TERM").await;
    let ended = timeout(PATIENCE, served.child.wait())
        .await
        .expect("at once")
        .unwrap();
    assert_eq!(ended.code(), Some(143));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_nothing_older_than_an_answer_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = records(&folder, 1);
    expect_exit(
        &output(&mut command(folder.path(), &["import", &file])).await,
        0,
        &[],
    );
    let mut served = Served::start(command(folder.path(), &[])).await;
    let list = fetch(served.http, "/api/v1/records").await.unwrap().json();
    let path = format!(
        "/api/v1/records/{}",
        list["items"][0]["id"].as_str().unwrap()
    );
    for round in 1..=4 {
        // Into every tier, so that there is something that could come back.
        fetch(served.http, &path).await.unwrap();
        let body = json!({"title": format!("round {round}"), "text": ""}).to_string();
        let put = send(served.http, "PUT", &path, &body).await;
        assert_eq!(put.status, 200, "{put:?}");
        served.child.kill().await.unwrap();
        served = Served::start(command(folder.path(), &[])).await;
        let read = fetch(served.http, &path).await.unwrap().json();
        assert_eq!(read["title"], format!("round {round}"));
    }
    assert_eq!(served.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: there is no /dev/full on this system");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &[]);
    let log = std::fs::OpenOptions::new().write(true).open(full).unwrap();
    let served = Served::start_with_log(command.env("APP__LOG__FILTER", "debug"), log.into()).await;
    assert_eq!(fetch(served.http, "/readyz").await.unwrap().status, 200);
    assert_eq!(served.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_is_no_file_to_import() {
    let folder = tempfile::tempdir().unwrap();
    let refused = output(&mut command(folder.path(), &["import", "/dev/stdin"])).await;
    expect_exit(&refused, 74, &["/dev/stdin", "not a regular file"]);
}
