//! Client-side tracking: Redis tells when somebody changes one of our keys, even past our log.

use std::{
    fmt::Write,
    sync::{Arc, Weak},
    time::Duration,
};

use fred::{
    interfaces::{EventInterface, TrackingInterface},
    types::{Value, client::Invalidation, config::Server},
};
use futures_util::future::{Either, select};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    link::{Fault, Link},
    parts::Heard,
};
use crate::{
    coherence::{Effect, Target},
    hash::{KeyHasher, text_hash},
};

/// Follows what Redis tells over the link that also writes; ends with the link.
///
/// Own writes are heard as well: Redis does not count those of scripts as the caller's (`NOLOOP`), and
/// to leave them out here could leave out the change of another in the same moment. The price is one more
/// read of Redis after each fill.
///
/// Tracking belongs to a connection. Whenever there was another one, or news were lost, everything
/// counts as changed.
pub(super) async fn track(link: Weak<Link>, prefix: Arc<str>, heard: Heard) {
    let Some(strong) = link.upgrade() else { return };
    let mut changes = strong.client().invalidation_rx();
    let mut connections = strong.client().reconnect_rx();
    drop(strong);
    let mut on = false;
    loop {
        if !on {
            let Some(strong) = link.upgrade() else { return };
            on = begin(&strong, &prefix).await.is_ok();
            drop(strong);
            if on {
                heard(&[EVERYTHING]);
            } else {
                tokio::time::sleep(RETRY).await;
            }
            continue;
        }
        match next(&mut connections, &mut changes).await {
            News::Connection => on = false,
            News::Keys(names) => {
                let changes: Vec<_> = names
                    .iter()
                    .filter_map(|name| key_of(&prefix, name))
                    .map(|key| (Target::Key(key), Effect::Expire))
                    .collect();
                heard(&changes);
            }
            News::Lost => heard(&[EVERYTHING]),
            News::End => return,
        }
    }
}

enum News {
    /// There is a new connection, without tracking.
    Connection,
    Keys(Vec<String>),
    /// Some were thrown away before we got to them.
    Lost,
    End,
}

async fn next(connections: &mut Receiver<Server>, changes: &mut Receiver<Invalidation>) -> News {
    // CANCEL: a receiver that is dropped while it waits has taken nothing.
    let (connection, change) = (Box::pin(connections.recv()), Box::pin(changes.recv()));
    match select(connection, change).await {
        Either::Left((Err(RecvError::Closed), _)) | Either::Right((Err(RecvError::Closed), _)) => {
            News::End
        }
        Either::Left(_) => News::Connection,
        Either::Right((Err(RecvError::Lagged(_)), _)) => News::Lost,
        Either::Right((Ok(change), _)) => {
            let names = change.keys.into_iter();
            // One that is no text is none of ours.
            News::Keys(names.filter_map(|key| key.into_string()).collect())
        }
    }
}

async fn begin(link: &Link, prefix: &str) -> Result<(), Fault> {
    let words = |words: &[&str]| words.iter().map(|word| Value::from(*word)).collect();
    // A second time on the same connection is an error, so it ends first.
    link.call("CLIENT", prefix, words(&["TRACKING", "OFF"]))
        .await?;
    let on = ["TRACKING", "ON", "BCAST", "PREFIX", prefix, "NOLOOP"];
    link.call("CLIENT", prefix, words(&on)).await?;
    Ok(())
}

/// The hash of the key that has its value under the name. `namespace:epoch:` is the prefix; a cache's
/// name has no `:`.
fn key_of(prefix: &str, name: &str) -> Option<u64> {
    let (cache, text) = name.strip_prefix(prefix)?.split_once(':')?;
    let namespace = prefix.split(':').next()?;
    let mut hasher = KeyHasher::new(text_hash(&format!("{namespace}:{cache}")));
    let _ = hasher.write_str(text);
    Some(hasher.finish())
}

/// The values may be what they were, and invalidations proper come over the log: so it is an expiry.
const EVERYTHING: (Target, Effect) = (Target::All, Effect::Expire);
const RETRY: Duration = Duration::from_millis(250);
