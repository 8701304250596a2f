//! One start as one line of JSON. Times are whole microseconds.
//!
//! `{"version":1,"graph":"9f86d081884c7d65","outcome":"started","took_us":232000,"left_out":0,
//! "nodes":[{"name":"database","own_us":153000,"outcome":"ready"}]}`, in one line.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NODES_MAX, PastNode, PastRun, key};
use crate::render::short;
use crate::report::Outcome;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    version: u32,
    /// 16 hexadecimal digits, since not every reader of JSON has integers of 64 bits.
    #[serde(borrow)]
    graph: Cow<'a, str>,
    outcome: RunOutcome,
    took_us: u64,
    #[serde(default)]
    left_out: u64,
    nodes: Vec<LineNode<'a>>,
}

#[derive(Serialize, Deserialize)]
struct LineNode<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    own_us: u64,
    outcome: NodeOutcome,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RunOutcome {
    Started,
    Failed,
}

/// Those of [`Outcome`] that a component which ran can have.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NodeOutcome {
    Ready,
    Failed,
    Cancelled,
    Unfinished,
}

/// Only the version, to tell a line of another release from a broken one.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The line without its end.
pub(super) fn write(run: &PastRun) -> String {
    let nodes = run.nodes.iter().map(|node| LineNode {
        name: node.name.as_str().into(),
        own_us: micros(node.own),
        outcome: match node.outcome {
            Outcome::Failed => NodeOutcome::Failed,
            Outcome::Cancelled | Outcome::Skipped => NodeOutcome::Cancelled,
            Outcome::Unfinished | Outcome::Unasked => NodeOutcome::Unfinished,
            Outcome::Ready | Outcome::Value => NodeOutcome::Ready,
        },
    });
    let line = Line {
        version: VERSION,
        graph: format!("{:016x}", run.graph).into(),
        outcome: if run.started {
            RunOutcome::Started
        } else {
            RunOutcome::Failed
        },
        took_us: micros(run.took),
        left_out: run.left_out,
        nodes: nodes.collect(),
    };
    serde_json::to_string(&line).expect("strings and integers can always be written")
}

/// # Errors
/// What is wrong with the line, as a clause.
pub(super) fn read(line: &[u8]) -> Result<PastRun, String> {
    let version: Version = serde_json::from_slice(line).map_err(|error| clause(&error))?;
    if version.version != VERSION {
        return Err(format!("version {} is not {VERSION}", version.version));
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| clause(&error))?;
    if line.nodes.len() > NODES_MAX {
        return Err(format!("more than {NODES_MAX} components"));
    }
    let graph =
        u64::from_str_radix(&line.graph, 16).map_err(|_| "`graph` is no hexadecimal number")?;
    let nodes = line.nodes.iter().map(|node| PastNode {
        name: key(&node.name).to_owned(),
        own: Duration::from_micros(node.own_us),
        outcome: match node.outcome {
            NodeOutcome::Ready => Outcome::Ready,
            NodeOutcome::Failed => Outcome::Failed,
            NodeOutcome::Cancelled => Outcome::Cancelled,
            NodeOutcome::Unfinished => Outcome::Unfinished,
        },
    });
    Ok(PastRun {
        graph,
        started: matches!(line.outcome, RunOutcome::Started),
        took: Duration::from_micros(line.took_us),
        nodes: nodes.collect(),
        left_out: line.left_out,
    })
}

/// What is wrong quotes the file, which may hold anything of any length.
fn clause(error: &serde_json::Error) -> String {
    short(&error.to_string(), CLAUSE_MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const VERSION: u32 = 1;
const CLAUSE_MAX: usize = 200;
