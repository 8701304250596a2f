//! A way to a server that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fred::types::config::Config;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Passes bytes on to the server until it is cut; it takes the place of the server in a URL.
pub(crate) struct Cable {
    url: String,
    up: Arc<AtomicBool>,
    cut: Arc<Notify>,
}

impl Cable {
    /// To the server of the URL, of which host and port are heeded.
    pub(crate) async fn to(url: &str) -> Self {
        let target = Config::from_url(url).expect("the URL of the server");
        let host = target.server.hosts().into_iter().next();
        let host = host.expect("a URL names a host");
        let server = format!("{}:{}", host.host, host.port);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (up, cut) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
        let cable = Self {
            url: format!("redis://{address}"),
            up: Arc::clone(&up),
            cut: Arc::clone(&cut),
        };
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if !up.load(Ordering::SeqCst) {
                    continue;
                }
                let (server, cut) = (server.clone(), Arc::clone(&cut));
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else {
                        return;
                    };
                    tokio::select! {
                        biased;
                        () = cut.notified() => {}
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        cable
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn cut(&self) {
        self.up.store(false, Ordering::SeqCst);
        self.cut.notify_waiters();
    }

    pub(crate) fn mend(&self) {
        self.up.store(true, Ordering::SeqCst);
    }
}
