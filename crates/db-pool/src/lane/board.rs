//! Which line takes the next statement, and who waits for a place: decisions only, no input or output.

use std::collections::VecDeque;

/// The lines of one pool and the queue in front of them. `W` is whoever waits.
pub(crate) struct Board<W> {
    depth: u32,
    queue_max: usize,
    lines: Vec<Line>,
    queue: VecDeque<(Want, W)>,
    /// Another line is being opened.
    expects: bool,
}

struct Line {
    id: u64,
    /// Takes new statements.
    open: bool,
    /// Places in use: statements under way, and handles that have not sent theirs yet.
    taken: u32,
    /// Those among them that are known to be slow.
    slow: u32,
}

/// What place is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// On any line that is quick to answer.
    Any,
    /// On this line, for a slow statement or a quick one.
    Line { id: u64, slow: bool },
}

impl Want {
    /// Whether the place is for a slow statement.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Line { slow: true, .. })
    }
}

/// What follows from a change: who gets a place, for what they wanted, on which line.
pub(crate) type Grants<W> = Vec<(W, Want, u64)>;

impl<W> Board<W> {
    pub(crate) fn new(depth: u32, queue_max: usize) -> Self {
        Self {
            depth,
            queue_max,
            lines: Vec::new(),
            queue: VecDeque::new(),
            expects: false,
        }
    }

    /// Takes a place now, if there is one. Never overtakes: a free place means that nobody in the queue wants it.
    pub(crate) fn take(&mut self, want: Want) -> Option<u64> {
        // Rather waits for a line to open than queues behind a slow statement.
        let (depth, quick) = (self.depth, self.expects || self.has_quick_line());
        let has_room = |line: &&mut Line| line.taken < depth;
        let line = match want {
            Want::Any => {
                let fits = |line: &&mut Line| line.open && (line.slow == 0 || !quick);
                let lines = self.lines.iter_mut().filter(has_room).filter(fits);
                lines.min_by_key(|line| line.taken)?
            }
            // Also on one that takes no new statements: whoever wants it is bound to it.
            Want::Line { id, .. } => {
                let mut lines = self.lines.iter_mut().filter(has_room);
                lines.find(|line| line.id == id)?
            }
        };
        line.taken += 1;
        line.slow += u32::from(want.is_slow());
        Some(line.id)
    }

    /// Joins the queue. Gives the waiter back when that is full; `left` tells who has gone without a word.
    pub(crate) fn wait(&mut self, want: Want, who: W, left: impl Fn(&W) -> bool) -> Result<(), W> {
        if self.queue.len() >= self.queue_max {
            self.queue.retain(|(_, who)| !left(who));
        }
        if self.queue.len() >= self.queue_max {
            return Err(who);
        }
        self.queue.push_back((want, who));
        Ok(())
    }

    /// The line for a statement of a handle that knows only the lines in `among`: slow ones share one.
    pub(crate) fn choose(&self, slow: bool, among: impl Fn(u64) -> bool) -> Option<u64> {
        let lines = self.lines.iter().filter(|line| line.open && among(line.id));
        let best = if slow {
            lines.min_by_key(|line| (line.slow == 0, line.taken))
        } else {
            lines.min_by_key(|line| (line.slow > 0, line.taken))
        };
        best.map(|line| line.id)
    }

    /// Gives a place back.
    pub(crate) fn give(&mut self, id: u64, slow: bool) -> Grants<W> {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == id) {
            line.taken = line.taken.saturating_sub(1);
            line.slow = line.slow.saturating_sub(u32::from(slow));
        }
        self.grant()
    }

    /// A line was opened, or is as good as new.
    pub(crate) fn open(&mut self, id: u64) -> Grants<W> {
        match self.lines.iter_mut().find(|line| line.id == id) {
            Some(line) => line.open = true,
            None => self.lines.push(Line {
                id,
                open: true,
                taken: 0,
                slow: 0,
            }),
        }
        self.grant()
    }

    /// Whether another line is being opened.
    pub(crate) fn expect(&mut self, expects: bool) -> Grants<W> {
        self.expects = expects;
        self.grant()
    }

    /// The line takes no new statements.
    pub(crate) fn shut(&mut self, id: u64) -> bool {
        let line = self.lines.iter_mut().find(|line| line.id == id);
        line.is_some_and(|line| std::mem::replace(&mut line.open, false))
    }

    /// Forgets a line that is closed, and whoever is bound to it.
    pub(crate) fn remove(&mut self, id: u64) -> Vec<W> {
        self.lines.retain(|line| line.id != id);
        self.dismiss(|want| matches!(want, Want::Line { id: bound, .. } if bound == id))
    }

    /// Takes those out of the queue for whom there will be no place.
    pub(crate) fn dismiss(&mut self, whom: impl Fn(Want) -> bool) -> Vec<W> {
        let (gone, kept) = self.queue.drain(..).partition(|(want, _)| whom(*want));
        let gone: VecDeque<(Want, W)> = gone;
        self.queue = kept;
        gone.into_iter().map(|(_, who)| who).collect()
    }

    /// Whether a line takes no new statements, nothing is under way on it, and nobody is bound to it.
    pub(crate) fn is_drained(&self, id: u64) -> bool {
        let bound = |want: &Want| matches!(want, Want::Line { id: bound, .. } if *bound == id);
        let line = self.lines.iter().find(|line| line.id == id);
        line.is_none_or(|line| !line.open && line.taken == 0)
            && !self.queue.iter().any(|(want, _)| bound(want))
    }

    /// Whether another open line would help: none is open, or all are busy or held up by slow statements.
    pub(crate) fn wants_another(&self) -> bool {
        let busy = |line: &Line| line.taken >= BUSY.min(self.depth) || line.slow > 0;
        self.lines.iter().filter(|line| line.open).all(busy)
    }

    /// How many lines take new statements.
    pub(crate) fn open_lines(&self) -> usize {
        self.lines.iter().filter(|line| line.open).count()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn has_quick_line(&self) -> bool {
        self.lines.iter().any(|line| line.open && line.slow == 0)
    }

    /// Serves the queue in its order; who wants what is not free lets others pass who want something else.
    fn grant(&mut self) -> Grants<W> {
        let mut grants = Vec::new();
        let mut at = 0;
        while let Some((want, _)) = self.queue.get(at) {
            let want = *want;
            match self.take(want) {
                Some(id) => grants.extend(self.queue.remove(at).map(|(want, who)| (who, want, id))),
                None => at += 1,
            }
        }
        grants
    }
}

