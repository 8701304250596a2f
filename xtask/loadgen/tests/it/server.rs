//! Servers are started on a free port, told ready to the millisecond, and ended with all that they started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use loadgen::{Load, Mix, Model, Prepared, Server, ServerConfig, ServerError, Stop, Target};
use tempfile::TempDir;

use crate::stub_server;

/// A folder for the log, and how the stub server is to be started in it.
pub(crate) struct Stub {
    pub(crate) folder: TempDir,
    pub(crate) config: ServerConfig,
}

impl Stub {
    /// With behaviours of [`stub_server`]; `{folder}` becomes the folder.
    pub(crate) fn new(behaviours: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let behaviours = behaviours
            .join("|")
            .replace("{folder}", &folder.path().display().to_string());
        let words = match &*behaviours {
            "" => "{port}".to_owned(),
            behaviours => format!("{{port}}|{behaviours}"),
        };
        let config = ServerConfig {
            program: std::env::current_exe().expect("this test"),
            args: stub_server::ARGUMENTS.map(str::to_owned).to_vec(),
            env: vec![(stub_server::VARIABLE.to_owned(), words)],
            inherit_env: true,
            folder: None,
            log: folder.path().join("log"),
            ready_path: "/ready".to_owned(),
            ready_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(30),
            cpus: Vec::new(),
        };
        Self { folder, config }
    }

    pub(crate) fn start(&self) -> Server {
        self.try_start().expect("a server")
    }

    fn try_start(&self) -> Result<Server, ServerError> {
        Server::start(&self.config, &Stop::new())
    }

    fn fails(&self) -> ServerError {
        match self.try_start() {
            Ok(server) => panic!("it started at {}", server.address()),
            Err(error) => error,
        }
    }
}

/// Waits for what a server or the system does in its own time.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn get(server: &Server, path: &str) {
    let target = Target::at(server.address());
    let answer = loadgen::get(
        target.address,
        &target.host,
        path,
        &[],
        Duration::from_secs(30),
    );
    assert_eq!(answer.expect("an answer").status, 200, "{path}");
}

/// Ended, or ended and not yet collected by whoever has inherited it.
pub(crate) fn is_gone(pid: u32) -> bool {
    let state = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().unwrap_or_default().to_owned(),
        Err(_) if Path::new("/proc/self").exists() => String::new(),
        Err(_) => {
            let mut ps = Command::new("ps");
            let shown = ps.args(["-o", "stat=", "-p", &pid.to_string()]).output();
            String::from_utf8_lossy(&shown.expect("ps").stdout).into_owned()
        }
    };
    state.is_empty() || state.starts_with('Z')
}

#[test]
fn a_server_is_ready_at_its_first_200() {
    let stub = Stub::new(&["starting", "3"]);
    let before = Instant::now();
    let server = stub.start();
    assert!(server.ready_after() > Duration::ZERO && server.ready_after() <= before.elapsed());
    assert!(server.started() >= before && server.address().port() != 0);
    get(&server, "/");
}

#[test]
fn a_server_may_be_kept_from_our_environment() {
    let mut stub = Stub::new(&[]);
    stub.config.program = "/bin/sh".into();
    stub.config.args = vec![
        "-c".into(),
        "echo \"<$GIVEN$CARGO_MANIFEST_DIR>\"; exit 7".into(),
    ];
    stub.config.env = vec![("GIVEN".into(), "given".into())];
    assert!(!stub.fails().to_string().contains("<given>"));
    stub.config.inherit_env = false;
    let text = stub.fails().to_string();
    assert!(text.contains("<given>"), "{text}");
}

#[test]
fn the_port_replaces_its_placeholder_in_arguments_and_environment() {
    let mut stub = Stub::new(&[]);
    stub.config.program = "sh".into();
    stub.config.args = vec!["-c".into(), "echo {port} $WHERE; exit 7".into()];
    stub.config.env = vec![("WHERE".into(), "127.0.0.1:{port}".into())];
    let text = stub.fails().to_string();
    let line = text.lines().last().expect("the log").trim().to_owned();
    let (port, address) = line.split_once(' ').expect("both");
    assert!(
        port.parse::<u16>().is_ok() && address == format!("127.0.0.1:{port}"),
        "{text}"
    );
}

