//! How many restarts are allowed within a window of time. Decisions only; the caller says what time it is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Budget {
    restarts: u32,
    window: Duration,
    /// When those within the window began; never more than `restarts`.
    begun: VecDeque<Instant>,
}

impl Budget {
    pub(super) fn new((restarts, window): (u32, Duration)) -> Self {
        Self {
            restarts,
            window,
            begun: VecDeque::new(),
        }
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// Takes one restart out of the budget.
    ///
    /// # Errors
    /// How long until the next one is allowed; `None` when none ever is.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Option<Duration>> {
        let window = self.window;
        let age = |begun: &Instant| now.saturating_duration_since(*begun);
        while self.begun.front().is_some_and(|begun| age(begun) >= window) {
            self.begun.pop_front();
        }
        if self.begun.len() < self.restarts as usize {
            self.begun.push_back(now);
            return Ok(());
        }
        Err(self.begun.front().map(|begun| window - age(begun)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_window_slides() {
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        let mut budget = Budget::new((2, 10 * second));
        assert_eq!(budget.take(begun), Ok(()));
        assert_eq!(budget.take(begun + 4 * second), Ok(()));
        assert_eq!(budget.take(begun + 5 * second), Err(Some(5 * second)));
        assert_eq!(budget.take(begun + 10 * second), Ok(()));
        assert_eq!(budget.take(begun + 10 * second), Err(Some(4 * second)));
        assert_eq!(Budget::new((0, second)).take(begun), Err(None));
    }
}
