//! What a run is to do: the model by which requests arrive, for how long, over how many connections.

use std::sync::Arc;
use std::time::Duration;

/// A run, without its target and its mix.
#[derive(Clone, Debug)]
pub struct Load {
    /// How requests arrive.
    pub model: Model,
    /// How long is measured, after the warm-up.
    pub duration: Duration,
    /// How long requests are sent before, with the same model, without being counted.
    pub warmup: Duration,
    /// Most connections, kept alive, over all threads. A closed model opens one for each user whatever this says.
    pub connections: usize,
    /// Generator threads; connections are shared out among them.
    pub threads: usize,
    /// Longest wait for one whole answer, counted from sending. Past it the request is an error and its connection is
    /// closed.
    pub timeout: Duration,
    /// Where the choice of routes, values and arrival times starts: the same seed gives the same requests.
    pub seed: u64,
    /// End after this many requests although time is left: to fill a database, say.
    pub requests: Option<u64>,
    /// CPU core of each generator thread, in order; empty leaves them to the scheduler.
    pub cpus: Vec<usize>,
}

impl Default for Load {
    /// Eight users for ten seconds after one second of warm-up, on one thread.
    fn default() -> Self {
        Self {
            model: Model::Closed { users: 8 },
            duration: Duration::from_secs(10),
            warmup: Duration::from_secs(1),
            connections: 64,
            threads: 1,
            timeout: Duration::from_secs(10),
            seed: 1,
            requests: None,
            cpus: Vec::new(),
        }
    }
}

/// How requests arrive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model {
    /// Each user sends, waits for the answer, sends again: finds the highest throughput, says little about latency.
    Closed {
        /// Connections with one request each under way.
        users: usize,
    },
    /// Requests arrive by a schedule that does not wait for answers: tells latency at a rate. Those that find no free
    /// connection wait, and their waiting counts as response time.
    Open(Arrivals),
}

/// When requests arrive in an open model; rates are requests per second.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Arrivals {
    /// Evenly spaced.
    Constant {
        /// Requests per second.
        rate: f64,
    },
    /// At random, as from many independent clients: exponential gaps. Even spacing hides queueing.
    Poisson {
        /// Requests per second, on average.
        rate: f64,
    },
    /// Linear from one rate to another over the whole run.
    Ramp {
        /// Requests per second at the beginning.
        from: f64,
        /// Requests per second at the end.
        to: f64,
    },
    /// Each rate for an equal share of the run.
    Step {
        /// Requests per second of each step, in order.
        rates: Vec<f64>,
    },
    /// A base rate with one burst in it.
    Spike {
        /// Requests per second outside the burst.
        base: f64,
        /// Requests per second within it.
        peak: f64,
        /// When it begins, from the start of the measurement.
        at: Duration,
        /// How long it lasts.
        lasts: Duration,
    },
    /// At recorded moments, as offsets from the start, ascending.
    Replay {
        /// The moments.
        offsets: Arc<[Duration]>,
    },
}

/// A load that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{field} {value}: {problem}")]
#[non_exhaustive]
pub struct LoadError {
    /// The field of [`Load`] or [`Arrivals`].
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// Why it cannot be.
    pub problem: String,
}
