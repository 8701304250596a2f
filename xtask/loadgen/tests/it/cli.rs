//! The program: what it prints where, and by which code it tells how a run went.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::scripted_server::{HELLO, ScriptedServer, Step};
use crate::server::{eventually, is_gone};
use crate::stub_server;

/// The program with the words of `line`.
fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(line.split_whitespace())
        .env_remove("LOADGEN_API_KEY")
        .stdin(Stdio::null());
    command
}

/// The program against `server`, without warm-up.
fn against(server: &ScriptedServer, options: &str) -> Command {
    let address = server.target().address;
    loadgen(&format!("--url http://{address}/ --warmup 0s {options}"))
}

/// A run of 200 requests against `server`.
fn run(server: &ScriptedServer, options: &str) -> Output {
    let options = format!("--requests 200 --users 2 {options}");
    against(server, &options).output().expect("a run")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_fine_run_prints_a_screen_and_the_command_to_run_next() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let output = run(&server, "--threshold success>=100% --threshold p50<60s");
    let screen = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{screen}{}",
        text(&output.stderr)
    );
    for part in [
        "closed, 2 users",
        "100 % of 200 requests",
        "PASS        p50<60s: ",
        "VALID ",
        "next        loadgen --url",
    ] {
        assert!(screen.contains(part), "{part:?} in {screen}");
    }
    assert!(
        screen
            .lines()
            .all(|line| line.chars().count() <= 80 || line.starts_with("next ")),
        "{screen}"
    );
}

#[test]
fn a_threshold_that_was_not_kept_is_told_in_words_and_by_the_code() {
    let server = ScriptedServer::start(|request, _| {
        vec![Step::Send(match request % 10 {
            0 => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            _ => HELLO,
        })]
    });
    let output = run(&server, "--threshold errors<=0");
    let screen = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{screen}");
    assert!(screen.contains("FAIL        errors<=0: 20"), "{screen}");
    assert!(screen.contains("x 503"), "{screen}");
}

#[test]
fn what_was_measured_is_kept_as_json_and_metric_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.json");
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let output = run(&server, &format!("--metrics --output {}", file.display()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    assert!(
        lines.starts_with("METRIC loadgen closed-2-users target rate req/s "),
        "{lines}"
    );
    assert!(
        lines.lines().all(|line| line.split(' ').count() == 10),
        "{lines}"
    );
    let json: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["summary"]["ended"], 200);
    assert_eq!(json["passed"], true);
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "a temporary file was left behind");
}

#[test]
fn a_file_that_cannot_be_written_costs_neither_the_screen_nor_the_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.json");
    let server = ScriptedServer::start({
        let folder = folder.path().to_owned();
        move |_, _| {
            // Gone once the run has begun; the first request finds it there.
            let _ = std::fs::remove_dir(&folder);
            vec![Step::Send(HELLO)]
        }
    });
    let output = run(&server, &format!("--output {}", file.display()));
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stdout).contains("VALID "),
        "{}",
        text(&output.stdout)
    );
    assert!(
        text(&output.stderr).contains("run.json: cannot be written: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_cannot_start_is_one_line_and_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let mix = folder.path().join("bad.toml");
    std::fs::write(&mix, "[[route]]\nname = 'a'\npath = '/{x}'\n").expect("written");
    let nowhere = "--url http://127.0.0.1:1/";
    let cases = [
        ("--usres 3", "did you mean --users?"),
        ("--url https://127.0.0.1/", "only http:// is spoken here"),
        // Port 1 of the loopback: nobody listens there.
        (nowhere, "no connection"),
        (
            &format!("{nowhere} --mix {}", mix.display()),
            "bad.toml: line 3: route.a.path",
        ),
        (
            &format!("{nowhere} --mix no-such.toml"),
            "no-such.toml: cannot be read",
        ),
        (&format!("{nowhere} --threshold cpu<1ms"), "--server"),
        (
            "--server /no/such/program",
            "/no/such/program: cannot be started",
        ),
    ];
    for (line, problem) in cases {
        let output = loadgen(line).output().expect("a run");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        assert!(
            told.starts_with("loadgen: ") && told.contains(problem),
            "{line}: {told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_goes_to_standard_output() {
    let output = loadgen("--help").output().expect("a run");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Exit codes: 0 fine"));
}

#[test]
fn a_rate_beyond_the_target_is_code_3() {
    let server =
        ScriptedServer::always(&[Step::Wait(Duration::from_millis(50)), Step::Send(HELLO)]);
    let options = "--duration 500ms --rate 400 --connections 2";
    let output = against(&server, options).output().expect("a run");
    let screen = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{screen}");
    assert!(
        screen.contains("INVALID ") && screen.contains("found no free connection"),
        "{screen}"
    );
}

#[test]
fn a_key_in_the_environment_is_sent_and_not_shown() {
    let server = ScriptedServer::start(|_, head| {
        vec![Step::Send(
            match head.contains("authorization: Bearer secret\r\n") {
                true => HELLO,
                false => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            },
        )]
    });
    let output = against(&server, "--requests 20 --threshold errors<=0")
        .env("LOADGEN_API_KEY", "secret")
        .output()
        .expect("a run");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("secret"));
}

#[test]
fn an_interrupt_still_prints_what_was_measured() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let mut child = against(&server, "--duration 300s")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a run");
    while server.requests() < 100 {
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT)
        .expect("a signal");
    let mut screen = String::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut screen)
        .expect("text");
    assert_eq!(child.wait().expect("ended").code(), Some(130), "{screen}");
    assert!(
        screen.contains("INTERRUPTED ") && screen.contains("100 % of "),
        "{screen}"
    );
}

