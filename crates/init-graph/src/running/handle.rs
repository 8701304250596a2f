//! What can be asked of a running graph and done with it, from anywhere in a service.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::all::All;
use crate::core::{Phase, lock};
use crate::dep::Dep;
use crate::error::NodeError;
use crate::failure::{Failure, Why};
use crate::plan::{NodeId, Plan};
use crate::report::Report;
use crate::restart::{self, RestartError, RestartReport};
use crate::run::Run;
use crate::wiring::Offer;

/// Access to a graph that is running; a cheap clone that does not keep the graph running.
///
/// [`Running`](crate::Running) dereferences to it. After the graph has stopped there are no values any more, and what
/// waits ends.
#[derive(Clone)]
pub struct Handle {
    run: Arc<Run>,
}

impl Handle {
    pub(crate) fn new(run: Arc<Run>) -> Self {
        Self { run }
    }

    pub(crate) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// From the call of [`Graph::start`](crate::Graph::start) until it returned.
    pub fn took(&self) -> Duration {
        self.run.life.took()
    }

    /// Another handle.
    pub fn handle(&self) -> Self {
        self.clone()
    }

    // === values ===

    /// The value that a parameter `Dep<T>` would get: of several providers of `T` the one that is neither named nor
    /// tagged, or else the only one.
    ///
    /// `None` when there is no such provider, or its value is not there: it fell away, still starts, is being
    /// restarted, was not asked for yet, or the graph has stopped.
    pub fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Dep<T>> {
        self.value(choose(self.offers::<T>(), None)?)
    }

