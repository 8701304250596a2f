//! What a history file remembers, and that nothing in it can harm a start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use init_graph::{BoxError, Graph, History, Outcome, Report};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::ms;

/// A report of a start in which `database` took so long, and `cache` failed.
async fn start(database: u64) -> Report {
    let mut graph = Graph::new();
    let work = move || async move {
        sleep(ms(database)).await;
        Ok::<_, BoxError>(())
    };
    graph.add(work).named("database");
    graph
        .add(|| async { Err::<(), _>("refused") })
        .named("cache")
        .optional();
    let running = graph.start().await.unwrap();
    let report = running.report();
    running.shutdown().await.unwrap();
    report
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("start.json")
}

/// Loads a history that has nothing wrong with it.
fn load(path: &Path) -> History {
    let (history, error) = History::load(path);
    assert!(error.is_none(), "{error:?}");
    history
}

/// What is said about a file of this content, and how many starts could be read.
fn warning(content: impl AsRef<[u8]>) -> (String, usize) {
    let folder = TempDir::new().unwrap();
    fs::write(file(&folder), content).unwrap();
    let (history, error) = History::load(file(&folder));
    let error = error.unwrap();
    assert_eq!(error.path(), file(&folder));
    let text = error.to_string();
    assert!(text.contains("start.json"), "{text}");
    (text, history.runs().len())
}

fn line(name: &str, own_us: &str) -> String {
    format!(
        r#"{{"version":1,"graph":"00000000000000ff","outcome":"started","took_us":9,"nodes":[{{"name":"{name}","own_us":{own_us},"outcome":"ready"}}]}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn what_is_saved_is_read_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state/of/the/service.json");
    let mut history = load(&path);
    assert_eq!(history.runs().len(), 0);
    history.record(&start(30).await);
    history.save(&path).unwrap();
    let read = load(&path);
    assert!(read.runs().eq(history.runs()));
    let run = read.runs().next().unwrap();
    assert_eq!((run.started, run.took, run.left_out), (true, ms(30), 0));
    let nodes: Vec<_> = run
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.own, node.outcome))
        .collect();
    assert_eq!(
        nodes,
        [
            ("database", ms(30), Outcome::Ready),
            ("cache", ms(0), Outcome::Failed)
        ]
    );
    assert_eq!(
        (read.expected("database"), read.expected("cache")),
        (Some(ms(30)), None)
    );
}