/// A run without warm-up against this test program, started as a server.
fn stub(options: &str) -> Output {
    let program = std::env::current_exe().expect("this program");
    let start = format!("--server-env {}={{port}}", stub_server::VARIABLE);
    let mut command = loadgen(&format!("--warmup 0s {start} {options} --server"));
    command.arg(program).arg("--").args(stub_server::ARGUMENTS);
    command.output().expect("a run")
}

#[test]
fn a_server_that_is_started_shows_what_it_costs() {
    let output = stub("--duration 300ms --rate 100 --threshold rss<4GiB");
    let screen = text(&output.stdout);
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{screen}{}",
        text(&output.stderr)
    );
    for part in [
        "cpu         ",
        "memory      ",
        "ready after ",
        "stopped in ",
        "PASS        rss<4GiB: ",
    ] {
        assert!(screen.contains(part), "{part:?} in {screen}");
    }
    assert!(!screen.contains("capped by   unknown"), "{screen}");
}

#[test]
fn a_server_that_dies_ends_the_run_which_is_invalid_and_loses_no_figure() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mix, log) = (folder.path().join("die.toml"), folder.path().join("log"));
    let route =
        |name, weight| format!("[[route]]\nname = '{name}'\npath = '/{name}'\nweight = {weight}\n");
    std::fs::write(&mix, route("live", 99) + &route("die", 1)).expect("written");
    let files = format!("--mix {} --server-log {}", mix.display(), log.display());
    let output = stub(&format!("--duration 3000s {files}"));
    let screen = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(3),
        "{screen}{}",
        text(&output.stderr)
    );
    assert!(
        screen.contains("INVALID     the server ended during the run (exit status: 3)"),
        "{screen}"
    );
    assert!(screen.contains("live "), "{screen}");
    assert!(!screen.contains("INTERRUPTED"), "{screen}");
}

#[test]
fn a_shutdown_that_cannot_be_measured_costs_no_figure() {
    let folder = tempfile::tempdir().expect("a folder");
    let mix = folder.path().join("deaf.toml");
    std::fs::write(&mix, "[[route]]\nname = 'deaf'\npath = '/deaf'\n").expect("written");
    let output = stub(&format!("--requests 50 --mix {}", mix.display()));
    let screen = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{screen}{}",
        text(&output.stderr)
    );
    assert!(screen.contains("100 % of 50 requests"), "{screen}");
    assert!(
        screen.contains("note        no shutdown was measured: "),
        "{screen}"
    );
}

#[test]
fn more_connections_than_files_are_refused_instead_of_blaming_the_target() {
    let server = ScriptedServer::always(&[Step::Send(HELLO)]);
    let line = format!(
        "ulimit -n 150; exec {} --url http://{}/ --users 200",
        env!("CARGO_BIN_EXE_loadgen"),
        server.target().address
    );
    let output = Command::new("sh").args(["-c", &line]).output();
    let output = output.expect("a shell");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("200 connections need 300 open files and 150 are allowed"),
        "{told}"
    );
}

#[test]
fn an_impatient_second_interrupt_leaves_no_server_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("child");
    // A server that does not care about SIGTERM, and one more process that it started.
    let behaviour = format!("{{port}}|term|ignore|child|{}", file.display());
    let mut run = loadgen("--warmup 0s --duration 300s")
        .arg("--server")
        .arg(std::env::current_exe().expect("this program"))
        .arg("--server-env")
        .arg(format!("{}={behaviour}", stub_server::VARIABLE))
        .arg("--")
        .args(stub_server::ARGUMENTS)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a run");
    let number = || std::fs::read_to_string(&file).ok()?.parse().ok();
    eventually("the server starts", || number().is_some());
    let mut code = None;
    eventually("the run ends", || {
        // An error means that it has ended.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&run), Signal::INT);
        code = run.try_wait().expect("a child of ours");
        code.is_some()
    });
    assert_eq!(code.and_then(|status| status.code()), Some(130));
    let child = number().expect("a number");
    eventually("all of it has ended", || is_gone(child));
}
