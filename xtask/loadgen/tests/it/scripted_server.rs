//! A server that does what a test says: answers, waits, lies, hangs up, dies.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadgen::Target;

/// An answer of five bytes on a connection that stays open.
pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A step of the answer to one request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(&'static str),
    Wait(Duration),
    /// Ends the connection.
    Close,
}

/// Says what to do about the request of this number, from 0, with this head.
type Script = dyn Fn(u64, &str) -> Vec<Step> + Send + Sync;

/// A server with a thread for each connection. Dropping it ends it.
pub(crate) struct ScriptedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    requests: AtomicU64,
    connections: Mutex<Vec<TcpStream>>,
    accepted: AtomicU64,
    dead: AtomicBool,
}

impl ScriptedServer {
    pub(crate) fn start(script: impl Fn(u64, &str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: AtomicU64::new(0),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            dead: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accepting = Some(thread::spawn(move || accepting.accept(&listener)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Answers every request alike.
    pub(crate) fn always(steps: &[Step]) -> Self {
        let steps = steps.to_vec();
        Self::start(move |_, _| steps.clone())
    }

    pub(crate) fn target(&self) -> Target {
        Target::at(self.address)
    }

    /// Requests that have come.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Connections that have been accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shared.die();
        // Wakes the accepting thread, which then gives the port back.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.dead.load(Ordering::SeqCst) {
                return;
            }
            let _ = stream.set_nodelay(true);
            self.accepted.fetch_add(1, Ordering::Relaxed);
            if let Ok(clone) = stream.try_clone() {
                self.connections
                    .lock()
                    .expect("no panic while locked")
                    .push(clone);
            }
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // A client that hangs up ends the thread, nothing more.
                let _ = shared.serve(&stream);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        loop {
            request.clear();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0; 512];
                let length = stream.read(&mut byte)?;
                if length == 0 {
                    return Ok(());
                }
                request.extend_from_slice(&byte[..length]);
            }
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            for step in (self.script)(number, &String::from_utf8_lossy(&request)) {
                match step {
                    Step::Send(text) => stream.write_all(text.as_bytes())?,
                    Step::Wait(time) => thread::sleep(time),
                    Step::Close => return Ok(()),
                }
                if self.dead.load(Ordering::SeqCst) {
                    return Ok(());
                }
            }
        }
    }

    fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        for stream in self
            .connections
            .lock()
            .expect("no panic while locked")
            .drain(..)
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
