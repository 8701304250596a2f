//! Real signals to a real process: this very test binary, run again as the child that a test plays with.
#![cfg(unix)]
#![expect(
    clippy::print_stdout,
    reason = "it is how the child talks to its parent"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use init_graph::{BoxError, Context, Event, Graph};
use tokio::sync::Notify;

/// Names the play of the child; without it, the child's test does nothing.
const PLAY: &str = "INIT_GRAPH_SIGNALS_PLAY";

struct Server;

/// The child: a service whose exit code tells how its run ended.
#[test]
fn the_child_of_the_tests_beside() {
    let Ok(play) = std::env::var(PLAY) else {
        return;
    };
    // One thread for the hook that blocks it, one for the rest.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let run = async {
        let mut graph = Graph::new();
        let own = play.clone();
        graph.add(move |cx: Context| serve(cx, own.clone()));
        if play == "fails" {
            let started = Arc::new(Notify::new());
            let told = Arc::clone(&started);
            graph.observe(move |event: &Event<'_>| {
                if let Event::Started { .. } = event {
                    told.notify_one();
                }
            });
            graph
                .add(move || {
                    let started = Arc::clone(&started);
                    async move {
                        started.notified().await;
                        Err::<u32, BoxError>("no memory".into())
                    }
                })
                .background();
        }
        if play == "ends in its own time" {
            graph.cancel_grace(Duration::from_secs(3_600));
        }
        graph.run_until_shutdown().await
    };
    let ended =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), run).await });
    let code = match ended.expect("the child is told to end in time") {
        Ok(_) => 0,
        Err(error) => {
            println!("error: {error}");
            match error {
                error if error.is_cancelled() => 10,
                error if error.is_interrupted() => 11,
                _ => 12,
            }
        }
    };
    std::process::exit(code);
}

async fn serve(cx: Context, play: String) -> Result<Server, BoxError> {
    let own = play.clone();
    cx.on_stop(move || async move {
        println!("hook begun");
        if own == "stops for ever" {
            std::future::pending::<()>().await;
        }
        if own == "blocks for ever" {
            loop {
                std::thread::park();
            }
        }
        println!("hook ended");
        Ok(())
    });
    println!("starting");
    if ["starts for ever", "ends in its own time"].contains(&&*play) {
        std::future::pending::<()>().await;
    }
    println!("started");
    Ok(Server)
}

/// The child as its parent sees it.
struct Play {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    heard: Vec<String>,
}

impl Play {
    fn begin(play: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "signals::the_child_of_the_tests_beside",
                "--nocapture",
            ])
            .env(PLAY, play)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            heard: Vec::new(),
        }
    }

    /// Waits for the child to say `line`.
    fn wait_for(&mut self, line: &str) {
        while self.heard.last().is_none_or(|heard| !heard.ends_with(line)) {
            let next = self.lines.next();
            let next = next.unwrap_or_else(|| panic!("no `{line}` in {:?}", self.heard));
            self.heard.push(next.unwrap());
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
    }

    /// The exit code and everything that it said.
    fn finish(mut self) -> (i32, String) {
        let rest: Result<Vec<_>, _> = self.lines.by_ref().collect();
        self.heard.extend(rest.unwrap());
        let code = self.child.wait().unwrap().code();
        (code.unwrap_or(-1), self.heard.join("\n"))
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        // A test that failed in between leaves no child behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn either_signal_stops_a_running_graph_well() {
    for signal in ["TERM", "INT"] {
        let mut play = Play::begin("clean");
        play.wait_for("started");
        // It waits for signals from before the start, so none is lost.
        play.signal(signal);
        let (code, said) = play.finish();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("hook ended"), "{said}");
    }
}

#[test]
fn a_signal_during_the_start_gives_it_up_and_undoes_what_was_done() {
    let mut play = Play::begin("starts for ever");
    play.wait_for("starting");
    play.signal("TERM");
    let (code, said) = play.finish();
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("hook ended"), "{said}");
}

/// What it says when a second signal comes while its hook runs.
fn interrupted_while_it_stops(play: &str) -> String {
    let mut play = Play::begin(play);
    play.wait_for("started");
    play.signal("TERM");
    play.wait_for("hook begun");
    play.signal("INT");
    let (code, said) = play.finish();
    assert_eq!(code, 11, "{said}");
    said
}

#[test]
fn a_second_signal_ends_the_stop_and_names_what_did_not_end() {
    let said = interrupted_while_it_stops("stops for ever");
    assert!(
        said.contains("interrupted: stop was not clean: `Server` was still stopping when the stop was cut short"),
        "{said}"
    );
}

#[test]
fn a_second_signal_does_not_wait_for_a_hook_that_blocks_its_thread() {
    let said = interrupted_while_it_stops("blocks for ever");
    assert!(said.contains("`Server` was abandoned"), "{said}");
}

#[test]
fn a_second_signal_ends_the_grace_of_what_still_starts() {
    let mut play = Play::begin("ends in its own time");
    play.wait_for("starting");
    play.signal("TERM");
    play.signal("INT");
    let (code, said) = play.finish();
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("hook ended"), "{said}");
}

#[test]
fn a_failure_in_the_background_ends_the_run_without_a_signal() {
    let (code, said) = Play::begin("fails").finish();
    assert_eq!(code, 12, "{said}");
    assert!(
        said.contains("error: stopped because `u32` failed"),
        "{said}"
    );
    assert!(said.contains("hook ended"), "{said}");
}
