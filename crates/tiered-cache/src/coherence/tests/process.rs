//! One process of the tests: a ledger with its background task, and a folder if it is given one.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use super::server::Server;
use crate::{
    chance::Chance,
    coherence::{
        Change, Effect, Floors, Invalidations, Ledger, LedgerConfig, LocalLog, Log, Standing, Token,
    },
    tier::{EntryKey, Tier},
};

pub(super) const CACHE: u64 = 77;
pub(super) const TAG: u64 = 0x7A9;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) ledger: Arc<Ledger>,
    pub(super) floors: Arc<Floors>,
    task: JoinHandle<()>,
}

impl Process {
    pub(super) fn start(server: &Arc<Server>, instance: u64, folder: Option<&Path>) -> Self {
        let link = Arc::new(server.link(instance));
        let tier: Arc<dyn Tier> = Arc::clone(&link) as Arc<dyn Tier>;
        Self::begin(Some(link), &[tier], instance, folder)
    }

    /// Two replicas that have all of the log; the first keeps its record in `folder`.
    pub(super) async fn two(server: &Arc<Server>, folder: Option<&Path>) -> (Self, Self) {
        let one = Self::start(server, 1, folder);
        let two = Self::start(server, 2, None);
        one.until_ready().await;
        two.until_ready().await;
        (one, two)
    }

    /// With a shared tier of its own.
    pub(super) fn start_over(server: &Arc<Server>, instance: u64, tier: &Arc<dyn Tier>) -> Self {
        let link = Arc::new(server.link(instance));
        Self::begin(Some(link), &[Arc::clone(tier)], instance, None)
    }

    pub(super) fn alone(folder: Option<&Path>) -> Self {
        Self::begin(None, &[], 1, folder)
    }

    fn begin(
        log: Option<Arc<dyn Log>>,
        tiers: &[Arc<dyn Tier>],
        instance: u64,
        folder: Option<&Path>,
    ) -> Self {
        let floors = Arc::new(Floors::new(8));
        let chance = Arc::new(Chance::seeded(instance));
        let local = folder.map(|folder| {
            let log = LocalLog::open(folder, "tests", &floors, &chance);
            Arc::new(log.expect("a writable folder"))
        });
        let config = LedgerConfig {
            instance,
            unix_ms: 1_000_000,
            pending_max: 8,
            ..LedgerConfig::default()
        };
        let ledger = Ledger::new(Arc::clone(&floors), log, tiers, local, config, chance);
        let task = tokio::spawn(Ledger::run(Arc::downgrade(&ledger)));
        Self {
            ledger,
            floors,
            task,
        }
    }

    /// As `kill -9` does: nothing is said, nothing more is done.
    pub(super) fn kill(self) {
        self.task.abort();
        self.ledger.release();
    }

    /// Its background task goes away, as with the runtime that it ran in.
    pub(super) fn stop_following(&self) {
        self.task.abort();
    }

    /// Lets go of the ledger; what is left is the task.
    pub(super) fn release(self) -> JoinHandle<()> {
        self.task
    }

    pub(super) async fn until_ready(&self) {
        for _ in 0..10_000 {
            if self.ledger.shared_ready()
                && self.ledger.log_status().is_some_and(|s| s.pending == 0)
            {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("never ready: {:?}", self.ledger.log_status());
    }

    pub(super) fn invalidations(&self) -> Invalidations {
        Invalidations::new(Arc::clone(&self.ledger))
    }

    pub(super) fn token(&self) -> Token {
        self.floors.token()
    }

    /// How an entry of the key with [`TAG`] stands, filled under the token.
    pub(super) fn standing(&self, key: u64, token: Token) -> Standing {
        let cache = self.floors.of_cache(CACHE);
        self.floors.standing(&cache, key, &[TAG], token.local)
    }

    pub(super) fn shared_standing(&self, key: u64, token: Token) -> Standing {
        let cache = self.floors.of_cache(CACHE);
        self.floors
            .standing_shared(&cache, key, &[TAG], token.shared)
    }

    pub(super) async fn invalidate(&self, change: Change) -> bool {
        let ticket = self.ledger.announce(&[change]);
        self.ledger.settle(ticket).await.is_some()
    }
}

pub(super) fn remove(key: u64) -> Change {
    Change::key(CACHE, key, Effect::Remove, Some(entry(key)))
}

pub(super) fn entry(key: u64) -> EntryKey {
    EntryKey {
        cache: "tests".into(),
        hash: key,
        text: format!("key {key}").into(),
    }
}

/// Long enough for any retry, sweep and catching up.
pub(super) async fn settle_down() {
    sleep(Duration::from_secs(60)).await;
}
