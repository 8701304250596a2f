//! What a bench program consists of: a suite of benches, and which of them are selected.

use std::collections::BTreeSet;

use crate::bench::{Bench, Subject};
use crate::figures::{Effort, Figures, Set};

/// The benches of one program.
#[derive(Debug)]
pub struct Suite {
    name: String,
    benches: Vec<Bench>,
    figures: Vec<Set>,
}

/// A suite that makes no sense, or a selection that selects nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SuiteError {
    #[error("{name:?} is no name: use a-z, 0-9 and -")]
    Name { name: String },
    #[error("bench {name} is there twice")]
    Twice { name: String },
    #[error("bench {name}: {problem}")]
    Bench { name: String, problem: String },
    #[error("no bench has {word:?} in its name; there are {names}")]
    Unmatched { word: String, names: String },
    #[error("bench {name} has no subject {subject}; --list lists all")]
    NoSubject { name: String, subject: String },
}

impl Suite {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            benches: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Adds a bench: one job that every subject of it does. The name consists of `a-z`, `0-9` and `-` and is unique
    /// within the suite.
    pub fn bench(&mut self, name: &str) -> &mut Bench {
        self.benches.push(Bench::new(name));
        self.benches.last_mut().expect("just pushed")
    }

    /// Adds figures that are no time of one operation, which `take` takes: ratios, whole runs, large sizes. They are
    /// measured after the benches, and neither compared between versions nor counted in instructions. Names as of
    /// [`bench`](Self::bench).
    pub fn figures(
        &mut self,
        name: &str,
        about: &str,
        take: impl FnOnce(&mut Figures<'_>) + 'static,
    ) -> &mut Set {
        self.figures.push(Set {
            name: name.to_owned(),
            about: about.to_owned(),
            least: Effort::Smoke,
            take: Box::new(take),
        });
        self.figures.last_mut().expect("just pushed")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can be run and its figures told apart.
    pub(crate) fn check(&self) -> Result<(), SuiteError> {
        let sets = self.figures.iter().map(|set| set.name.as_str());
        let benches = self.benches.iter().map(|bench| bench.name.as_str());
        let names = benches.chain(sets);
        for name in names.chain([self.name.as_str()]) {
            let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(of_name) {
                let name = name.to_owned();
                return Err(SuiteError::Name { name });
            }
        }
        let mut seen = BTreeSet::new();
        let sets = self.figures.iter().map(|set| set.name.clone());
        let mut rows = self.benches.iter().flat_map(Bench::rows).chain(sets);
        if let Some(name) = rows.find(|name| !seen.insert(name.clone())) {
            return Err(SuiteError::Twice { name });
        }
        self.benches.iter().try_for_each(|bench| {
            let name = bench.name.clone();
            let problem = bench.problem(&self.name);
            problem.map_or(Ok(()), |problem| Err(SuiteError::Bench { name, problem }))
        })
    }

    /// The benches and the figures whose name contains one of `filters`; all without any. A filter that matches nothing
    /// is an error.
    pub(crate) fn select(self, filters: &[String]) -> Result<(Vec<Bench>, Vec<Set>), SuiteError> {
        let (mut benches, mut figures) = (self.benches, self.figures);
        let sets = figures.iter().map(|set| set.name.as_str());
        let names: Vec<&str> = benches
            .iter()
            .map(|bench| bench.name.as_str())
            .chain(sets)
            .collect();
        for word in filters {
            if !names.iter().any(|name| name.contains(word.as_str())) {
                return Err(SuiteError::Unmatched {
                    word: word.clone(),
                    names: names.join(", "),
                });
            }
        }
        let chosen = |name: &str| {
            filters.is_empty() || filters.iter().any(|word| name.contains(word.as_str()))
        };
        benches.retain(|bench| chosen(&bench.name));
        figures.retain(|set| chosen(&set.name));
        Ok((benches, figures))
    }

    /// The subject of a bench, both by their full names.
    pub(crate) fn only(self, name: &str, subject: &str) -> Result<Subject, SuiteError> {
        let mut subjects = self
            .benches
            .into_iter()
            .filter(|bench| bench.name == name)
            .flat_map(|bench| bench.subjects);
        let found = subjects.find(|candidate| candidate.word(&self.name) == subject);
        found.ok_or_else(|| SuiteError::NoSubject {
            name: name.to_owned(),
            subject: subject.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(names: &[&str]) -> Suite {
        let mut suite = Suite::new("cache");
        for name in names {
            suite
                .bench(name)
                .ours("Cache", || || ())
                .peer("a peer", || || ());
        }
        suite
    }

    fn selected(filters: &[&str]) -> Result<Vec<String>, SuiteError> {
        let filters: Vec<_> = filters.iter().map(|word| (*word).to_owned()).collect();
        let (benches, _) = suite(&["hit", "miss", "hit-shared"]).select(&filters)?;
        Ok(benches.into_iter().map(|bench| bench.name).collect())
    }

    #[test]
    fn a_filter_selects_what_contains_it_and_several_select_all_of_theirs() {
        assert_eq!(selected(&["hit"]).expect("benches"), ["hit", "hit-shared"]);
        assert_eq!(
            selected(&["mi", "sh"]).expect("benches"),
            ["miss", "hit-shared"]
        );
        assert_eq!(selected(&[]).expect("benches").len(), 3);
        let mut suite = suite(&["hit"]);
        suite.figures("memory", "bytes", |_| ());
        let (benches, figures) = suite.select(&["mem".to_owned()]).expect("figures");
        assert_eq!((benches.len(), figures.len()), (0, 1));
    }

    #[test]
    fn a_filter_that_matches_nothing_is_told_with_what_there_is() {
        let error = selected(&["hit", "mss"])
            .expect_err("no such bench")
            .to_string();
        assert_eq!(
            error,
            "no bench has \"mss\" in its name; there are hit, miss, hit-shared"
        );
    }

    #[test]
    fn a_subject_is_found_by_its_word() {
        let only = |name, subject| suite(&["hit"]).only(name, subject).map(|found| found.label);
        assert_eq!(only("hit", "cache"), Ok("Cache".to_owned()));
        assert_eq!(only("hit", "a-peer"), Ok("a peer".to_owned()));
        assert!(only("hit", "Cache").is_err());
        assert!(only("hi", "cache").is_err());
    }

    #[test]
    fn a_suite_whose_figures_could_not_be_told_apart_is_refused() {
        assert_eq!(suite(&["hit", "miss"]).check(), Ok(()));
        assert!(matches!(
            suite(&["hit", "hit"]).check(),
            Err(SuiteError::Twice { .. })
        ));
        let mut threads = suite(&["hit", "hit-t2"]);
        threads.benches[0].threads(&[1, 2]);
        assert!(matches!(threads.check(), Err(SuiteError::Twice { .. })));
        assert!(matches!(
            suite(&["Hit"]).check(),
            Err(SuiteError::Name { .. })
        ));
        assert!(matches!(suite(&[""]).check(), Err(SuiteError::Name { .. })));
        let mut figures = suite(&["hit"]);
        figures.figures("hit", "as the bench", |_| ());
        assert!(matches!(figures.check(), Err(SuiteError::Twice { .. })));
        type Change = fn(&mut Bench);
        let changes: [Change; 6] = [
            |bench| _ = bench.ours("ours again", || || ()),
            |bench| _ = bench.peer("a-peer", || || ()),
            |bench| _ = bench.peer("", || || ()),
            |bench| _ = bench.peer("two\nlines", || || ()),
            |bench| _ = bench.threads(&[]),
            |bench| _ = bench.concurrency(&[0]),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut suite = suite(&["hit"]);
            change(&mut suite.benches[0]);
            let refused = matches!(suite.check(), Err(SuiteError::Bench { .. }));
            assert!(refused, "change {index}");
        }
    }
}
