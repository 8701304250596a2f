//! Redis as a tier: values with versions, written and invalidated by scripts of one key each.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::types::{Resp3Frame as Frame, Value};
use futures_util::{FutureExt, future::BoxFuture};

use super::{
    layout,
    link::{Fault, Link},
    reads::Reads,
    scripts::{self, Script},
};
use crate::{
    cached::TierKind,
    coherence::{Effect, Floors, Version},
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};

/// Redis below memory; keys are `namespace:epoch:cache:key`.
pub(crate) struct RedisTier {
    link: Arc<Link>,
    reads: Arc<Reads>,
    tombstone_ttl: Duration,
}

impl RedisTier {
    pub(super) fn new(
        link: Arc<Link>,
        prefix: Arc<str>,
        floors: Arc<Floors>,
        tombstone_ttl: Duration,
    ) -> Self {
        Self {
            reads: Arc::new(Reads::new(Arc::clone(&link), prefix, floors)),
            link,
            tombstone_ttl,
        }
    }

    async fn run(
        &self,
        script: &Script,
        key: &EntryKey,
        arguments: Vec<Value>,
    ) -> Result<bool, TierError> {
        let name = self.reads.name(key);
        match self.link.run(script, None, &[&name], arguments).await {
            Ok(Frame::Number { data, .. }) => Ok(data == 1),
            Ok(_) => Err(Fault::shape().into()),
            Err(fault) => {
                if fault.is_demoted() {
                    self.link.heal();
                }
                Err(fault.into())
            }
        }
    }
}

impl fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTier")
            .field("link", &self.link)
            .field("reads", &self.reads)
            .field("tombstone_ttl", &self.tombstone_ttl)
            .finish_non_exhaustive()
    }
}

impl Tier for RedisTier {
    fn kind(&self) -> TierKind {
        TierKind::Redis
    }

    fn scope(&self) -> TierScope {
        TierScope::Shared
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        Arc::clone(&self.reads).one(key).boxed()
    }

    fn read_many<'a>(
        &'a self,
        keys: &'a [EntryKey],
    ) -> BoxFuture<'a, Vec<Result<Option<Bytes>, TierError>>> {
        self.reads.many(keys).boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        async move {
            let value = layout::value(entry.version, &entry.bytes);
            let arguments = vec![
                Value::from(layout::padded(entry.version)),
                Value::Bytes(value),
                Value::Integer(px(keep_for)),
            ];
            // CANCEL: the script runs whole or not at all, whether or not anybody waits for its answer.
            self.run(&scripts::FILL, key, arguments).await
        }
        .boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        async move {
            let script = match effect {
                Effect::Remove => &scripts::REMOVE,
                Effect::Expire => &scripts::EXPIRE,
            };
            let arguments = vec![
                Value::from(layout::padded(version)),
                Value::Integer(px(self.tombstone_ttl)),
            ];
            self.run(script, key, arguments).await.map(drop)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.link.close(CLOSE).boxed()
    }
}

/// PX 0 is an error to Redis, and so is a time past the end of its calendar.
fn px(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(PX_MAX)
        .clamp(1, PX_MAX)
}

/// A hundred years.
const PX_MAX: i64 = 100 * 366 * 24 * 3600 * 1000;
const CLOSE: Duration = Duration::from_secs(2);
