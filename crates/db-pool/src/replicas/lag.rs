//! How far a standby is behind: in bytes and in time, by what the primary was seen to have written and when.
//!
//! The age of the last replayed transaction, which servers offer, grows while nobody writes and compares the clocks of
//! two machines. So time is measured by positions: a standby is as old as the last moment at which the primary had
//! written no more than the standby has replayed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::lsn::Lsn;

/// How far a standby is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// Where the primary's log ended, and when; the newest last.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Instant, Lsn)>);

impl History {
    pub(super) fn observe(&mut self, at: Instant, position: Lsn) {
        match self.0.back_mut() {
            // Answers may overtake each other.
            Some((newest, _)) if *newest >= at => return,
            // Nothing was written: whoever has this much is up to date until now.
            Some((newest, same)) if *same == position => {
                *newest = at;
                return;
            }
            _ => {}
        }
        if self.0.len() >= LONGEST {
            // Every other one: old lags are known less exactly, but none is lost.
            let mut keep = false;
            self.0.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.0.push_back((at, position));
    }

    /// Another primary has another log.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The lag of a standby that has replayed up to `replayed`, as of the primary's last word: when the primary is
    /// gone nobody knows more, and the standby ages no further.
    ///
    /// `claimed` is the standby's own estimate, for a lag that began before anybody watched.
    pub(super) fn lag(&self, replayed: Lsn, claimed: Option<Duration>) -> Lag {
        let Some(&(newest, end)) = self.0.back() else {
            return Lag::default();
        };
        if reached(replayed, end) {
            return Lag::default();
        }
        let seen = self
            .0
            .iter()
            .rev()
            .find(|(_, position)| reached(replayed, *position));
        let oldest = self.0.front().map_or(newest, |(at, _)| *at);
        let time = match seen {
            Some((at, _)) => newest.saturating_duration_since(*at),
            None => newest
                .saturating_duration_since(oldest)
                .max(claimed.unwrap_or_default()),
        };
        Lag {
            bytes: end.bytes() - replayed.bytes(),
            time,
        }
    }
}

/// Whether everything before `position` has been replayed.
///
/// At the start of a page the end of the log is given behind the page's header of 24 bytes (40 in the first page of a
/// file), the end of replay before it; no record of a commit is that short.
pub(super) fn reached(replayed: Lsn, position: Lsn) -> bool {
    let header = position.bytes() % PAGE;
    let header = if header == 24 || header == 40 {
        header
    } else {
        0
    };
    replayed.bytes() >= position.bytes() - header
}

const PAGE: u64 = 8192;
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_idle_primary_leaves_nobody_behind() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..1000 {
            history.observe(start + SECOND * second, Lsn::new(500));
        }
        let old = Some(SECOND * 1000);
        assert_eq!(history.lag(Lsn::new(500), old), Lag::default());
        assert_eq!(history.0.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_the_time_since_the_primary_was_where_the_standby_is() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..1000_u32 {
            history.observe(
                start + SECOND * second,
                Lsn::new(1000 + u64::from(second) * 100),
            );
        }
        assert!(history.0.len() <= LONGEST);
        let end = 1000 + 999 * 100;
        assert_eq!(history.lag(Lsn::new(end), None), Lag::default());
        let lag = history.lag(Lsn::new(end - 250), None);
        assert_eq!((lag.bytes, lag.time), (250, SECOND * 3));
        // From before the watch: the standby's own word, if it is longer.
        assert_eq!(history.lag(Lsn::new(10), None).time, SECOND * 999);
        assert_eq!(
            history.lag(Lsn::new(10), Some(SECOND * 5000)).time,
            SECOND * 5000
        );
    }

    #[test]
    fn the_header_of_a_page_is_not_waited_for() {
        let at = |bytes| Lsn::new(bytes);
        assert!(reached(at(8192), at(8192 + 24)));
        assert!(reached(at(16_384), at(16_384 + 40)));
        assert!(!reached(at(8191), at(8192 + 24)));
        assert!(!reached(at(8192), at(8192 + 32)));
        assert!(reached(at(100), at(100)) && !reached(at(99), at(100)));
    }
}
