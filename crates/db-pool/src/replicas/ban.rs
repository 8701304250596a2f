//! A server that failed its callers is left alone for a while, for longer each time, until it answers again.

use std::time::Duration;

use tokio::time::Instant;

/// The ban of one server, and how often it was banned lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Ban {
    strikes: u32,
    current: Option<Current>,
    ended: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Current {
    since: Instant,
    until: Instant,
    reason: String,
}

/// The shortest and the longest ban.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Ban {
    /// A caller was failed. Only the first failure counts while a ban lasts: one incident fails many callers.
    ///
    /// Returns whether this began a ban.
    pub(super) fn strike(&mut self, reason: String, terms: Terms, now: Instant) -> bool {
        if self.current.is_some() {
            return false;
        }
        let well = self.ended.map(|ended| now.saturating_duration_since(ended));
        if well.is_some_and(|well| well >= terms.most) {
            self.strikes = 0;
        }
        let doubled = terms.least.saturating_mul(1 << self.strikes.min(20));
        self.strikes = self.strikes.saturating_add(1);
        self.current = Some(Current {
            since: now,
            until: now + doubled.min(terms.most),
            reason,
        });
        true
    }

    /// The server answered a question asked at `asked`: ends a ban whose time is over.
    pub(super) fn answered(&mut self, asked: Instant, now: Instant) {
        if let Some(ban) = &self.current
            && asked > ban.since
            && now >= ban.until
        {
            self.current = None;
            self.ended = Some(now);
        }
    }

    pub(super) fn is_banned(&self) -> bool {
        self.current.is_some()
    }

    /// Whether the failsafe may use it: it answered a question asked after it failed.
    pub(super) fn may_be_lifted(&self, asked: Instant) -> bool {
        self.current.as_ref().is_none_or(|ban| asked > ban.since)
    }

    /// Why, and how much longer at least.
    pub(super) fn reason(&self, now: Instant) -> Option<(&str, Duration)> {
        let ban = self.current.as_ref()?;
        Some((&ban.reason, ban.until.saturating_duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        least: Duration::from_secs(1),
        most: Duration::from_secs(60),
    };

    #[tokio::test(start_paused = true)]
    async fn bans_double_up_to_the_longest_and_start_anew_after_good_behaviour() {
        let mut ban = Ban::default();
        let mut now = Instant::now();
        let mut lengths = Vec::new();
        for _ in 0..8 {
            assert!(ban.strike("gone".into(), TERMS, now));
            let (reason, left) = ban.reason(now).expect("banned");
            assert_eq!(reason, "gone");
            lengths.push(left.as_secs());
            now += left;
            ban.answered(now, now);
            assert!(!ban.is_banned());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
        now += TERMS.most;
        ban.strike("gone".into(), TERMS, now);
        assert_eq!(ban.reason(now).map(|(_, left)| left), Some(TERMS.least));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_ends_by_an_answer_and_not_by_time_alone() {
        let mut ban = Ban::default();
        let start = Instant::now();
        ban.strike("gone".into(), TERMS, start);
        assert!(!ban.strike("again".into(), TERMS, start), "one incident");
        let late = start + TERMS.most;
        ban.answered(start, late);
        assert!(ban.is_banned(), "asked before it failed");
        ban.answered(
            start + Duration::from_millis(1),
            start + Duration::from_millis(2),
        );
        assert!(ban.is_banned(), "before its time");
        assert!(ban.may_be_lifted(start + Duration::from_millis(1)));
        assert!(!ban.may_be_lifted(start));
        ban.answered(late, late);
        assert!(!ban.is_banned());
    }
}