    /// The value of type `T` of the component of this name; `None` as for [`get`](Self::get).
    pub fn get_named<T: ?Sized + Send + Sync + 'static>(&self, name: &str) -> Option<Dep<T>> {
        let named = |offer: &&Offer| self.plan().node(offer.node).name() == name;
        self.value(self.offers::<T>().iter().find(named)?)
    }

    /// The value that a parameter `Dep<T, Tag>` would get; `None` as for [`get`](Self::get).
    pub fn get_tagged<T: ?Sized + Send + Sync + 'static, Tag: 'static>(
        &self,
    ) -> Option<Dep<T, Tag>> {
        let offer = choose(self.offers::<T>(), Some(TypeId::of::<Tag>()))?;
        self.run.value(offer.node, offer.view).map(Dep::new)
    }

    /// Every value of type `T` that is there, whoever made it, in the order of adding.
    pub fn all<T: ?Sized + Send + Sync + 'static>(&self) -> All<T> {
        let offers = self.offers::<T>().iter();
        All::new(offers.filter_map(|offer| self.value(offer)).collect())
    }

    fn offers<T: ?Sized + 'static>(&self) -> &[Offer] {
        let offers = self.run.providers.get(&TypeId::of::<T>());
        offers.map_or(&[], |offers| offers)
    }

    fn value<T: ?Sized + Send + Sync + 'static>(&self, offer: &Offer) -> Option<Dep<T>> {
        self.run.value(offer.node, offer.view).map(Dep::new)
    }

    // === what is known ===

    /// What was started.
    pub fn plan(&self) -> &Plan {
        &self.run.core.plan
    }

    /// How the start went so far; while components start in the background, each call knows more. Restarts do not
    /// change it.
    ///
    /// Takes time in proportion to the graph.
    pub fn report(&self) -> Report {
        self.run.life.kept_report(&self.run)
    }

    /// The components that failed and are not optional: in the background, or at the start with
    /// [`Policy::KeepGoing`](crate::Policy::KeepGoing).
    pub fn failures(&self) -> Vec<NodeError> {
        lock(&self.run.failures).clone()
    }

    /// Waits for the first failure of a component that is not optional, and returns it at once when there was one; for
    /// ever when there is none, so use it beside something that ends.
    ///
    /// Components that start on demand, and those of a restart, do not count: their failures go to whoever asked.
    pub async fn failed(&self) -> NodeError {
        loop {
            // Made before the question, so that a failure in between is not missed.
            let failed = self.run.life.failed.notified();
            if let Some(failure) = lock(&self.run.failures).first() {
                return failure.clone();
            }
            failed.await;
        }
    }

    // === waiting ===

    /// Waits until the component or [milestone](crate::Graph::milestone) of this name is ready, and returns at once when
    /// it is.
    ///
    /// One that starts on demand is waited for until somebody asks. Dropping the future has no effect.
    ///
    /// # Errors
    /// Why it is not ready: it failed, was skipped, the graph stops, or nothing has this name.
    pub async fn reached(&self, name: &str) -> Result<(), Failure> {
        let run = &self.run;
        let Some(id) = self.find(name) else {
            return Err(Failure::new(name.to_owned().into(), Why::Unknown));
        };
        loop {
            let settled = run.core.settled(id);
            match run.core.phase(id) {
                Phase::Ready => return Ok(()),
                Phase::Failed | Phase::Skipped => return Err(run.failure(id)),
                _ => {}
            }
            tokio::select! {
                biased;
                () = run.life.closed() => {
                    return Err(Failure::new(name.to_owned().into(), Why::GivenUp));
                }
                () = settled => {}
            }
        }
    }

    /// Waits until nothing of the start goes on in the background any more, whether it is ready or fell away, or until
    /// the graph stops. Components that start on demand do not count.
    pub async fn settled(&self) {
        let run = &self.run;
        let all = async {
            for node in self.plan().nodes().iter().filter(|node| !node.is_lazy()) {
                // Asked first, since a wait costs memory for as long as the graph is there.
                while !run.core.phase(node.id).is_settled() {
                    let settled = run.core.settled(node.id);
                    if !run.core.phase(node.id).is_settled() {
                        settled.await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = run.life.closed() => {}
        }
    }

    // === restarting ===

    /// Stops the component that [`get`](Self::get) would take `T` from, and everything that depends on it, in reverse
    /// order, and starts them again as in a start: with their timeouts, retries and the graph's policy.
    ///
    /// Those that depend on it by nothing but [`Live`](crate::Live) keep running and see the new value;
    /// [`Lazy`](crate::Lazy) hands the new one out at the next call. Components on demand that have started are started
    /// again too. Whoever holds the old value as a [`Dep`] keeps it.
    ///
    /// Restarts happen one after another. A stop hook that fails does not hold up the restart, see
    /// [`RestartReport::stop`]. Dropping the future does not interrupt it; a shutdown does.
    ///
    /// # Errors
    /// [`RestartError::Failed`] when the part did not start again, told when nothing of it runs any more: with [`Policy::KeepGoing`](crate::Policy::KeepGoing)
    /// the rest of it stays, otherwise what had started was stopped again; a later restart may bring it back. For all
    /// other errors nothing was touched.
    pub async fn restart<T: ?Sized + Send + Sync + 'static>(
        &self,
    ) -> Result<RestartReport, RestartError> {
        let Some(offer) = choose(self.offers::<T>(), None) else {
            let wanted = std::any::type_name::<T>().to_owned();
            return Err(RestartError::Unknown { wanted });
        };
        restart::restart(&self.run, offer.node).await
    }

    /// As [`restart`](Self::restart), of the component of this name.
    ///
    /// # Errors
    /// As [`restart`](Self::restart).
    pub async fn restart_named(&self, name: &str) -> Result<RestartReport, RestartError> {
        let Some(id) = self.find(name) else {
            let wanted = name.to_owned();
            return Err(RestartError::Unknown { wanted });
        };
        restart::restart(&self.run, id).await
    }

    fn find(&self, name: &str) -> Option<NodeId> {
        let mut nodes = self.plan().nodes().iter();
        nodes.find(|node| node.name() == name).map(|node| node.id)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("took", &self.took())
            .finish_non_exhaustive()
    }
}

/// The one that a consumer without a `wire` means, by the rule of parameters.
fn choose(offers: &[Offer], tag: Option<TypeId>) -> Option<&Offer> {
    let tagged = || offers.iter().filter(|offer| offer.tag == tag);
    let unnamed: Vec<_> = tagged().filter(|offer| !offer.named).collect();
    let tagged: Vec<_> = tagged().collect();
    match (&*unnamed, &*tagged, offers) {
        ([offer], _, _) | (_, [offer], _) => Some(*offer),
        (_, [], [offer]) if tag.is_none() => Some(offer),
        _ => None,
    }
}
