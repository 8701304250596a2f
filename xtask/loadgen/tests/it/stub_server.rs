//! A server that misbehaves as it is told: what the tests of server control start, watch and stop.
//!
//! It is this test program itself, started again with `STUB_SERVER` in its environment: nothing else has to be built
//! beside the tests. The variable holds `PORT [BEHAVIOUR ARGUMENT]...`, see [`Behaviour`]. It answers any `GET`; some
//! paths make it use something: `/burn` CPU, `/grow` memory, `/open` file descriptors, `/threads` threads. `/slow` takes
//! 20 ms, `/deaf` lets it listen no longer, `/die` ends it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where its words are.
pub(crate) const VARIABLE: &str = "STUB_SERVER";

/// How this program is to be started to be a server.
pub(crate) const ARGUMENTS: [&str; 3] =
    ["stub_server::serves_when_asked", "--exact", "--nocapture"];

#[test]
fn serves_when_asked() {
    if let Ok(words) = std::env::var(VARIABLE) {
        let words: Vec<_> = words.split('|').map(str::to_owned).collect();
        serve(&words[0], &words[1..]);
        exit(0);
    }
}

/// What is unusual about it.
#[derive(Debug, Default)]
struct Behaviour {
    /// `exit TEXT`: says so and ends.
    exit: Option<String>,
    /// `exit-once FILE`: the first time says that its port is taken, and ends.
    exit_once: Option<String>,
    /// `silent _`: accepts and never answers.
    silent: bool,
    /// `starting N`: answers the first N requests with 503.
    starting: u64,
    /// `child FILE`: starts another process and writes its number there.
    child: Option<String>,
    /// `term die`, `term ignore`, or `term drain`: what it does on SIGTERM.
    term: String,
    /// `linger MS`: draining takes that much longer.
    linger: Duration,
}

#[derive(Debug, Default)]
struct Server {
    behaviour: Behaviour,
    requests: AtomicU64,
    draining: AtomicBool,
    deaf: AtomicBool,
    memory: Mutex<Vec<Vec<u8>>>,
    files: Mutex<Vec<File>>,
}

fn serve(port: &str, words: &[String]) {
    let behaviour = Behaviour::read(words);
    if let Some(text) = &behaviour.exit {
        eprintln!("{text}");
        exit(3);
    }
    if let Some(file) = behaviour.exit_once.as_deref().map(Path::new)
        && !file.exists()
    {
        File::create(file).expect("a folder of the test");
        eprintln!("Error: Address already in use (os error 98)");
        exit(1);
    }
    if let Some(file) = &behaviour.child {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this);
        child.args(ARGUMENTS).env(VARIABLE, "0");
        #[expect(
            clippy::zombie_processes,
            reason = "that it is left behind is what is tested"
        )]
        let child = child.spawn().expect("a child");
        std::fs::write(file, child.id().to_string()).expect("a folder of the test");
    }
    let term = Arc::new(AtomicBool::new(false));
    if behaviour.term != "die" {
        let signal = signal_hook::consts::SIGTERM;
        signal_hook::flag::register(signal, Arc::clone(&term)).expect("a handler");
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    listener.set_nonblocking(true).expect("a socket of ours");
    let server = Arc::new(Server {
        behaviour,
        ..Server::default()
    });
    server.accept(listener, &term);
}

impl Behaviour {
    fn read(args: &[String]) -> Self {
        let mut behaviour = Self {
            term: "drain".to_owned(),
            ..Self::default()
        };
        for pair in args.chunks(2) {
            let [name, argument] = pair else {
                panic!("{pair:?} is no pair")
            };
            let number = || argument.parse().expect("a number");
            match &**name {
                "exit" => behaviour.exit = Some(argument.clone()),
                "exit-once" => behaviour.exit_once = Some(argument.clone()),
                "silent" => behaviour.silent = true,
                "starting" => behaviour.starting = number(),
                "child" => behaviour.child = Some(argument.clone()),
                "term" => behaviour.term.clone_from(argument),
                "linger" => behaviour.linger = Duration::from_millis(number()),
                _ => panic!("{name} is no behaviour"),
            }
        }
        behaviour
    }
}

impl Server {
    fn accept(self: &Arc<Self>, listener: TcpListener, term: &AtomicBool) {
        let mut connections = Vec::new();
        loop {
            let ending = term.load(Ordering::Relaxed) && self.behaviour.term == "drain";
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("a socket of ours");
                    let server = Arc::clone(self);
                    connections.push(thread::spawn(move || server.talk(&stream)));
                }
                Err(_) if ending || self.deaf.load(Ordering::Relaxed) => break,
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
        // First nobody can connect, then connections are closed: no client is asked to leave while it could come back.
        drop(listener);
        while !term.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        self.draining.store(true, Ordering::Relaxed);
        for connection in connections {
            let _ = connection.join();
        }
        thread::sleep(self.behaviour.linger);
    }

    /// Answers until the client or this server wants no more.
    fn talk(&self, stream: &TcpStream) {
        // A client that keeps an idle connection is told of the end by it.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let mut reader = BufReader::new(stream);
        loop {
            let path = match read_path(&mut reader) {
                Ok(Some(path)) => path,
                Ok(None) => return,
                Err(_) if self.draining.load(Ordering::Relaxed) => return,
                Err(_) => continue,
            };
            if self.behaviour.silent {
                continue;
            }
            self.work(&path);
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let status = if number < self.behaviour.starting {
                "503 Busy"
            } else {
                "200 OK"
            };
            let closing = self.draining.load(Ordering::Relaxed);
            let connection = if closing { "close" } else { "keep-alive" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Length: 2\r\n\r\nok"
            );
            if (&mut &*stream).write_all(answer.as_bytes()).is_err() || closing {
                return;
            }
        }
    }

    fn work(&self, path: &str) {
        match path {
            "/burn" => {
                let until = cpu_time() + Duration::from_millis(100);
                while cpu_time() < until {
                    std::hint::spin_loop();
                }
            }
            "/grow" => lock(&self.memory).push(vec![1; 32 << 20]),
            "/open" => {
                lock(&self.files).extend((0..50).filter_map(|_| File::open("/dev/null").ok()));
            }
            "/threads" => {
                (0..10)
                    .for_each(|_| drop(thread::spawn(|| thread::sleep(Duration::from_secs(3600)))));
            }
            "/deaf" => self.deaf.store(true, Ordering::Relaxed),
            "/die" => exit(3),
            "/slow" => thread::sleep(Duration::from_millis(20)),
            _ => {}
        }
    }
}

/// The path of the next request; `None` when there is none.
fn read_path(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
    }
    Ok(first.split(' ').nth(1).map(str::to_owned))
}

/// Of this thread: a busy machine gives it less than the time that passes.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