#[test]
fn a_server_that_ends_before_it_is_ready_says_why() {
    let error = Stub::new(&["exit", "no config file"]).fails();
    assert!(matches!(error, ServerError::Exited { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("exit status: 3") && text.ends_with("\n  no config file"),
        "{text}"
    );
}

#[test]
fn a_server_that_is_not_ready_in_time_shows_its_last_answer() {
    // The first has to be up by then, the second not even that.
    for (behaviours, timeout, last) in [
        (
            ["starting", "1000000"],
            Duration::from_secs(2),
            "2s; /ready answered 503 last",
        ),
        (
            ["silent", "1"],
            Duration::from_millis(200),
            "200ms; /ready gave no answer",
        ),
    ] {
        let mut stub = Stub::new(&behaviours);
        stub.config.ready_timeout = timeout;
        let error = stub.fails();
        assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
        assert!(error.to_string().contains(last), "{error}");
    }
}

#[test]
fn a_port_that_somebody_took_first_is_no_reason_to_give_up() {
    let stub = Stub::new(&["exit-once", "{folder}/tried"]);
    let server = stub.start();
    assert!(stub.folder.path().join("tried").exists());
    get(&server, "/");
}

#[test]
fn a_start_can_be_stopped() {
    let stub = Stub::new(&["silent", "1"]);
    let stop = Stop::new();
    stop.stop();
    let error = Server::start(&stub.config, &stop).expect_err("it is never ready");
    assert!(matches!(error, ServerError::Interrupted { .. }), "{error}");
}

#[test]
fn what_cannot_be_started_is_named() {
    let mut stub = Stub::new(&[]);
    stub.config.program = "no/such/program".into();
    let error = stub.fails();
    assert!(matches!(error, ServerError::Program { .. }), "{error}");
    let mut stub = Stub::new(&[]);
    stub.config.log = stub.folder.path().join("no/such/folder/log");
    let error = stub.fails();
    assert!(matches!(error, ServerError::Log { .. }), "{error}");
}

#[test]
fn a_relative_program_is_found_from_our_folder_wherever_it_runs() {
    let mut stub = Stub::new(&[]);
    let ours = std::env::current_dir().expect("our folder");
    let up = ours.components().skip(1).map(|_| "..").collect::<PathBuf>();
    let absolute = stub.config.program;
    stub.config.program = up.join(absolute.strip_prefix("/").expect("an absolute path"));
    stub.config.folder = Some(stub.folder.path().to_owned());
    get(&stub.start(), "/");
}

#[test]
fn dropping_a_server_ends_all_that_it_started() {
    let stub = Stub::new(&["child", "{folder}/child", "term", "ignore"]);
    let server = stub.start();
    let child = std::fs::read_to_string(stub.folder.path().join("child")).expect("its number");
    let child: u32 = child.parse().expect("a number");
    assert!(!is_gone(child) && !is_gone(server.pid()));
    let pid = server.pid();
    drop(server);
    eventually("both are gone", || is_gone(child) && is_gone(pid));
}

#[test]
fn a_server_that_dies_is_known_to_be_dead() {
    let stub = Stub::new(&["child", "{folder}/child"]);
    let mut server = stub.start();
    assert!(server.exited().is_none());
    let killed = Command::new("kill")
        .args(["-9", &server.pid().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    eventually("it has exited", || {
        server.exited().is_some_and(|status| !status.success())
    });
    let error = server.usage().expect_err("it is gone");
    assert!(matches!(error, ServerError::Unseen { .. }), "{error}");
    let child = std::fs::read_to_string(stub.folder.path().join("child")).expect("its number");
    eventually("its child is gone", || {
        is_gone(child.parse().expect("a number"))
    });
    let stopped = server.stop().expect("nothing to do");
    assert!(stopped.status.is_some_and(|status| !status.success()));
}

#[test]
fn stopping_takes_as_long_as_the_server_does() {
    let stopped = Stub::new(&["linger", "150"])
        .start()
        .stop()
        .expect("it listens to SIGTERM");
    assert!(
        stopped.status.is_some_and(|status| status.success()),
        "{stopped:?}"
    );
    assert!(stopped.took >= Duration::from_millis(150), "{stopped:?}");
    assert!(stopped.took < Duration::from_secs(20), "{stopped:?}");
}

#[test]
fn a_server_that_does_not_stop_is_killed() {
    let mut stub = Stub::new(&["term", "ignore"]);
    stub.config.stop_timeout = Duration::from_millis(100);
    let stopped = stub.start().stop().expect("it can be killed");
    assert!(
        stopped.status.is_none() && stopped.took >= Duration::from_millis(100),
        "{stopped:?}"
    );
}

const USERS: usize = 4;

fn slow_requests(server: &Server) -> (Prepared, Load) {
    let target = Target::at(server.address());
    let mix = Mix::get("/slow")
        .prepare(&target, Duration::from_secs(30))
        .expect("a mix");
    let load = Load {
        model: Model::Closed { users: USERS },
        ..Load::default()
    };
    (mix, load)
}

#[test]
fn a_server_that_dies_on_sigterm_loses_what_was_under_way() {
    let server = Stub::new(&["term", "die"]).start();
    let (mix, load) = slow_requests(&server);
    let stopped = server.stop_under(&mix, &load).expect("it can be stopped");
    // Of one user it may be several: the system closes connections before it stops listening.
    assert!(stopped.requests_failed > 0, "{stopped:?}");
    assert!(stopped.requests_answered > 0, "{stopped:?}");
    assert!(
        stopped.status.is_some_and(|status| !status.success()),
        "{stopped:?}"
    );
}

#[test]
fn a_server_that_drains_loses_nothing_although_it_refuses_new_connections() {
    let server = Stub::new(&["linger", "100"]).start();
    let (mix, load) = slow_requests(&server);
    let stopped = server.stop_under(&mix, &load).expect("it can be stopped");
    assert_eq!(stopped.requests_failed, 0, "{stopped:?}");
    assert!(stopped.requests_answered >= USERS as u64, "{stopped:?}");
    assert!(
        stopped.status.is_some_and(|status| status.success()),
        "{stopped:?}"
    );
    assert!(stopped.took >= Duration::from_millis(100), "{stopped:?}");
}

/// What only Linux tells.
#[cfg(target_os = "linux")]
mod watched {
    use super::*;

    #[test]
    fn what_a_server_uses_shows_in_its_samples() {
        let server = Stub::new(&[]).start();
        let has = |what: &str, is: &dyn Fn(&loadgen::Sample) -> bool| {
            eventually(what, || server.samples().last().is_some_and(is));
        };
        has("a first sample", &|sample| {
            sample.rss_bytes > 0 && sample.threads > 0
        });
        let before = server.samples().pop().expect("a sample");
        for path in ["/grow", "/open", "/threads", "/burn"] {
            get(&server, path);
        }
        has("32 MiB more", &|now| {
            now.rss_bytes >= before.rss_bytes + (30 << 20)
        });
        has("50 files more", &|now| now.fds >= before.fds + 50);
        has("10 threads more", &|now| now.threads >= before.threads + 10);
        has("100 ms more of CPU", &|now| {
            now.cpu >= before.cpu + Duration::from_millis(90)
        });
        let samples = server.samples();
        assert!(samples.is_sorted_by(|a, b| a.at < b.at && a.cpu <= b.cpu));
        assert!(
            samples
                .iter()
                .any(|sample| sample.pss_bytes.is_some_and(|bytes| bytes > 0))
        );
    }

    #[test]
    fn the_peak_is_that_of_the_span_since_the_last_call() {
        let server = Stub::new(&[]).start();
        get(&server, "/grow");
        let grown = server.usage().expect("it lives");
        assert!(
            grown.rss_peak_bytes >= 32 << 20 && grown.rss_bytes >= 32 << 20,
            "{grown:?}"
        );
        get(&server, "/burn");
        let burnt = server.usage().expect("it lives");
        assert!(
            burnt.cpu - grown.cpu >= Duration::from_millis(90),
            "{grown:?}, {burnt:?}"
        );
        // Nothing grew since: the peak is what was resident all the time, give or take the kernel's own precision.
        assert!(
            burnt.rss_peak_bytes < grown.rss_bytes + (8 << 20),
            "{grown:?}, {burnt:?}"
        );
    }

    #[test]
    fn a_server_uses_the_cores_that_it_was_given() {
        let mut stub = Stub::new(&[]);
        let ours = allowed("self")
            .split([',', '-'])
            .next()
            .expect("a core")
            .to_owned();
        stub.config.cpus = vec![ours.parse().expect("a number")];
        let before = allowed("self");
        let server = stub.start();
        assert_eq!(allowed(&server.pid().to_string()), ours);
        assert_eq!(allowed("self"), before);
    }

    #[test]
    fn cores_that_are_not_there_are_refused() {
        let mut stub = Stub::new(&[]);
        stub.config.cpus = vec![4000];
        let error = stub.fails();
        assert!(matches!(error, ServerError::Cpus { .. }), "{error}");
    }

    /// The list of cores of a process.
    fn allowed(process: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.expect("a list").trim().to_owned()
    }
}
