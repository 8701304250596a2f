//! A start with a few steps, drawn on the terminal: `cargo run -p startup-progress --features
//! terminal --example terminal`. Pipe its standard error to a file to see the plain view.

use std::time::Duration;

use startup_progress::{Progress, terminal::TerminalMode};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let progress = Progress::new("reference-service");
    let start = async {
        tokio::join!(
            connect(&progress, "database", 600),
            connect(&progress, "search index", 1800),
            redis(&progress),
        );
        migrate(&progress).await;
        tokio::join!(warm_cache(&progress), abandoned(&progress));
        progress.ready();
    };
    tokio::join!(start, progress.paint(TerminalMode::Auto).run());
}

async fn connect(progress: &Progress, name: &str, took_ms: u64) {
    let step = progress.step(name).stage("storage");
    step.message("connecting");
    sleep(Duration::from_millis(took_ms)).await;
    step.finish();
}

async fn redis(progress: &Progress) {
    let step = progress.step("redis").stage("storage");
    sleep(Duration::from_millis(900)).await;
    step.fail("connection refused by 127.0.0.1:6379; going on without it");
}

async fn migrate(progress: &Progress) {
    let step = progress.step("migrations").stage("storage").total(5);
    for name in ["users", "tasks", "records", "record_tags", "indexes"] {
        step.message(format!("creating {name}"));
        sleep(Duration::from_millis(250)).await;
        step.advance(1);
    }
    step.finish();
}

async fn warm_cache(progress: &Progress) {
    let step = progress.step("warm cache").total(5_000);
    for _ in 0..50 {
        sleep(Duration::from_millis(30)).await;
        step.advance(100);
    }
    step.finish();
}

async fn abandoned(progress: &Progress) {
    let step = progress.step("optional report");
    sleep(Duration::from_millis(400)).await;
    // A step that is dropped without a word did not succeed.
    drop(step);
}
