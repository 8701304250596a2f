//! One task per server asks for its role and position, on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_postgres::SimpleQueryMessage;

use super::answer::{Answer, QUESTION};
use super::core::{Core, Node};
use crate::postgres::describe;

/// Watches one server for ever; the owner aborts it.
pub(super) async fn watch(core: Arc<Core>, server: usize) {
    let node = &core.nodes[server];
    let mut line = None;
    loop {
        let began = Instant::now();
        let limit = core.config.probe_timeout;
        let said = match timeout(limit, ask(node, &mut line)).await {
            Ok(said) => said.map_err(|why| (why, true)),
            Err(_) => Err((format!("nothing after {limit:?}"), false)),
        };
        let answers = said.is_ok();
        if !answers {
            // What comes late would be taken for the answer to the next question.
            line = None;
        }
        core.heard(server, said);
        if answers && let Err(error) = core.open(server).await {
            tracing::warn!(server = %node.name, %error, "the pool of a server cannot be opened");
            core.heard(server, Err((error.to_string(), true)));
        }
        let next = began + core.config.probe_interval;
        if timeout_at(next, node.hurry.notified()).await.is_ok() {
            sleep_until(began + SHORTEST_GAP).await;
        }
    }
}

/// A connection and the task that moves its bytes, which ends with it.
pub(crate) struct Line {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) driver: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn ask(node: &Node, line: &mut Option<Line>) -> Result<Answer, String> {
    if node.anew.swap(false, Ordering::AcqRel) {
        *line = None;
    }
    let line = match line {
        Some(line) => line,
        None => line.insert(
            node.connector
                .line()
                .await
                .map_err(|error| in_full(&error))?,
        ),
    };
    let asked = Instant::now();
    let rows = line.client.simple_query(QUESTION).await;
    let rows = rows.map_err(|error| describe(&error))?;
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let columns: Vec<_> = row
        .map(|row| (0..row.len()).map(|column| row.get(column)).collect())
        .unwrap_or_default();
    Answer::read(&columns, asked, asked.elapsed())
        .ok_or_else(|| "its answer cannot be read; is it PostgreSQL?".to_owned())
}

fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// However many want to know, a server is not asked more often.
const SHORTEST_GAP: std::time::Duration = std::time::Duration::from_millis(10);
