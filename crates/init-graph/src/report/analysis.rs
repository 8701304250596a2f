//! Which nodes decided how long the start took: the chain of last arrivals, the slack of each node, and how short the
//! start could have been. Computed once, when somebody asks.

use std::sync::OnceLock;

use crate::report::activity::Activities;
use crate::report::drag::Detours;

pub(crate) struct Analysis {
    pub(crate) activities: Activities,
    /// The latest end of each activity that would not have delayed the start; [`FREE`] where nothing waits for it.
    late: Box<[u64]>,
    /// When the start ended.
    end: u64,
    /// The activity that the start ended with, or that ended it.
    last: Option<u32>,
    detours: OnceLock<Detours>,
}

impl Analysis {
    /// `awaited` tells of a node whether the start waited for it itself, not only because of others; `fatal`, whether the
    /// start was given up for it.
    pub(crate) fn new(
        activities: Activities,
        awaited: impl Fn(u32) -> bool,
        fatal: impl Fn(u32) -> bool,
        nodes: u32,
    ) -> Self {
        let end_of = |node: &u32| std::cmp::Reverse(activities.end[*node as usize]);
        let ends = (0..nodes).filter(|node| awaited(*node));
        let latest = ends.clone().min_by_key(end_of);
        // What was cancelled because of another ended at the same time, or later, and decided nothing.
        let fatal = (0..nodes).filter(|node| fatal(*node)).min_by_key(end_of);
        let last = fatal.or(latest);
        let end = latest.map_or(0, |node| activities.end[node as usize]);
        let mut late = vec![FREE; activities.len()];
        for node in ends {
            late[node as usize] = end;
        }
        for place in (0..activities.len()).rev() {
            let activity = activities.at(place);
            let limit = late[activity as usize];
            if limit == FREE {
                continue;
            }
            let begin = limit - activities.weight(activity);
            for before in activities.before.of(activity) {
                let slot = &mut late[*before as usize];
                *slot = begin.min(*slot);
            }
        }
        Self {
            activities,
            late: late.into(),
            end,
            last,
            detours: OnceLock::new(),
        }
    }

    /// The nodes of the critical chain, first to last.
    pub(crate) fn chain(&self) -> Vec<u32> {
        let mut chain: Vec<u32> = Vec::new();
        let mut next = self.last;
        while let Some(activity) = next {
            let node = self.activities.node_of(activity);
            // The first half of a node that is there with its second one already says nothing new.
            if !self.activities.is_first_half(activity) || !chain.contains(&node) {
                chain.push(node);
            }
            next = self.activities.last_before(activity);
        }
        chain.reverse();
        chain
    }

    /// How much later `node` could have ended without delaying the start; `None` when the start did not wait for it.
    pub(crate) fn slack(&self, node: u32) -> Option<u64> {
        let late = self.late[node as usize];
        (late != FREE).then(|| late.saturating_sub(self.activities.end[node as usize]))
    }

    /// Whether the start waited for `node`, directly or because of others.
    pub(crate) fn is_awaited(&self, node: u32) -> bool {
        self.late[node as usize] != FREE
    }

    /// How much sooner the start would have ended if `node` had taken no time.
    pub(crate) fn drag(&self, node: u32) -> u64 {
        if self
            .activities
            .of_node(node)
            .all(|activity| !self.is_critical(activity))
        {
            return 0;
        }
        if self.activities.of_node(node).count() > 1 {
            return self.end() - self.end_without(node);
        }
        let activities = &self.activities;
        let detours = self.detours.get_or_init(|| Detours::new(self));
        let through = self.longest_through(node) - activities.own(node);
        self.end().saturating_sub(through.max(detours.around(node)))
    }

    /// The end of the start with the own time of `node` left out: one pass over the whole graph.
    fn end_without(&self, node: u32) -> u64 {
        let activities = &self.activities;
        let length = |activity| {
            let left_out = if activities.node_of(activity) == node {
                activities.own(activity)
            } else {
                0
            };
            activities.weight(activity) - left_out
        };
        let longest = self.longest_path(length, |activity| self.ends_start(activity));
        longest.min(self.end())
    }

    /// The longest path of own times, waits between attempts included: no executor could have done without it.
    pub(crate) fn longest_own(&self) -> u64 {
        self.longest_path(
            |activity| self.activities.own(activity),
            |activity| self.late[activity as usize] != FREE,
        )
    }

