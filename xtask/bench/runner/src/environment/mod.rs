//! Where and when something was measured: what a reader needs to judge the figures, and to know which may be compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::Session;

/// The machine, the program and the moment. What the system does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Environment {
    /// When the session began, RFC 3339.
    pub(crate) started_at: String,
    /// When it ended, RFC 3339.
    pub(crate) ended_at: Option<String>,
    /// Operating system and architecture: `linux x86_64`.
    pub(crate) os: String,
    /// Its release.
    pub(crate) kernel: Option<String>,
    /// The processor's name.
    pub(crate) cpu: Option<String>,
    /// Logical cores of the machine.
    pub(crate) cores: usize,
    /// Cores that this process may use, after affinity and quota.
    pub(crate) usable_cores: f64,
    /// Memory of the machine, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// What the machine runs in: `kvm`, `docker`; absent for bare metal.
    pub(crate) virtualised: Option<String>,
    /// How the processor's frequency is governed.
    pub(crate) governor: Option<String>,
    /// `rustc -V`.
    pub(crate) rustc: Option<String>,
    /// The profile of cargo by which everything was built.
    pub(crate) profile: String,
    /// The commit.
    pub(crate) git_revision: Option<String>,
    /// Whether files differ from that commit.
    pub(crate) git_dirty: Option<bool>,
    /// Figures are comparable between machines of one class only.
    pub(crate) machine_class: String,
    /// Whether servers and generator had a core each.
    pub(crate) pinned: bool,
    /// The change below which this machine cannot tell, as a share, once it was calibrated.
    pub(crate) noise_floor: Option<f64>,
    /// Load averages over 1, 5 and 15 minutes when it began.
    pub(crate) load_before: Option<[f64; 3]>,
    /// The same when it ended.
    pub(crate) load_after: Option<[f64; 3]>,
    /// How much work waited when it began.
    pub(crate) pressure_before: Option<Pressure>,
    /// The same when it ended.
    pub(crate) pressure_after: Option<Pressure>,
    /// Share of CPU time that the host gave to others meanwhile.
    pub(crate) steal: Option<f64>,
}

/// Share of the last ten seconds in which some work waited, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Pressure {
    /// For a core.
    pub(crate) cpu: f64,
    /// For memory.
    pub(crate) memory: f64,
    /// For a disk.
    pub(crate) io: f64,
}

impl Environment {
    /// As it is now.
    pub(crate) fn before(session: &Session) -> Self {
        Self {
            pinned: session.pin,
            ..Self::default()
        }
    }

    /// Adds what can only be told at the end.
    pub(crate) fn finish(&mut self) {}
}
