//! A connection to Redis: commands and scripts with deadlines, and the state of the connection.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::{Client, WithOptions},
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::{
        ClusterHash, ConnectHandle, CustomCommand, Resp3Frame as Frame, Value, config::Options,
    },
    util::redis_keyslot,
};
use tokio::time::Instant;

use super::{
    RedisConfig,
    client::{self, Purpose},
    scripts::{self, Script},
    wire,
};
use crate::{coherence::LogError, error::ConfigError, tier::TierError};

/// One client of fred's with its connection task, which ends with this.
pub(super) struct Link {
    client: Client,
    commands: WithOptions<Client>,
    task: ConnectHandle,
    closed: AtomicBool,
    /// Whether a reconnection that we asked for is under way.
    healing: AtomicBool,
    /// What the server calls each script, once it has told.
    names: [OnceLock<String>; scripts::COUNT],
    away: Mutex<Option<Instant>>,
}

/// Why Redis gave no answer that can be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not connected, or closed: it was not asked.
    Unavailable,
    TimedOut,
    /// Redis answered with an error, or with something else than was asked for.
    Answer(Error),
}

/// Whether Redis is there; a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    Connected,
    /// For how long it has been away.
    Disconnected(Duration),
    Closed,
}

impl Link {
    /// Begins to connect; spawns fred's connection task.
    pub(super) fn open(config: &RedisConfig, purpose: Purpose) -> Result<Arc<Self>, ConfigError> {
        let client = client::build(config, purpose)?;
        let task = client.connect();
        Ok(Arc::new(Self {
            commands: client.with_options(&client::options(
                config.command_timeout,
                client.is_clustered(),
            )),
            client,
            task,
            closed: AtomicBool::new(false),
            healing: AtomicBool::new(false),
            names: Default::default(),
            away: Mutex::new(Some(Instant::now())),
        }))
    }

    /// Waits for the connection, at most `grace`.
    pub(super) async fn wait(&self, grace: Duration) -> bool {
        let connected = tokio::time::timeout(grace, self.client.wait_for_connect()).await;
        matches!(connected, Ok(Ok(()))) && self.client.is_connected()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_clustered(&self) -> bool {
        self.client.is_clustered()
    }

    /// Notes how the connection stands; says when that changed.
    pub(super) fn observe(&self) -> (ConnectionState, bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return (ConnectionState::Closed, false);
        }
        match (self.client.is_connected(), *away) {
            (true, before) => {
                *away = None;
                (ConnectionState::Connected, before.is_some())
            }
            (false, Some(since)) => (ConnectionState::Disconnected(since.elapsed()), false),
            (false, None) => {
                *away = Some(Instant::now());
                (ConnectionState::Disconnected(Duration::ZERO), true)
            }
        }
    }

    /// Sends one command about `key`; one attempt, within the command timeout.
    pub(super) async fn call(
        &self,
        verb: &'static str,
        key: &str,
        arguments: Vec<Value>,
    ) -> Result<Frame, Fault> {
        self.ready()?;
        let command = CustomCommand::new_static(verb, self.slot(key), false);
        judge(self.commands.custom_raw(command, arguments).await)
    }

    /// Sends one command that may take as long as `timeout`, with nothing after it until then.
    pub(super) async fn wait_for(
        &self,
        timeout: Duration,
        verb: &'static str,
        key: &str,
        arguments: Vec<Value>,
    ) -> Result<Frame, Fault> {
        self.ready()?;
        let command = CustomCommand::new_static(verb, self.slot(key), true);
        let commands = self.client.with_options(&self.options(timeout));
        judge(commands.custom_raw(command, arguments).await)
    }

