//! The service on a fresh database, asked through its router or over real sockets.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use db_pool::{Pool, PoolConfig, Postgres};
use diesel_async::SimpleAsyncConnection as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use init_graph::Running;
use reference_service::{
    components::{self, Given},
    config::{Config, ConnectionUrl, Inputs},
    http::{self, gate::Gate},
    serve::{self, Ready},
    state::AppState,
};
use serde_json::Value;
use startup_progress::Progress;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

/// Runs each contract on SQLite, and on PostgreSQL where `TEST_DATABASE_URL` names a server.
macro_rules! on_each_database {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let app = crate::support::App::start(crate::support::config()).await;
                super::$name(&app).await;
                app.stop().await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(database) = crate::support::PostgresDatabase::create().await else { return };
                let mut setup = crate::support::config();
                setup.0.database.url = database.url();
                let app = crate::support::App::start(setup).await;
                super::$name(&app).await;
                app.stop().await;
                database.drop_it().await;
            })+
        }
    };
}

/// A configuration that touches nothing but a temporary folder and free ports.
pub(crate) fn config() -> (Config, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let config = load(&[
        ("APP__HTTP__ADDRESS", "127.0.0.1:0"),
        ("APP__ADMIN__ADDRESS", "127.0.0.1:0"),
        (
            "APP__DATABASE__URL",
            &format!("sqlite:{}", path("service.db")),
        ),
        ("APP__CACHE__DISK__PATH", &path("cache")),
        ("APP__CACHE__DISK__CAPACITY", "64MiB"),
    ]);
    (config, folder)
}

/// The configuration that these variables make.
pub(crate) fn load(env: &[(&str, &str)]) -> Config {
    let env: HashMap<_, _> = env
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    // A folder without `config/default.toml`: the test does not depend on where it runs.
    Config::load(&Inputs {
        env,
        folder: "nowhere".into(),
        ..Inputs::default()
    })
    .unwrap()
}

/// The service behind its router, without a socket.
pub(crate) struct App {
    pub(crate) state: AppState,
    router: Router,
    running: Running,
    _folder: TempDir,
}

/// The service on real sockets, ready.
pub(crate) async fn ready(config: Config) -> Ready {
    let bound = serve::bind(config, None).await.unwrap();
    let never = CancellationToken::new();
    bound.start(false, &never).await.unwrap().unwrap()
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl App {
    pub(crate) async fn start((config, folder): (Config, TempDir)) -> Self {
        let progress = Progress::new("test");
        let given = Given {
            config: config.clone(),
            progress: progress.clone(),
            monitor: None,
            demo: false,
        };
        let running = components::graph(given).start().await.unwrap();
        let state = (*running.get::<AppState>().unwrap()).clone();
        let gate = Gate::new(progress.clone());
        gate.open(http::api(state.clone(), &config.http, None));
        progress.ready();
        Self {
            state,
            router: http::public(&progress, gate),
            running,
            _folder: folder,
        }
    }

    /// Stops every component; a test that forgets it stops nothing, which the graph logs.
    pub(crate) async fn stop(self) {
        self.running.shutdown().await.unwrap();
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(request(Method::GET, path, &[], Body::empty()))
            .await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, json: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call(request(
            method,
            path,
            &headers,
            Body::from(json.to_string()),
        ))
        .await
    }

    pub(crate) async fn post(&self, path: &str, json: &Value) -> Answer {
        self.send(Method::POST, path, json).await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The answer is a problem document of this kind.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems#{kind}"), "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        assert_eq!(problem["instance"], self.header("x-request-id"), "{self:?}");
        problem
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    headers
        .iter()
        .fold(builder, |builder, (name, value)| {
            builder.header(*name, *value)
        })
        .body(body)
        .unwrap()
}

/// Asks over a real socket.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    exchange(
        address,
        request(Method::GET, path, &[("host", "localhost")], Body::empty()),
    )
    .await
}

/// Sends JSON over a real socket.
pub(crate) async fn send(address: SocketAddr, method: &str, path: &str, json: &str) -> Answer {
    let headers = [("host", "localhost"), ("content-type", "application/json")];
    let method = method.parse().unwrap();
    exchange(
        address,
        request(method, path, &headers, Body::from(json.to_owned())),
    )
    .await
    .unwrap()
}

/// Sends a request over a real socket.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: Request<Body>,
) -> std::io::Result<Answer> {
    let other = |error: hyper::Error| std::io::Error::other(error);
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(other)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(other)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(other)?.to_bytes();
    driver.abort();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Asks until the answer is as wanted; fails after half a minute with the last one.
pub(crate) async fn fetch_until(
    address: SocketAddr,
    path: &str,
    wanted: impl Fn(&Answer) -> bool,
) -> Answer {
    let mut last = None;
    let until = async {
        loop {
            match fetch(address, path).await {
                Ok(answer) if wanted(&answer) => return answer,
                other => last = Some(other),
            }
            // Between two questions, not instead of a condition.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), until)
        .await
        .ok();
    found.unwrap_or_else(|| panic!("{path} never as wanted, last: {last:?}"))
}

/// A database of its own on the server of `TEST_DATABASE_URL`.
pub(crate) struct PostgresDatabase {
    server: String,
    name: String,
}

impl PostgresDatabase {
    /// `None`, said once, where no server is given.
    pub(crate) async fn create() -> Option<Self> {
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            println!("skipped: TEST_DATABASE_URL is not set");
            return None;
        };
        let name = format!("service_{}", Uuid::now_v7().simple());
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self { server, name })
    }

    pub(crate) fn url(&self) -> ConnectionUrl {
        ConnectionUrl::from(with_database(&self.server, &self.name).as_str())
    }

    pub(crate) async fn drop_it(self) {
        execute(
            &self.server,
            &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        )
        .await;
    }
}

async fn execute(server: &str, statement: &str) {
    let pool = Pool::<Postgres>::connect(PoolConfig::batch(server))
        .await
        .unwrap();
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(statement)
        .await
        .unwrap();
    pool.close().await;
}

/// The same server and settings, another database.
pub(crate) fn with_database(url: &str, name: &str) -> String {
    let (address, settings) = match url.split_once('?') {
        Some((address, settings)) => (address, format!("?{settings}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").unwrap();
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}/{name}{settings}")
}
