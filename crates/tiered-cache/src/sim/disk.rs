//! The scripted disk: a tier that loses writes, answers values that were removed or replaced, or
//! answers nothing, and that outlives the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::sleep;

use super::{dice::Dice, lock};
use crate::{
    cached::TierKind,
    coherence::{Effect, Version},
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};

/// A folder; every process that opens it finds what the one before has left.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// All that was ever written under a key, oldest first; `None` is a removal.
    written: BTreeMap<String, Vec<Option<Bytes>>>,
}

/// How the disk behaves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum DiskMood {
    #[default]
    Well,
    /// Writes and removals are confirmed and forgotten.
    Forgetful,
    /// Reads give any value that was ever written, removed or not.
    Haunted,
    /// Reads find nothing.
    Empty,
    Failing,
    /// Nothing is answered within its time.
    Hung,
}

impl DiskMood {
    pub(super) const ALL: [Self; 6] = [
        Self::Well,
        Self::Forgetful,
        Self::Haunted,
        Self::Empty,
        Self::Failing,
        Self::Hung,
    ];
}

/// The disk tier of one process.
#[derive(Debug)]
pub(super) struct SimDisk {
    folder: Arc<Mutex<Folder>>,
    mood: Arc<Mutex<DiskMood>>,
    dice: Dice,
}

impl SimDisk {
    pub(super) fn new(folder: Arc<Mutex<Folder>>, mood: Arc<Mutex<DiskMood>>, dice: Dice) -> Self {
        Self { folder, mood, dice }
    }

    /// Waits as long as the disk takes, and fails if it does.
    async fn answer(&self) -> Result<DiskMood, TierError> {
        let mood = *lock(&self.mood);
        match mood {
            DiskMood::Hung => {
                sleep(DEADLINE).await;
                Err(TierError::TimedOut)
            }
            DiskMood::Failing if self.dice.one_in(2) => Err(TierError::Failed("I/O error".into())),
            _ => {
                if self.dice.one_in(2) {
                    sleep(Duration::from_millis(self.dice.between(1, 20))).await;
                }
                Ok(mood)
            }
        }
    }

    fn push(&self, key: &EntryKey, written: Option<Bytes>) {
        let mut folder = lock(&self.folder);
        folder.written.entry(name(key)).or_default().push(written);
    }
}

pub(super) fn name(key: &EntryKey) -> String {
    format!("{}/{}", key.cache, key.text)
}

impl Tier for SimDisk {
    fn kind(&self) -> TierKind {
        TierKind::Disk
    }

    fn scope(&self) -> TierScope {
        TierScope::Process
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        async {
            let mood = self.answer().await?;
            let folder = lock(&self.folder);
            let Some(written) = folder.written.get(&name(key)) else {
                return Ok(None);
            };
            Ok(match mood {
                DiskMood::Empty => None,
                DiskMood::Haunted => written[self.dice.index(written.len())].clone(),
                _ => written.last().cloned().flatten(),
            })
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        _: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        async move {
            let mood = self.answer().await?;
            if mood != DiskMood::Forgetful {
                self.push(key, Some(entry.bytes));
            }
            Ok(true)
        }
        .boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        _: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        async move {
            let mood = self.answer().await?;
            if mood != DiskMood::Forgetful && effect == Effect::Remove {
                self.push(key, None);
            }
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

const DEADLINE: Duration = Duration::from_millis(500);