    /// Runs a script by its name; sends its text where the server does not know it (any more).
    pub(super) async fn run(
        &self,
        script: &Script,
        timeout: Option<Duration>,
        keys: &[&str],
        arguments: Vec<Value>,
    ) -> Result<Frame, Fault> {
        let mut rest = Vec::with_capacity(2 + keys.len() + arguments.len());
        rest.push(Value::Null);
        rest.push(Value::Integer(
            i64::try_from(keys.len()).unwrap_or(i64::MAX),
        ));
        rest.extend(keys.iter().map(|key| Value::from(*key)));
        rest.extend(arguments);
        // All keys of one script are in one slot.
        let key = keys.first().copied().unwrap_or_default();
        let send = |verb: &'static str, first: Value, mut rest: Vec<Value>| {
            rest[0] = first;
            async move {
                self.ready()?;
                let command = CustomCommand::new_static(verb, self.slot(key), false);
                judge(match timeout {
                    None => self.commands.custom_raw(command, rest).await,
                    Some(timeout) => {
                        let commands = self.client.with_options(&self.options(timeout));
                        commands.custom_raw(command, rest).await
                    }
                })
            }
        };
        if let Some(name) = self.name(script, key).await? {
            match send("EVALSHA", Value::from(name), rest.clone()).await {
                // After a flush of scripts, a restart, or on another node.
                Err(Fault::Answer(error)) if error.details().starts_with("NOSCRIPT") => {}
                other => return other,
            }
        }
        send("EVAL", Value::from_static_str(script.text), rest).await
    }

    /// What the server calls the script; `None` where it may not be asked.
    async fn name(&self, script: &Script, key: &str) -> Result<Option<&str>, Fault> {
        let name = &self.names[script.index];
        if name.get().is_none() {
            let arguments = vec![
                Value::from_static_str("LOAD"),
                Value::from_static_str(script.text),
            ];
            match self.call("SCRIPT", key, arguments).await {
                Ok(answer) => {
                    if let Some(text) = wire::text(&answer).filter(|text| is_sha1(text)) {
                        let _ = name.set(text.to_owned());
                    }
                }
                Err(Fault::Answer(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(name.get().map(String::as_str))
    }

    /// Drops the connection and makes a new one, in the background; at most one at a time.
    pub(super) fn heal(self: &Arc<Self>) {
        if self.closed.load(Ordering::Acquire) || self.healing.swap(true, Ordering::AcqRel) {
            return;
        }
        let link = Arc::clone(self);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let _ = tokio::time::timeout(HEAL, link.client.force_reconnection()).await;
            link.healing.store(false, Ordering::Release);
        });
    }

    /// Ends the connection within `limit`; every later command fails at once.
    pub(super) async fn close(&self, limit: Duration) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // Without a connection, QUIT would wait for one.
        if self.client.is_connected() {
            let _ = tokio::time::timeout(limit, self.client.quit()).await;
        }
        self.task.abort();
    }

    fn ready(&self) -> Result<(), Fault> {
        if self.closed.load(Ordering::Acquire) || !self.client.is_connected() {
            return Err(Fault::Unavailable);
        }
        Ok(())
    }

    /// fred heeds no other way of naming the slot of such a command.
    fn slot(&self, key: &str) -> ClusterHash {
        if self.is_clustered() {
            ClusterHash::Custom(redis_keyslot(key.as_bytes()))
        } else {
            ClusterHash::FirstKey
        }
    }

    fn options(&self, timeout: Duration) -> Options {
        client::options(timeout, self.is_clustered())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("state", &self.client.state())
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // fred's task would go on reconnecting for ever.
        self.task.abort();
    }
}

impl Fault {
    fn server(text: &str) -> Self {
        Self::Answer(Error::new(ErrorKind::Unknown, text.to_owned()))
    }

    /// An answer of another shape than the command has.
    pub(super) fn shape() -> Self {
        Self::Answer(Error::new(
            ErrorKind::Protocol,
            "an answer of an unexpected shape",
        ))
    }

    /// Whether another server than this one is the primary now.
    pub(super) fn is_demoted(&self) -> bool {
        matches!(self, Self::Answer(error) if error.details().starts_with("READONLY"))
    }
}

impl From<Fault> for TierError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable => Self::Unavailable,
            Fault::TimedOut => Self::TimedOut,
            Fault::Answer(error) => Self::Failed(error.into()),
        }
    }
}

impl From<Fault> for LogError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable => Self::Unavailable,
            Fault::TimedOut => Self::TimedOut,
            Fault::Answer(error) => Self::Failed(error.into()),
        }
    }
}

fn judge(answer: Result<Frame, Error>) -> Result<Frame, Fault> {
    match answer {
        Ok(Frame::SimpleError { data, .. }) => Err(Fault::server(&data)),
        Ok(Frame::BlobError { data, .. }) => Err(Fault::server(&String::from_utf8_lossy(&data))),
        Ok(frame) => Ok(frame),
        Err(error) => Err(match error.kind() {
            ErrorKind::Timeout => Fault::TimedOut,
            ErrorKind::Canceled | ErrorKind::IO => Fault::Unavailable,
            _ => Fault::Answer(error),
        }),
    }
}

fn is_sha1(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

const HEAL: Duration = Duration::from_secs(30);
