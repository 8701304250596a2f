//! Which server is the primary, by what each of them claims.
//!
//! A promotion begins a new timeline, with a higher number than all before it. So of two servers that both take writes
//! the one with the higher timeline was promoted later, and the other is a primary that was left behind. Two of the same
//! timeline cannot be told apart: the one with more log may just be the one that strayed clients still write to. Then
//! nobody gets writes until an operator has decided.

use super::answer::{Answer, Role};

/// What the claims add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This server, by its place in the list.
    Primary { server: usize, timeline: u32 },
    /// Nobody claims to be one, or only one that was left behind.
    None,
    /// Several of the same timeline do.
    Split(Vec<usize>),
}

/// Judges the last answers of the servers that answer, in their order; `None` for those that do not.
///
/// `highest` is the highest timeline ever seen: a primary of an older one was left behind, even while the newer one does
/// not answer.
pub(super) fn judge<'a>(
    answers: impl Iterator<Item = Option<&'a Answer>>,
    highest: u32,
) -> Verdict {
    let mut best: Vec<(usize, u32, &Answer)> = Vec::new();
    for (server, answer) in answers.enumerate() {
        let Some(answer) = answer else { continue };
        let Role::Primary {
            timeline,
            writable: true,
        } = answer.role
        else {
            continue;
        };
        let bar = best.first().map_or(highest, |(_, timeline, _)| *timeline);
        if timeline < bar {
            continue;
        }
        if timeline > bar {
            best.clear();
        }
        // Two names of one server.
        if best.iter().all(|(.., other)| !is_same(other, answer)) {
            best.push((server, timeline, answer));
        }
    }
    match best.as_slice() {
        [] => Verdict::None,
        &[(server, timeline, _)] => Verdict::Primary { server, timeline },
        several => Verdict::Split(several.iter().map(|(server, ..)| *server).collect()),
    }
}

fn is_same(one: &Answer, other: &Answer) -> bool {
    one.system == other.system && one.started == other.started
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::super::answer::tests::{primary, standby};
    use super::*;

    fn on(started: &str, mut answer: Answer) -> Option<Answer> {
        answer.started = started.into();
        Some(answer)
    }

    fn judged(answers: &[Option<Answer>], highest: u32) -> Verdict {
        judge(answers.iter().map(Option::as_ref), highest)
    }

    #[tokio::test(start_paused = true)]
    async fn the_higher_timeline_wins_and_equals_are_undecidable() {
        let now = Instant::now();
        let (old, new) = (primary(now, 1, 900), primary(now, 2, 500));
        let wins = |server, timeline| Verdict::Primary { server, timeline };
        let both = [on("a", old.clone()), on("b", new.clone()), None];
        assert_eq!(judged(&both, 0), wins(1, 2));
        assert_eq!(judged(&[on("a", old.clone())], 0), wins(0, 1));
        assert_eq!(
            judged(&[on("a", old.clone())], 2),
            Verdict::None,
            "left behind"
        );
        let twins = [on("a", new.clone()), on("b", old), on("c", new.clone())];
        assert_eq!(judged(&twins, 2), Verdict::Split(vec![0, 2]));
        let one_of_two_names = [on("a", new.clone()), on("a", new)];
        assert_eq!(judged(&one_of_two_names, 2), wins(0, 2));
        assert_eq!(judged(&[on("a", standby(now, 5)), None], 0), Verdict::None);
    }

    proptest! {
        #[test]
        fn whoever_wins_claims_it_alone_and_with_the_highest_timeline(
            claims in proptest::collection::vec(proptest::option::of((0u32..4, any::<bool>())), 0..6),
            highest in 0u32..4,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _entered = runtime.enter();
            let now = Instant::now();
            let answers: Vec<_> = claims.iter().enumerate().map(|(server, claim)| {
                claim.and_then(|(timeline, is_primary)| on(&server.to_string(), if is_primary {
                    primary(now, timeline, 1)
                } else {
                    standby(now, 1)
                }))
            }).collect();
            let timelines: Vec<_> = claims.iter().flatten().filter(|(_, is)| *is).map(|(t, _)| *t).collect();
            let top = timelines.iter().max().filter(|top| **top >= highest);
            let count = timelines.iter().filter(|t| Some(*t) == top).count();
            match judged(&answers, highest) {
                Verdict::Primary { server, timeline } => {
                    prop_assert_eq!((count, Some(&timeline)), (1, top));
                    prop_assert_eq!(claims[server], Some((timeline, true)));
                }
                Verdict::None => prop_assert_eq!(top, None),
                Verdict::Split(servers) => prop_assert!(servers.len() == count && count > 1),
            }
        }
    }
}