/// So many statements at once are enough to keep a line busy.
const BUSY: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn board(depth: u32, lines: u64) -> Board<u32> {
        let mut board = Board::new(depth, 3);
        for id in 0..lines {
            assert!(board.open(id).is_empty());
        }
        board
    }

    #[test]
    fn statements_spread_over_the_lines_up_to_their_depth() {
        let mut board = board(2, 2);
        let taken: Vec<_> = (0..5).map(|_| board.take(Want::Any)).collect();
        assert_eq!(taken, [Some(0), Some(1), Some(0), Some(1), None]);
        assert_eq!(board.give(1, false), []);
        assert_eq!(board.take(Want::Any), Some(1));
    }

    #[test]
    fn who_waits_is_served_in_the_order_of_asking() {
        let mut board = board(1, 1);
        assert_eq!(board.take(Want::Any), Some(0));
        for who in [1, 2, 3] {
            assert_eq!(board.wait(Want::Any, who, |_| false), Ok(()));
        }
        assert_eq!(
            board.wait(Want::Any, 4, |_| false),
            Err(4),
            "the queue is full"
        );
        assert_eq!(
            board.wait(Want::Any, 4, |who| *who == 2),
            Ok(()),
            "one had left"
        );
        assert_eq!(board.give(0, false), [(1, Want::Any, 0)]);
        assert_eq!(board.give(0, false), [(3, Want::Any, 0)]);
        assert_eq!(
            board.open(1),
            [(4, Want::Any, 1)],
            "a new line serves the queue"
        );
    }

    #[test]
    fn quick_statements_keep_off_a_line_with_a_slow_one() {
        let mut board = board(2, 2);
        let slow = board.choose(true, |_| true).expect("a line is open");
        assert_eq!(
            board.take(Want::Line {
                id: slow,
                slow: true
            }),
            Some(slow)
        );
        assert_eq!(
            board.choose(true, |_| true),
            Some(slow),
            "slow ones share a line"
        );
        assert_eq!(board.take(Want::Any), Some(1));
        assert_eq!(board.take(Want::Any), Some(1));
        assert_eq!(
            board.take(Want::Any),
            None,
            "rather waits than queue behind a slow one"
        );
        assert_eq!(board.wait(Want::Any, 7, |_| false), Ok(()));
        assert_eq!(
            board.give(slow, true),
            [(7, Want::Any, slow)],
            "the slow one is over"
        );
    }

    #[test]
    fn where_all_lines_are_slow_quick_statements_go_along() {
        let mut board = board(2, 1);
        assert_eq!(board.take(Want::Line { id: 0, slow: true }), Some(0));
        assert_eq!(board.take(Want::Any), Some(0));
        assert!(board.wants_another());
        assert_eq!(board.expect(true), []);
        assert_eq!(
            board.take(Want::Any),
            None,
            "another line will be there soon"
        );
        assert_eq!(board.give(0, false), []);
        assert_eq!(board.wait(Want::Any, 7, |_| false), Ok(()));
        assert_eq!(board.expect(false), [(7, Want::Any, 0)], "none has come");
    }

    #[test]
    fn a_shut_line_serves_only_those_bound_to_it() {
        let mut board = board(1, 1);
        let bound = Want::Line { id: 0, slow: false };
        assert_eq!(board.take(Want::Any), Some(0));
        assert_eq!(board.wait(Want::Any, 1, |_| false), Ok(()));
        assert_eq!(board.wait(bound, 2, |_| false), Ok(()));
        assert!(board.shut(0));
        assert!(!board.shut(0), "only once");
        assert_eq!(board.give(0, false), [(2, bound, 0)]);
        assert_eq!(board.give(0, false), []);
        assert!(board.is_drained(0));
        assert_eq!((board.remove(0), board.waiting()), (vec![], 1));
        assert_eq!(board.open(1), [(1, Want::Any, 1)]);
    }

    #[test]
    fn closing_a_line_dismisses_who_is_bound_to_it() {
        let mut board = board(1, 1);
        let bound = Want::Line { id: 0, slow: false };
        assert_eq!(board.take(Want::Any), Some(0));
        assert_eq!(board.wait(bound, 2, |_| false), Ok(()));
        assert!(!board.is_drained(0));
        assert_eq!(board.remove(0), [2]);
        assert_eq!(
            board.give(0, false),
            [],
            "a place of a forgotten line is nobody's"
        );
    }
}
