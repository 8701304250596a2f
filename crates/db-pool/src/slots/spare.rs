//! A connection for health checks that never queues behind users: an idle one if there is one, else one kept apart.

use std::panic::Location;

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout};

use super::Slots;
use super::acquire::Judged;
use crate::backend::{Backend, Condition};
use crate::error::{AcquireError, ConnectError, ConnectErrorKind};
use crate::guard::Checkout;
use crate::manager::Kept;
use crate::registry::SetId;

/// A connection that was got without waiting for users.
pub(crate) enum Spare<'a, B: Backend> {
    Lent(Checkout<B>),
    /// Always `Some`.
    Apart(MutexGuard<'a, Option<Kept<B::Connection>>>),
}

impl<B: Backend> Spare<'_, B> {
    pub(crate) fn connection_mut(&mut self) -> &mut B::Connection {
        match self {
            Self::Lent(checkout) => checkout.connection_mut(),
            Self::Apart(kept) => kept.as_mut().expect(FULL).connection_mut(),
        }
    }
}

impl<B: Backend> Slots<B> {
    /// Gets a connection without queueing; also while the pool is suspended.
    ///
    /// Waits at most `validation_timeout` for an idle connection to answer, then `connect_timeout` for another.
    #[track_caller]
    pub(crate) fn spare(&self) -> impl Future<Output = Result<Spare<'_, B>, AcquireError>> + Send {
        self.spare_for(Location::caller())
    }

    async fn spare_for(
        &self,
        at: &'static Location<'static>,
    ) -> Result<Spare<'_, B>, AcquireError> {
        let set = &self.0;
        let now = Instant::now();
        if let Some((checkout, fitness)) = set.try_at_once(now, at) {
            let deadline = now + set.shared.config.validation_timeout;
            if let Judged::Fit(checkout) = set.judge(checkout, fitness, deadline).await? {
                return Ok(Spare::Lent(checkout));
            }
        }
        let limit = set.shared.config.connect_timeout;
        match timeout(limit, self.apart()).await {
            Ok(spare) => spare,
            Err(_) => {
                let target = set.shared.config.shown_url();
                Err(ConnectError::new(ConnectErrorKind::TimedOut, target).into())
            }
        }
    }

    async fn apart(&self) -> Result<Spare<'_, B>, AcquireError> {
        let set = &self.0;
        // Waits for other health checks only.
        let mut kept = set.spare.lock().await;
        if set.shared.is_closed() {
            return Err(AcquireError::Closed);
        }
        let fit = kept.as_mut().is_some_and(|kept| {
            !kept.is_outdated(&set.shared, Instant::now())
                // Dirty if a check was dropped in the middle.
                && B::condition(kept.connection_mut()) == Condition::Clean
        });
        if !fit {
            if let Some(mut old) = kept.take() {
                B::abandon(old.connection_mut());
            }
            *kept = Some(Box::new(set.manager.open(SetId::Apart).await?));
        }
        Ok(Spare::Apart(kept))
    }
}

const FULL: &str = "filled before it is given out";