    /// The longest path to any activity that `counts`, each as long as `length` says.
    fn longest_path(&self, length: impl Fn(u32) -> u64, counts: impl Fn(u32) -> bool) -> u64 {
        let activities = &self.activities;
        let mut path = vec![0_u64; activities.len()];
        let mut longest = 0;
        for place in 0..activities.len() {
            let activity = activities.at(place);
            let before = activities.before.of(activity).iter();
            let before = before.map(|at| path[*at as usize]).max();
            path[activity as usize] = before.unwrap_or(0) + length(activity);
            if counts(activity) {
                longest = longest.max(path[activity as usize]);
            }
        }
        longest
    }

    /// When the start ended.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether the start waited for the activity itself.
    pub(crate) fn ends_start(&self, activity: u32) -> bool {
        // An activity before others can only be later than these.
        self.late[activity as usize] == self.end()
    }

    pub(crate) fn is_critical(&self, activity: u32) -> bool {
        self.late[activity as usize] == self.activities.end[activity as usize]
    }

    /// The length of the longest way through the start that goes over `activity`.
    pub(crate) fn longest_through(&self, activity: u32) -> u64 {
        let (late, end) = (
            self.late[activity as usize],
            self.activities.end[activity as usize],
        );
        if late == FREE {
            0
        } else {
            self.end() - (late - end)
        }
    }

    /// The length of the longest way from before `activity` to the end of the start.
    pub(crate) fn longest_from(&self, activity: u32) -> u64 {
        let late = self.late[activity as usize];
        if late == FREE {
            0
        } else {
            self.end() - late + self.activities.weight(activity)
        }
    }
}

