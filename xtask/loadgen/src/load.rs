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

/// Longest run: times are counted in nanoseconds and a schedule's moments in floating point, exact for far longer.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Highest rate: a thread sends far less.
const RATE_MAX: f64 = 10_000_000.0;

/// Most connections and users: one address has no more ports to connect from.
const CONNECTIONS_MAX: usize = 60_000;

/// Most generator threads.
const THREADS_MAX: usize = 256;

impl Load {
    /// Whether it can be carried out; [`run`](crate::run) asks that first.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn validate(&self) -> Result<(), LoadError> {
        span("duration", self.duration)?;
        span("timeout", self.timeout)?;
        if self.warmup > DURATION_MAX {
            return Err(refuse(
                "warmup",
                format!("{:?}", self.warmup),
                "is longer than 30 days",
            ));
        }
        let (field, connections) = match &self.model {
            Model::Closed { users } => ("users", *users),
            Model::Open(_) => ("connections", self.connections),
        };
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            return Err(refuse(field, connections, "expected 1 to 60000"));
        }
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return Err(refuse("threads", self.threads, "expected 1 to 256"));
        }
        if self.threads > connections {
            let problem = format!("a thread needs a connection, and {field} is {connections}");
            return Err(refuse("threads", self.threads, &problem));
        }
        if self.requests == Some(0) {
            return Err(refuse("requests", 0, "expected at least one"));
        }
        if !self.cpus.is_empty() && self.cpus.len() < self.threads {
            let problem = format!(
                "expected a core for each of {} threads, or none",
                self.threads
            );
            return Err(refuse("cpus", format!("{:?}", self.cpus), &problem));
        }
        match &self.model {
            Model::Closed { .. } => Ok(()),
            Model::Open(arrivals) => arrivals.validate(self.duration),
        }
    }
}

impl Arrivals {
    fn validate(&self, duration: Duration) -> Result<(), LoadError> {
        match self {
            Self::Constant { rate: value } | Self::Poisson { rate: value } => {
                rate("rate", *value, *value)
            }
            Self::Ramp { from, to } => {
                let highest = from.max(*to);
                rate("from", *from, highest)?;
                rate("to", *to, highest)
            }
            Self::Step { rates } => {
                let highest = rates.iter().copied().fold(0.0, f64::max);
                if rates.is_empty() {
                    return Err(refuse("rates", "[]", "expected at least one"));
                }
                rates
                    .iter()
                    .try_for_each(|value| rate("rates", *value, highest))
            }
            Self::Spike {
                base,
                peak,
                at,
                lasts,
            } => {
                rate("peak", *peak, *peak)?;
                rate("base", *base, *peak)?;
                span("lasts", *lasts)?;
                if at.checked_add(*lasts).is_none_or(|end| end > duration) {
                    let problem =
                        format!("the burst of {lasts:?} ends after the run of {duration:?}");
                    return Err(refuse("at", format!("{at:?}"), &problem));
                }
                Ok(())
            }
            Self::Replay { offsets } => {
                if offsets.first().is_none_or(|first| *first >= duration) {
                    let value = format!("of {} moments", offsets.len());
                    return Err(refuse("offsets", value, "none lies within the run"));
                }
                match offsets.windows(2).find(|pair| pair[1] < pair[0]) {
                    Some(pair) => {
                        let problem =
                            format!("is before {:?}; expected ascending moments", pair[0]);
                        Err(refuse("offsets", format!("{:?}", pair[1]), &problem))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

/// One rate of several; the highest of them must not be zero.
fn rate(field: &'static str, value: f64, highest: f64) -> Result<(), LoadError> {
    if !(0.0..=RATE_MAX).contains(&value) {
        return Err(refuse(
            field,
            value,
            "expected requests per second, at most ten million",
        ));
    }
    if highest == 0.0 {
        return Err(refuse(field, value, "expected a rate above zero"));
    }
    Ok(())
}

fn span(field: &'static str, value: Duration) -> Result<(), LoadError> {
    if value.is_zero() || value > DURATION_MAX {
        return Err(refuse(
            field,
            format!("{value:?}"),
            "expected more than nothing and at most 30 days",
        ));
    }
    Ok(())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "numbers and texts that end here"
)]
pub(crate) fn refuse(field: &'static str, value: impl ToString, problem: &str) -> LoadError {
    LoadError {
        field,
        value: value.to_string(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(change: impl FnOnce(&mut Load), error: &Expect) {
        let mut load = Load::default();
        change(&mut load);
        error.assert_eq(&load.validate().expect_err("an impossible load").to_string());
    }

    fn check_open(arrivals: Arrivals, error: &Expect) {
        check(|load| load.model = Model::Open(arrivals), error);
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_its_field_and_value() {
        check(
            |load| load.duration = Duration::ZERO,
            &expect!["duration 0ns: expected more than nothing and at most 30 days"],
        );
        check(
            |load| load.timeout = Duration::MAX,
            &expect![
                "timeout 18446744073709551615.999999999s: expected more than nothing and at most 30 days"
            ],
        );
        check(
            |load| load.model = Model::Closed { users: 0 },
            &expect!["users 0: expected 1 to 60000"],
        );
        check(
            |load| load.threads = 9,
            &expect!["threads 9: a thread needs a connection, and users is 8"],
        );
        check(
            |load| load.threads = 0,
            &expect!["threads 0: expected 1 to 256"],
        );
        check(
            |load| load.requests = Some(0),
            &expect!["requests 0: expected at least one"],
        );
        check(
            |load| (load.threads, load.cpus) = (2, vec![1]),
            &expect!["cpus [1]: expected a core for each of 2 threads, or none"],
        );
    }

    #[test]
    fn arrivals_that_never_come_are_refused() {
        check_open(
            Arrivals::Constant { rate: 0.0 },
            &expect!["rate 0: expected a rate above zero"],
        );
        check_open(
            Arrivals::Poisson { rate: f64::NAN },
            &expect!["rate NaN: expected requests per second, at most ten million"],
        );
        check_open(
            Arrivals::Ramp {
                from: 1.0,
                to: -1.0,
            },
            &expect!["to -1: expected requests per second, at most ten million"],
        );
        check_open(
            Arrivals::Step {
                rates: vec![0.0, 0.0],
            },
            &expect!["rates 0: expected a rate above zero"],
        );
        check_open(
            Arrivals::Step { rates: vec![] },
            &expect!["rates []: expected at least one"],
        );
        let at = Duration::from_secs(9);
        check_open(
            Arrivals::Spike {
                base: 0.0,
                peak: 5.0,
                at,
                lasts: Duration::from_secs(2),
            },
            &expect!["at 9s: the burst of 2s ends after the run of 10s"],
        );
        check_open(
            Arrivals::Replay {
                offsets: [Duration::from_secs(11)].into(),
            },
            &expect!["offsets of 1 moments: none lies within the run"],
        );
        check_open(
            Arrivals::Replay {
                offsets: [2, 1].map(Duration::from_secs).into(),
            },
            &expect!["offsets 1s: is before 2s; expected ascending moments"],
        );
    }
}
