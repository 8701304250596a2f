//! What can be measured: services beside their peers, and crates beside theirs.

pub(crate) mod cores;
pub(crate) mod entrant;
pub(crate) mod micro;
pub(crate) mod subject;

mod answers;
mod figures;
mod pool;
mod rounds;
mod scenario;
mod startup;

use crate::build::Binaries;
use crate::report::Collector;
use crate::seed::Resource;
use crate::session::{Budget, Session};

pub(crate) use micro::micro;
pub(crate) use scenario::{Scenario, USERS};
use subject::Subject;

/// A scenario in which services are measured.
pub(crate) struct Suite {
    /// As it is called on the command line.
    pub(crate) name: &'static str,
    /// What it measures, in one line.
    pub(crate) about: &'static str,
    /// Measures it; what arrived in the collector counts even if it fails.
    pub(crate) run: fn(&Session, &Binaries, &mut Collector) -> anyhow::Result<()>,
}

/// Every suite of services, in the order in which they run.
pub(crate) fn all() -> &'static [Suite] {
    &SUITES
}

/// A scenario of [`all`] by its name, if it is one that answers requests.
pub(crate) fn scenario(name: &str) -> Option<&'static Scenario> {
    [&HELLO, &CACHED_READ, &DATABASE_READ]
        .into_iter()
        .find(|scenario| scenario.name == name)
}

static SUITES: [Suite; 4] = [
    Suite {
        name: HELLO.name,
        about: "GET /livez, beside a bare axum handler: what all layers of the service cost together",
        run: |session, binaries, collector| HELLO.run(session, binaries, collector),
    },
    Suite {
        name: CACHED_READ.name,
        about: "GET /api/v1/records/{id}: ours from its cache, beside services that ask the database",
        run: |session, binaries, collector| CACHED_READ.run(session, binaries, collector),
    },
    Suite {
        name: DATABASE_READ.name,
        about: "GET /api/v1/tasks/{id}: everybody reads one row by its key from the database",
        run: |session, binaries, collector| DATABASE_READ.run(session, binaries, collector),
    },
    Suite {
        name: startup::NAME,
        about: "from exec to ready, memory then, and from SIGTERM to exit under load with what is lost",
        run: startup::run,
    },
];

static HELLO: Scenario = Scenario {
    name: "hello",
    reads: None,
    subjects: &[Subject::Service, Subject::BareAxum],
};
static CACHED_READ: Scenario = Scenario {
    name: "cached-read",
    reads: Some(Resource::Records),
    subjects: &[Subject::Service, Subject::PlainAxum, Subject::Naive],
};
static DATABASE_READ: Scenario = Scenario {
    name: "database-read",
    reads: Some(Resource::Tasks),
    subjects: &[Subject::Service, Subject::PlainAxum, Subject::Naive],
};

/// How much is measured within a budget.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Rounds of each load, in each of which every subject has its turn.
    rounds: usize,
    /// Seconds of a closed round.
    closed_s: f64,
    /// Seconds of an open round.
    open_s: f64,
    /// Starts of each subject.
    starts: usize,
    /// Stops under load of each subject.
    stops: usize,
}

impl Effort {
    fn of(budget: Budget) -> Self {
        let (rounds, closed_s, open_s, starts, stops) = match budget {
            // With fewer than six an interval of 95 % is not to be had.
            Budget::Quick => (6, 0.6, 0.9, 7, 6),
            Budget::Normal => (6, 3.0, 5.0, 20, 6),
            Budget::Full => (9, 5.0, 15.0, 50, 9),
        };
        Self {
            rounds,
            closed_s,
            open_s,
            starts,
            stops,
        }
    }
}
