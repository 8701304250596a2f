//! What people see: the list and the log, as text.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use expect_test::{Expect, expect};
use startup_progress::{Progress, terminal::TerminalMode};
use tokio::{
    task::JoinHandle,
    time::{advance, timeout},
};

/// A writer whose text the test can take.
#[derive(Debug, Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }

    fn last_frame(&self) -> String {
        let text = self.take();
        let frame = text.rsplit("\x1b[?2026h").next().unwrap();
        frame
            .replace("\x1b[K", "")
            .replace("\x1b[J\x1b[?2026l", "")
            .replace('\x1b', "^")
    }
}

impl Write for Screen {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for a view that has a reason to end; on the paused clock a minute costs nothing.
async fn ended(painting: JoinHandle<()>) {
    timeout(Duration::from_secs(60), painting)
        .await
        .expect("the view ends")
        .unwrap();
}

/// Draws what there is now and compares the frame.
async fn list(progress: &Progress, (columns, rows): (u16, u16), colors: bool, expected: Expect) {
    let screen = Screen::default();
    let painter = progress
        .paint(TerminalMode::Tty)
        .to_writer(screen.clone())
        .colors(colors);
    // No time at all: the first frame is drawn before the first wait.
    let _ = timeout(Duration::ZERO, painter.size(columns, rows).run()).await;
    expected.assert_eq(&screen.last_frame());
}

async fn in_the_middle(progress: &Progress) -> Vec<startup_progress::Step> {
    let database = progress.step("database");
    advance(Duration::from_millis(120)).await;
    database.finish();
    progress
        .step("redis")
        .fail("connection refused\nby 127.0.0.1\x1b[31m");
    let warm = progress.step("warm cache").total(1_000);
    advance(Duration::from_millis(1_400)).await;
    warm.advance(420);
    warm.message("records of the last thirty days, newest first");
    drop(progress.step("report"));
    vec![warm, progress.step("日本語の名前")]
}

#[tokio::test(start_paused = true)]
async fn the_list_shows_every_step() {
    let progress = Progress::new("reference-service");
    let _steps = in_the_middle(&progress).await;
    list(
        &progress,
        (80, 24),
        false,
        expect![[r#"
            reference-service   68%  █████████████░░░░░░░  starting 1.5s
              ✓ database       120ms
              ✗ redis            0ms  connection refused by 127.0.0.1 [31m
              ⠋ warm cache      1.4s  █████░░░░░░░ 420/1000  records of the last thirty da…
              ! report           0ms  abandoned
              ⠋ 日本語の名前     0ms
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_list_is_coloured_on_request() {
    let progress = Progress::new("reference-service");
    let _steps = in_the_middle(&progress).await;
    list(&progress, (80, 24), true, expect![[r#"
        ^[1mreference-service^[0m  ^[1m 68%  ^[0m^[36m█████████████░░░░░░░^[0m  ^[2mstarting 1.5s^[0m
          ^[32m✓^[0m database    ^[2m   120ms  ^[0m
          ^[31m✗^[0m redis       ^[2m     0ms  ^[0m^[31mconnection refused by 127.0.0.1 [31m^[0m
          ^[36m⠋^[0m warm cache  ^[2m    1.4s  ^[0m^[36m█████░░░░░░░^[0m 420/1000  ^[2mrecords of the last thirty da…^[0m
          ^[33m!^[0m report      ^[2m     0ms  ^[0m^[2mabandoned^[0m
          ^[36m⠋^[0m 日本語の名前^[2m     0ms  ^[0m
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn no_line_is_wider_than_the_terminal() {
    let progress = Progress::new("reference-service");
    let _steps = in_the_middle(&progress).await;
    list(
        &progress,
        (40, 24),
        false,
        expect![[r#"
            reference-service   68%  █████████████…
              ✓ database       120ms
              ✗ redis            0ms  connection r…
              ⠋ warm cache      1.4s  █████░░░░░░░…
              ! report           0ms  abandoned
              ⠋ 日本語の名前     0ms
        "#]],
    )
    .await;
    list(
        &progress,
        (3, 2),
        false,
        expect![[r#"
        r…
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_terminal_without_size_is_no_reason_to_panic() {
    let progress = Progress::new("reference-service");
    let _steps = in_the_middle(&progress).await;
    for size in [(0, 0), (1, 1), (0, 24), (80, 0), (u16::MAX, u16::MAX)] {
        let screen = Screen::default();
        let painter = progress.paint(TerminalMode::Tty).to_writer(screen.clone());
        let painter = painter.colors(false).size(size.0, size.1);
        let _ = timeout(Duration::ZERO, painter.run()).await;
        let frame = screen.last_frame();
        assert!(
            frame.lines().count() <= usize::from(size.1).max(1),
            "{size:?}: {frame:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_too_long_keeps_what_needs_attention() {
    let progress = Progress::new("reference-service");
    let first = progress.step("the slow one");
    for number in 0..20 {
        progress.step(format!("step {number}")).finish();
        advance(Duration::from_millis(10)).await;
    }
    progress.step("the bad one").fail("no");
    list(
        &progress,
        (60, 8),
        false,
        expect![[r#"
            reference-service   91%  ██████████████████░░  starting 20…
              ⠋ the slow one   200ms
              ✓ step 17          0ms
              ✓ step 18          0ms
              ✓ step 19          0ms
              ✗ the bad one      0ms  no
              … 17 more
        "#]],
    )
    .await;
    first.finish();
}

#[tokio::test(start_paused = true)]
async fn the_list_is_redrawn_in_place_and_ends_with_ready() {
    let progress = Progress::new("reference-service");
    let screen = Screen::default();
    let painter = progress
        .paint(TerminalMode::Tty)
        .to_writer(screen.clone())
        .size(60, 10);
    let painting = tokio::spawn(painter.colors(false).run());
    let step = progress.step("database");
    tokio::time::sleep(Duration::from_millis(100)).await;
    step.finish();
    progress.ready();
    ended(painting).await;
    let text = screen.take();
    assert!(
        text.contains("\x1b[2F"),
        "the second frame begins two lines up: {text:?}"
    );
    let frames: Vec<_> = text.split("\x1b[?2026h").collect();
    expect![[r#"
        ^[2Freference-service  ready in 100ms^[K
          ✓ database   100ms^[K
        ^[J^[?2026l"#]]
    .assert_eq(&frames.last().unwrap().replace('\x1b', "^"));
}

#[tokio::test(start_paused = true)]
async fn the_log_has_one_line_per_change() {
    let progress = Progress::new("reference-service");
    let screen = Screen::default();
    let painting = tokio::spawn(
        progress
            .paint(TerminalMode::Auto)
            .to_writer(screen.clone())
            .run(),
    );
    tokio::task::yield_now().await;
    let warm = progress.step("warm cache").total(100);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        warm.advance(1);
    }
    warm.finish();
    progress.step("redis").fail("connection refused");
    progress.step("demo data").skip("not asked for");
    progress.ready();
    ended(painting).await;
    expect![[r#"
        [   0.000s] starting  reference-service
        [   0.000s] running   warm cache
        [   2.000s] done      warm cache in 2.0s
        [   2.000s] failed    redis in 0ms: connection refused
        [   2.000s] skipped   demo data: not asked for
        [   2.000s] ready     reference-service in 2.0s
    "#]]
    .assert_eq(&screen.take());
}

#[tokio::test(start_paused = true)]
async fn the_log_ends_with_the_reason_of_a_failure() {
    let progress = Progress::new("reference-service");
    let screen = Screen::default();
    progress.fail("database: connection refused");
    progress
        .paint(TerminalMode::Plain)
        .to_writer(screen.clone())
        .run()
        .await;
    expect![[r#"
        [   0.000s] starting  reference-service
        [   0.000s] failed    reference-service: database: connection refused
    "#]]
    .assert_eq(&screen.take());
}

#[tokio::test(start_paused = true)]
async fn off_writes_nothing_and_ends_at_once() {
    let progress = Progress::new("reference-service");
    let screen = Screen::default();
    progress
        .paint(TerminalMode::Off)
        .to_writer(screen.clone())
        .run()
        .await;
    assert_eq!(screen.take(), "");
}

#[tokio::test(start_paused = true)]
async fn closing_the_streams_ends_the_view() {
    let progress = Progress::new("reference-service");
    for mode in [TerminalMode::Tty, TerminalMode::Plain] {
        let painting = tokio::spawn(progress.paint(mode).to_writer(Screen::default()).run());
        tokio::task::yield_now().await;
        progress.close_streams();
        ended(painting).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_fails_ends_the_view() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // Nothing is ever ready here: only the error can end it.
    let painter = Progress::new("test")
        .paint(TerminalMode::Tty)
        .to_writer(Closed);
    ended(tokio::spawn(painter.run())).await;
}
