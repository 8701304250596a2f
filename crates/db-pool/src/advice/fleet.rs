//! All processes of one program together, held against what their server takes.

use super::finding::{Finding, FindingKind as Kind, Severity, Value};
use super::input::FleetNumbers;

/// What all processes together mean for the server.
pub(super) fn fleet(numbers: &FleetNumbers) -> Vec<Finding> {
    let room = numbers
        .max_connections
        .saturating_sub(numbers.reserved)
        .max(1);
    // Several processes may share a host, but none has more sessions than its pool is large.
    let processes = numbers
        .hosts
        .max(numbers.ours.div_ceil(numbers.max_size.max(1)))
        .max(1);
    let most = u64::from(processes) * u64::from(numbers.max_size);
    let mut findings = Vec::new();
    let mut tell = |severity, kind, what: String| {
        let finding = Finding::new(severity, kind, what)
            .with(
                "max_connections",
                Value::Count(numbers.max_connections.into()),
            )
            .with("thereof reserved", Value::Count(numbers.reserved.into()))
            .with("sessions", Value::Count(numbers.sessions.into()))
            .with("thereof of this pool", Value::Count(numbers.ours.into()))
            .with("processes, at least", Value::Count(processes.into()));
        let each = (f64::from(room) * 0.8 / f64::from(processes))
            .floor()
            .max(1.0);
        let fits = numbers.max_size.min(each as u32);
        findings.push(if fits < numbers.max_size {
            finding.setting("max_size", fits)
        } else {
            finding.code("find out who else connects: SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1")
        });
    };
    if most > u64::from(room) {
        let what = format!(
            "all processes of `{}` together may open {most} connections, and the server takes {room}",
            numbers.application
        );
        tell(Severity::Warning, Kind::FleetTooLarge, what);
    }
    if numbers.sessions * 10 >= room * 9 {
        let what = format!(
            "the server has {} of {room} connections in use",
            numbers.sessions
        );
        tell(Severity::Urgent, Kind::ServerNearlyFull, what);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_together_are_held_against_what_the_server_takes() {
        let numbers = FleetNumbers {
            application: "main".to_owned(),
            max_size: 20,
            max_connections: 100,
            reserved: 3,
            sessions: 40,
            ours: 30,
            hosts: 5,
        };
        let findings = fleet(&numbers);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0]
                .what
                .contains("may open 100 connections, and the server takes 97")
        );
        assert_eq!(findings[0].todo[0].to_string(), "set max_size = 15");
        let one_host = FleetNumbers {
            hosts: 1,
            ..numbers.clone()
        };
        assert!(fleet(&one_host).is_empty(), "two processes, 40 connections");
        let full = FleetNumbers {
            sessions: 90,
            hosts: 1,
            ..numbers
        };
        assert_eq!(fleet(&full)[0].kind, Kind::ServerNearlyFull);
        assert_eq!(fleet(&FleetNumbers::default()).len(), 0);
    }
}
