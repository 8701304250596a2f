//! `bench doctor`: what on this machine disturbs figures, with evidence, effect and remedy.

mod cores;
mod limits;
mod noise;
mod programs;

use crate::environment::{Environment, System, machine_class};
use crate::session::{Exit, Session};
use crate::stdout;

/// One look at the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    sign: Sign,
    what: &'static str,
    evidence: String,
    /// What it does to figures and what to do about it; for those that are not well.
    advice: Option<Advice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// The system does not tell.
    Unknown,
    Ok,
    /// Figures are less sure.
    Warn,
    /// Figures mean little.
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Advice {
    effect: &'static str,
    fix: &'static str,
}

/// Prints every finding. Warnings are no failure: few machines are perfect, and intervals show what that costs.
///
/// # Errors
/// If standard output takes no more; what cannot be seen is unknown and no error.
pub(crate) fn run(session: &Session) -> anyhow::Result<Exit> {
    let system = System::here();
    let mut findings = cores::findings(&system);
    findings.extend(noise::findings(&system));
    findings.extend(limits::findings(&system, &session.target));
    findings.extend(programs::findings(&programs::path()));
    stdout::print(&format!(
        "{}\n\n{}\nmachine class {}\nnext: cargo xtask bench --quick   everything within five minutes\n",
        Environment::before(session).machine(),
        told(&findings),
        machine_class(&system),
    ))?;
    Ok(Exit::Fine)
}

/// The findings as text, the worst last, where it is seen.
fn told(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.sign);
    let mut text = String::new();
    for finding in sorted {
        let (sign, what) = (finding.sign.word(), finding.what);
        text.push_str(&format!("{sign:<4}  {what:<18}  {}\n", finding.evidence));
        if let Some(Advice { effect, fix }) = finding.advice {
            text.push_str(&format!("      effect: {effect}\n      fix:    {fix}\n"));
        }
    }
    let count = |sign| {
        findings
            .iter()
            .filter(|finding| finding.sign == sign)
            .count()
    };
    let verdict = match (count(Sign::Bad), count(Sign::Warn)) {
        (0, 0) => "nothing here disturbs figures".to_owned(),
        (0, warnings) => format!("{warnings} to know about, none of which spoils figures"),
        (bad, warnings) => {
            format!("{bad} bad, {warnings} to know about: see to the bad ones before measuring")
        }
    };
    format!("{text}\n{verdict}\n")
}

impl Finding {
    fn ok(what: &'static str, evidence: impl Into<String>) -> Self {
        Self {
            sign: Sign::Ok,
            what,
            evidence: evidence.into(),
            advice: None,
        }
    }

    fn unknown(what: &'static str) -> Self {
        Self {
            sign: Sign::Unknown,
            evidence: "the system does not tell".to_owned(),
            ..Self::ok(what, "")
        }
    }

    fn not_ok(sign: Sign, what: &'static str, evidence: impl Into<String>, advice: Advice) -> Self {
        Self {
            sign,
            advice: Some(advice),
            ..Self::ok(what, evidence)
        }
    }
}

impl Sign {
    fn word(self) -> &'static str {
        match self {
            Self::Unknown => "?",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// By how `value` lies to two limits.
    fn above(value: f64, warn: f64, bad: f64) -> Self {
        if value > bad {
            Self::Bad
        } else if value > warn {
            Self::Warn
        } else {
            Self::Ok
        }
    }

    /// A finding with this sign; `advice` only if it is not well.
    fn finding(self, what: &'static str, evidence: String, advice: Advice) -> Finding {
        match self {
            Self::Ok | Self::Unknown => Finding::ok(what, evidence),
            sign => Finding::not_ok(sign, what, evidence, advice),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// A system with these files.
    pub(super) fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        let system = System::at(folder.path());
        (folder, system)
    }

    /// The sign of one finding.
    pub(super) fn sign(findings: &[Finding], what: &str) -> Sign {
        let found = findings.iter().find(|finding| finding.what == what);
        found.expect(what).sign
    }

    #[test]
    fn the_worst_comes_last_with_its_effect_and_remedy() {
        let advice = Advice {
            effect: "tails grow",
            fix: "wait",
        };
        let findings = [
            Finding::not_ok(Sign::Bad, "load", "3.10", advice),
            Finding::ok("cores", "2"),
            Finding::unknown("governor"),
        ];
        expect![[r"
            ?     governor            the system does not tell
            ok    cores               2
            bad   load                3.10
                  effect: tails grow
                  fix:    wait

            1 bad, 0 to know about: see to the bad ones before measuring
        "]]
        .assert_eq(&told(&findings));
    }

    #[test]
    fn a_machine_that_tells_nothing_is_unknown_and_not_ill() {
        let (folder, system) = machine(&[]);
        let mut findings = noise::findings(&system);
        findings.extend(limits::findings(&system, folder.path()));
        findings.retain(|finding| !matches!(finding.what, "open files" | "disk space"));
        for finding in findings {
            assert!(finding.sign <= Sign::Ok, "{finding:?}");
        }
    }
}