#[tokio::test(start_paused = true)]
async fn the_file_is_one_line_of_json_for_each_start() {
    let folder = TempDir::new().unwrap();
    let mut history = History::new();
    history.record(&start(30).await);
    history.record(&start(50).await);
    history.save(file(&folder)).unwrap();
    let text = fs::read_to_string(file(&folder)).unwrap();
    expect_test::expect![[r#"
        {"version":1,"graph":"d4202dc2c96dd2ae","outcome":"started","took_us":30000,"left_out":0,"nodes":[{"name":"database","own_us":30000,"outcome":"ready"},{"name":"cache","own_us":0,"outcome":"failed"}]}
        {"version":1,"graph":"d4202dc2c96dd2ae","outcome":"started","took_us":50000,"left_out":0,"nodes":[{"name":"database","own_us":50000,"outcome":"ready"},{"name":"cache","own_us":0,"outcome":"failed"}]}
    "#]].assert_eq(&text);
}

#[tokio::test(start_paused = true)]
async fn the_last_twenty_starts_are_kept_and_their_median_is_expected() {
    let mut history = History::new();
    for millis in [1_000, 1_000, 1_000, 10, 20, 40] {
        history.record(&start(millis).await);
    }
    assert_eq!(history.expected("database"), Some(ms(520)));
    for _ in 0..20 {
        history.record(&start(7).await);
    }
    assert_eq!(
        (history.runs().len(), history.expected("database")),
        (20, Some(ms(7)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_slower_than_the_median_of_two_is_told() {
    let mut history = History::new();
    history.record(&start(40).await);
    let slow = start(100).await;
    assert_eq!(slow.compare(&history).slower, []);
    history.record(&start(60).await);
    let comparison = slow.compare(&history);
    assert_eq!(comparison.usual_took, Some(ms(50)));
    let [slower] = &comparison.slower[..] else {
        panic!("{comparison:?}")
    };
    assert_eq!(
        (
            slower.name.as_str(),
            slower.now,
            slower.median,
            slower.factor
        ),
        ("database", ms(100), ms(50), 2.0)
    );
    assert_eq!(start(60).await.compare(&history).slower, []);
}

#[tokio::test]
async fn long_names_and_thousands_of_components_are_bounded() {
    let folder = TempDir::new().unwrap();
    let mut graph = Graph::new();
    let long = "é".repeat(1_000);
    graph
        .add(|| async { Ok::<_, BoxError>(()) })
        .named(long.clone());
    for number in 0..3_000 {
        graph
            .add(|| async { Ok::<_, BoxError>(()) })
            .named(format!("\u{1}{number}-{}", "n".repeat(300)));
    }
    let running = graph.start().await.unwrap();
    let mut history = History::new();
    for _ in 0..20 {
        history.record(&running.report());
    }
    history.save(file(&folder)).unwrap();
    assert!(fs::metadata(file(&folder)).unwrap().len() <= 8 * 1024 * 1024);
    let read = load(&file(&folder));
    let run = read.runs().next().unwrap();
    assert_eq!((run.nodes.len(), run.left_out), (2_000, 1_001));
    assert!(run.nodes.iter().all(|node| node.name.len() <= 120));
    running.shutdown().await.unwrap();
}

#[test]
fn a_broken_line_costs_only_itself() {
    let whole = line("database", "5000");
    let cut = &whole[..whole.len() - 20];
    for broken in [
        cut,
        "garbage",
        "\u{0}\u{1}",
        "[]",
        "null",
        "{}",
        "{\"version\":\"1\"}",
    ] {
        let (text, runs) = warning(format!("{whole}\n{broken}\n{whole}\n"));
        assert!(
            runs == 2 && text.contains("line 2 is ignored"),
            "{runs} {text}"
        );
    }
    let (text, runs) = warning([b"\xff\xfe\n".as_slice(), b"more\n", whole.as_bytes()].concat());
    assert!(
        runs == 1 && text.contains("2 lines are ignored, the first is line 1"),
        "{text}"
    );
}

#[test]
fn a_line_of_another_version_is_told_from_a_broken_one() {
    let newer = line("database", "5000").replace("\"version\":1", "\"version\":2");
    let (text, runs) = warning(newer);
    assert!(runs == 0 && text.contains("version 2 is not 1"), "{text}");
}

#[test]
fn what_is_wrong_is_told_in_few_words_that_break_no_line() {
    let hostile = format!(r"\u001b[2J\n{}", "x".repeat(1_000_000));
    let (text, runs) = warning(line("database", "5000").replace("started", &hostile));
    assert_eq!(runs, 0);
    assert!(
        text.contains(r"unknown variant `\u{1b}[2J\nxxx") && text.chars().count() < 400,
        "{} {text:.400}",
        text.len()
    );
}

#[test]
fn numbers_that_are_no_times_are_refused() {
    for number in [
        "NaN",
        "-1",
        "1.5",
        "1e400",
        "null",
        "\"7\"",
        "18446744073709551616",
        "Infinity",
    ] {
        let (_, runs) = warning(line("database", number));
        assert_eq!(runs, 0, "{number}");
    }
}

#[test]
fn the_longest_time_there_is_does_no_harm() {
    let folder = TempDir::new().unwrap();
    let longest = line("database", &u64::MAX.to_string());
    fs::write(file(&folder), format!("{longest}\n{longest}\n")).unwrap();
    let history = load(&file(&folder));
    assert_eq!(
        history.expected("database"),
        Some(Duration::from_micros(u64::MAX))
    );
}

#[test]
fn more_components_than_are_ever_written_are_refused() {
    let node = r#"{"name":"n","own_us":1,"outcome":"ready"},"#;
    let nodes = node.repeat(2_001);
    let line = line("n", "1").replace("\"nodes\":[", &format!("\"nodes\":[{nodes}"));
    let (text, runs) = warning(line);
    assert!(
        runs == 0 && text.contains("more than 2000 components"),
        "{text}"
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let (_, runs) = warning("[".repeat(1_000_000));
    assert_eq!(runs, 0);
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = TempDir::new().unwrap();
    let huge = fs::File::create(file(&folder)).unwrap();
    huge.set_len(1 << 40).unwrap();
    let (history, error) = History::load(file(&folder));
    let source = std::error::Error::source(error.as_ref().unwrap())
        .unwrap()
        .to_string();
    assert!(
        history.runs().len() == 0 && source.contains("larger than 16 MiB"),
        "{source}"
    );
}

#[test]
fn a_folder_in_its_place_is_an_error_for_reading_and_for_writing() {
    let folder = TempDir::new().unwrap();
    let (history, error) = History::load(folder.path());
    assert!(error.unwrap().to_string().contains("cannot be read"));
    assert!(
        history
            .save(folder.path())
            .unwrap_err()
            .to_string()
            .contains("cannot be written")
    );
    assert!(history.save("/").is_err() && history.save("").is_err());
}

#[cfg(unix)]
#[test]
fn without_permission_nothing_is_written_and_devices_are_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write all the same.
    let allowed = fs::write(folder.path().join("probe"), "").is_ok();
    assert_eq!(History::new().save(file(&folder)).is_ok(), allowed);
    assert!(History::new().save("/dev/null/start.json").is_err());
    let (_, error) = History::load("/dev/zero");
    assert!(error.is_some());
}

#[test]
fn a_path_below_a_file_cannot_be_written_and_what_is_there_stays() {
    let folder = TempDir::new().unwrap();
    fs::write(file(&folder), "kept").unwrap();
    let below = file(&folder).join("below.json");
    assert!(History::new().save(&below).is_err());
    let (history, error) = History::load(&below);
    assert!(history.runs().len() == 0 && error.is_some());
    assert_eq!(fs::read_to_string(file(&folder)).unwrap(), "kept");
}

#[test]
fn nothing_is_left_behind_beside_the_file() {
    let folder = TempDir::new().unwrap();
    for _ in 0..3 {
        History::new().save(file(&folder)).unwrap();
    }
    assert!(History::new().save(folder.path()).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_a_killed_process_left_behind_is_removed_after_a_while_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let old = |name: &str| {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
        file.set_modified(hour_ago).unwrap();
    };
    old(".start.json.1-0.tmp");
    old(".other.json.1-0.tmp");
    old("start.json.bak");
    fs::write(folder.path().join(".start.json.2-0.tmp"), "at work").unwrap();
    History::new().save(file(&folder)).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            ".other.json.1-0.tmp",
            ".start.json.2-0.tmp",
            "start.json",
            "start.json.bak"
        ]
    );
}

/// Writers at once, each as a process would: load, record, save. Readers at the same time see whole files only.
#[tokio::test(start_paused = true)]
async fn writers_at_once_lose_starts_at_most_and_never_the_file() {
    let folder = TempDir::new().unwrap();
    let report = start(5).await;
    let path = file(&folder);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut history = load(&path);
                    history.record(&report);
                    history.save(&path).unwrap();
                }
            });
        }
    });
    // A writer that was held up may put back what it had read long ago, so there is no telling how many are left.
    let runs = load(&path).runs().len();
    assert!((1..=20).contains(&runs), "{runs}");
}

#[test]
fn a_shutdown_may_be_waited_for_outside_of_a_runtime() {
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut graph = Graph::new();
    graph.history(folder.path().join("history.json"));
    graph
        .add(|| async { Ok::<_, BoxError>(()) })
        .named("database");
    let running = runtime.block_on(graph.start()).unwrap();
    let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut shutdown = std::pin::pin!(running.shutdown());
    let mut cx = std::task::Context::from_waker(&waker);
    let stopped = loop {
        match shutdown.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(stopped) => break stopped,
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    assert!(stopped.unwrap().is_clean());
}

/// Wakes a thread that polls by hand.
struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}