const FREE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::plan::NodeId;
    use crate::report::fixture::{Scene, ms};
    use crate::report::{NodeReport, Outcome, Report};

    /// Per node its own time, the wait for a permit before it, and bits that say which earlier nodes it depends on.
    type Spec = Vec<(u64, u64, u16)>;

    fn specs() -> impl Strategy<Value = Spec> {
        let wait = prop_oneof![3 => Just(0_u64), 1 => 0..20_u64];
        prop::collection::vec(
            (
                prop_oneof![Just(0_u64), 0..30_u64],
                wait,
                any::<u16>(),
                any::<u16>(),
            ),
            0..14,
        )
        .prop_map(|specs| {
            specs
                .into_iter()
                .map(|(own, wait, some, others)| (own, wait, some & others))
                .collect()
        })
    }

    fn dependencies(spec: &Spec, node: usize) -> Vec<u32> {
        (0..node as u32)
            .filter(|other| spec[node].2 >> other & 1 == 1)
            .collect()
    }

    /// When each node ends, and the last of all.
    fn ends(spec: &Spec) -> (Vec<u64>, u64) {
        let mut ends: Vec<u64> = Vec::new();
        for (node, (own, wait, _)) in spec.iter().enumerate() {
            let free = dependencies(spec, node)
                .iter()
                .map(|other| ends[*other as usize])
                .max();
            ends.push(free.unwrap_or(0) + wait + own);
        }
        let last = ends.iter().max().copied().unwrap_or(0);
        (ends, last)
    }

    fn report(spec: &Spec) -> Report {
        let (ends, _) = ends(spec);
        let mut scene = Scene::default();
        for (node, (own, wait, _)) in spec.iter().enumerate() {
            let name = format!("n{node}");
            let record = scene.ran(
                name,
                &dependencies(spec, node),
                ends[node] - own,
                ends[node],
            );
            record.queued = ms(*wait);
        }
        scene.report()
    }

    fn names(nodes: &[NodeReport<'_>]) -> Vec<String> {
        nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    proptest! {
        /// Drag by leaving the node's time out and computing all anew; slack by delaying the node.
        #[test]
        fn drag_and_slack_are_what_a_computation_of_all_anew_gives(spec in specs()) {
            let report = report(&spec);
            let (_, last) = ends(&spec);
            for (at, node) in report.nodes().enumerate() {
                let mut without = spec.clone();
                without[at].0 = 0;
                prop_assert_eq!(node.drag(), ms(last - ends(&without).1), "drag of {} in {:?}", at, spec);
                let slack = node.slack().unwrap().as_millis() as u64;
                let mut late = spec.clone();
                late[at].0 += slack;
                prop_assert_eq!(ends(&late).1, last);
                late[at].0 += 1;
                prop_assert_eq!(ends(&late).1, last + 1);
            }
        }

        /// The chain explains the whole time: each link begins when the one before it ended.
        #[test]
        fn the_critical_chain_is_without_gaps(spec in specs()) {
            let report = report(&spec);
            let chain = report.critical_chain();
            let mut at = Duration::ZERO;
            for node in &chain {
                prop_assert_eq!(node.settled_at() - node.own() - node.queued(), at);
                prop_assert_eq!(node.slack(), Some(Duration::ZERO));
                at = node.settled_at();
            }
            prop_assert_eq!(at, report.took());
        }

        /// Whatever the times, however impossible: numbers that make sense and no panic.
        #[test]
        fn impossible_times_do_no_harm(
            times in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>(), any::<u16>(), 0..7_usize), 0..12),
            lazy in prop::collection::vec((0..12_u32, 0..12_u32, any::<u32>()), 0..8),
            took in any::<u32>(),
        ) {
            let mut scene = Scene::default();
            for (at, (began, settled, own, bits, outcome)) in times.iter().enumerate() {
                let before: Vec<_> = (0..at as u32).filter(|other| bits >> other & 1 == 1).collect();
                let record = scene.ran(format!("n{at}"), &before, u64::from(*began), u64::from(*settled));
                record.own = Duration::from_nanos(u64::from(*own) << 32);
                record.outcome = OUTCOMES[*outcome];
            }
            for (owner, target, asked) in lazy {
                if owner.max(target) < times.len() as u32 {
                    scene.lazy(owner, target, u64::from(asked));
                }
            }
            scene.took = Some(u64::from(took));
            let report = scene.report();
            for node in report.nodes() {
                prop_assert!(node.drag() <= report.latest());
                prop_assert!(node.slack().is_none_or(|slack| slack <= report.latest()));
            }
            prop_assert!((0.0..=1.0).contains(&report.efficiency()), "{}", report.efficiency());
            prop_assert!(report.parallelism().is_finite());
            prop_assert!(report.lower_bound() <= report.took());
            prop_assert!(report.critical_chain().len() <= times.len());
            prop_assert!(!report.to_string().contains("NaN"));
        }
    }

    impl Report {
        fn latest(&self) -> Duration {
            self.nodes()
                .map(|node| node.settled_at())
                .max()
                .unwrap_or_default()
        }
    }

    const OUTCOMES: [Outcome; 7] = [
        Outcome::Value,
        Outcome::Ready,
        Outcome::Failed,
        Outcome::Skipped,
        Outcome::Cancelled,
        Outcome::Unfinished,
        Outcome::Unasked,
    ];

    #[test]
    fn nothing_and_one_node_and_no_time_make_sense() {
        let report = Scene::default().report();
        assert_eq!(
            (
                report.parallelism(),
                report.efficiency(),
                report.lower_bound()
            ),
            (0.0, 1.0, ms(0))
        );
        assert!(report.critical_chain().is_empty() && report.blame().is_empty());
        let mut scene = Scene::default();
        scene.ran("only", &[], 0, 0);
        let report = scene.report();
        let only = report.node("only").unwrap();
        assert_eq!((only.slack(), only.drag()), (Some(ms(0)), ms(0)));
        assert_eq!((report.parallelism(), report.efficiency()), (0.0, 1.0));
        assert_eq!(names(&report.critical_chain()), ["only"]);
    }

    #[test]
    fn a_lazy_that_was_waited_for_stands_before_its_owner_and_takes_its_time_with_it() {
        let mut scene = Scene::default();
        scene.ran("config", &[], 0, 10);
        scene.ran("index", &[], 30, 130).free_at = ms(30);
        scene.last().lazy = true;
        scene.ran("other", &[0], 10, 40);
        // Asks after 20 milliseconds, waits for 100 and goes on for another 5.
        scene.ran("search", &[0], 10, 135);
        scene.lazy(3, 1, 30);
        let report = scene.report();
        let node = |name| report.node(name).unwrap();
        assert_eq!(
            names(&report.critical_chain()),
            ["config", "index", "search"]
        );
        assert_eq!(
            (node("search").own(), node("search").took()),
            (ms(25), ms(125))
        );
        assert_eq!(
            names(&report.blame()),
            ["index", "other", "search", "config"]
        );
        assert_eq!(
            (
                node("index").drag(),
                node("search").drag(),
                node("config").drag()
            ),
            (ms(95), ms(25), ms(10))
        );
        assert_eq!(node("other").slack(), Some(ms(95)));
        assert_eq!(report.lower_bound(), ms(135));
    }

    #[test]
    fn of_two_owners_of_one_lazy_each_waits_for_its_own_share() {
        let mut scene = Scene::default();
        scene.ran("index", &[], 10, 60).free_at = ms(10);
        scene.last().lazy = true;
        scene.ran("first", &[], 0, 70);
        scene.ran("second", &[], 0, 100);
        scene.lazy(1, 0, 10);
        scene.lazy(2, 0, 40);
        let report = scene.report();
        let own = |name| report.node(name).unwrap().own();
        assert_eq!((own("first"), own("second")), (ms(20), ms(80)));
        // `second` asked at 40, when `index` had run for long because of `first`.
        assert_eq!(
            names(&report.critical_chain()),
            ["first", "index", "second"]
        );
        assert_eq!(report.node("second").unwrap().drag(), ms(30));
    }

    #[test]
    fn a_lazy_that_was_ready_before_is_no_wait() {
        let mut scene = Scene::default();
        scene.ran("index", &[], 0, 20);
        scene.last().lazy = true;
        scene.ran("search", &[], 0, 50);
        scene.lazy(1, 0, 30);
        let report = scene.report();
        assert_eq!(report.node("search").unwrap().own(), ms(50));
        assert_eq!(names(&report.critical_chain()), ["search"]);
        assert_eq!(report.node("index").unwrap().slack(), None);
    }

    #[test]
    fn nobody_waits_for_the_background_but_for_what_it_shares_with_others() {
        let mut scene = Scene::default();
        scene.ran("config", &[], 0, 10);
        scene.ran("warm-up", &[0], 10, 500);
        scene.last().background = true;
        scene.ran("api", &[0], 10, 50);
        scene.took = Some(50);
        let report = scene.report();
        let slack = |name| report.node(name).unwrap().slack();
        assert_eq!(
            (slack("config"), slack("warm-up"), slack("api")),
            (Some(ms(0)), None, Some(ms(0)))
        );
        assert_eq!(names(&report.critical_chain()), ["config", "api"]);
        assert_eq!(
            (report.work(), report.lower_bound(), report.efficiency()),
            (ms(50), ms(50), 1.0)
        );
    }

    #[test]
    fn with_a_goal_only_the_way_to_it_counts() {
        let mut scene = Scene::default();
        scene.ran("api", &[], 0, 40);
        scene.ran("warm-up", &[], 0, 90);
        scene.idle("ready", &[0], Outcome::Ready, 40).milestone = true;
        scene.goal = Some(NodeId(2));
        scene.took = Some(40);
        let report = scene.report();
        assert_eq!(names(&report.critical_chain()), ["api", "ready"]);
        assert_eq!(report.node("warm-up").unwrap().slack(), None);
        assert_eq!(report.efficiency(), 1.0);
    }

    #[test]
    fn retries_and_waits_between_them_are_part_of_the_drag_but_not_of_the_own_time() {
        let mut scene = Scene::default();
        let flaky = scene.ran("flaky", &[], 0, 100);
        (flaky.attempts, flaky.own, flaky.backoff) = (3, ms(30), ms(70));
        scene.ran("steady", &[], 0, 60);
        let report = scene.report();
        let flaky = report.node("flaky").unwrap();
        assert_eq!((flaky.own(), flaky.drag()), (ms(30), ms(40)));
        assert_eq!(names(&report.blame()), ["steady", "flaky"]);
        assert_eq!((report.work(), report.lower_bound()), (ms(90), ms(100)));
    }

    #[test]
    fn the_bound_is_the_work_of_a_class_where_its_limit_is_what_holds_the_start_up() {
        use crate::class::Class;
        let mut scene = Scene::default();
        for at in 0..4 {
            let record = scene.ran(format!("n{at}"), &[], at / 2 * 50, at / 2 * 50 + 50);
            (record.limit, record.queued) = (Some(0), ms(at / 2 * 50));
        }
        scene.limits = vec![(Class::CPU, 2)];
        let report = scene.report();
        assert_eq!(
            (report.took(), report.lower_bound(), report.efficiency()),
            (ms(100), ms(100), 1.0)
        );
        assert_eq!(report.parallelism(), 2.0);
    }
}
