//! The command worth running after a run: the same target and options with another model.

use super::Run;
use crate::{Cap, Summary};

/// Options given, as text that a shell reads the same way; those of the model and secrets are left out.
#[derive(Default)]
pub(super) struct Again(Vec<String>);

impl Again {
    pub(super) fn word(&mut self, word: &str) {
        self.0.push(quoted(word));
    }

    pub(super) fn option(&mut self, name: &str, value: &str) {
        match name {
            "users" | "rate" | "arrivals" | "ramp" | "step" | "spike" | "replay" | "threads" => {}
            "api-key" | "header" => self.0.push(format!("--{name} …")),
            _ if may_be_secret(name, value) => self.0.push(format!("--{name} …")),
            _ => self.0.push(format!("--{name} {}", quoted(value))),
        }
    }

    pub(super) fn text(&self, server_args: &[String]) -> String {
        let mut words = self.0.clone();
        if !server_args.is_empty() {
            words.push("--".to_owned());
            words.extend(server_args.iter().map(|arg| quoted(arg)));
        }
        words.join(" ")
    }
}

/// The command worth running after `run` gave `summary`.
pub(super) fn next(run: &Run, summary: &Summary, cores: usize) -> String {
    let threads = match run.load.threads {
        1 => String::new(),
        threads => format!(" --threads {threads}"),
    };
    let again = |model: &str| {
        let (options, server_args) = match run.again.split_once(" -- ") {
            Some((options, args)) => (options, format!(" -- {args}")),
            None => (&*run.again, String::new()),
        };
        format!("{} {options}{threads} {model}{server_args}", run.program)
    };
    let rate = |share: f64| format!("--rate {}", two_digits(summary.rate * share));
    if summary.rate == 0.0 {
        return match &run.subject {
            super::Subject::Url { url, .. } => format!("curl -i {}", quoted(url)),
            _ => again("--users 1"),
        };
    }
    match summary.offered_rate {
        _ if summary.capped_by == Cap::Generator && run.load.threads < cores => {
            let threads = format!("--threads {}", run.load.threads + 1);
            match (summary.users, summary.offered_rate) {
                (Some(users), _) => again(&format!("--users {users} {threads}")),
                (None, offered) => again(&format!(
                    "--rate {} {threads}",
                    two_digits(offered.unwrap_or(summary.rate))
                )),
            }
        }
        None => again(&rate(0.5)),
        Some(_) if !summary.invalid.is_empty() => again(&rate(0.8)),
        Some(_) => again(&rate(1.5)),
    }
}

/// Whether `value` may hold a password: before the `@` of a URL, or by the name of a variable.
fn may_be_secret(name: &str, value: &str) -> bool {
    let variable = value.split('=').next().unwrap_or_default().to_uppercase();
    match name {
        "url" | "redis" => value.contains('@'),
        "server-env" => {
            value.contains('@')
                || ["KEY", "TOKEN", "SECRET", "PASS"]
                    .iter()
                    .any(|word| variable.contains(word))
        }
        _ => false,
    }
}

/// Two digits say enough of a rate that the next run will find anew.
fn two_digits(rate: f64) -> String {
    let step = 10f64.powf((rate.max(1.0).log10() - 1.0).floor());
    let rounded = (rate / step).round() * step;
    format!("{}", (rounded * 100.0).round().max(1.0) / 100.0)
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,+@%{}~".contains(letter);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('~') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, args};

    /// What is worth running after `line` gave `summary`, on two cores.
    fn after(line: &str, summary: &Summary) -> String {
        let command = args::parse(line.split(' '), None).expect(line);
        let Command::Run(run) = command else {
            panic!("help")
        };
        next(&run, summary, 2)
    }

    fn closed() -> Summary {
        Summary {
            rate: 23_412.0,
            users: Some(8),
            ..Summary::default()
        }
    }

    fn open(offered: f64, rate: f64) -> Summary {
        Summary {
            rate,
            offered_rate: Some(offered),
            ..Summary::default()
        }
    }

    #[test]
    fn a_highest_rate_is_followed_by_half_of_it() {
        assert_eq!(
            after(
                "--users 8 --url http://h/ --header a:b --api-key k --mix my.toml",
                &closed()
            ),
            "loadgen --url http://h/ --header … --api-key … --mix my.toml --rate 12000"
        );
    }

    #[test]
    fn secrets_are_left_out() {
        let line = "--server ./s --server-env DB=postgres://u:pw@h/d --server-env App_Key=pw --server-env A=b";
        assert_eq!(
            after(line, &open(10.0, 10.0)),
            "loadgen --server ./s --server-env … --server-env … --server-env A=b --rate 15"
        );
    }

    #[test]
    fn options_stay_before_the_arguments_of_a_server() {
        assert_eq!(
            after(
                "--server ./s --rate 10 --threads 2 -- --port {port}",
                &open(10.0, 10.0)
            ),
            "loadgen --server ./s --threads 2 --rate 15 -- --port {port}"
        );
    }

    #[test]
    fn a_rate_that_was_too_much_is_followed_by_less() {
        let mut summary = open(500.0, 80.25);
        summary.invalid.push("too much".to_owned());
        assert_eq!(
            after("--url http://h/ --rate 500", &summary),
            "loadgen --url http://h/ --rate 64"
        );
    }

    #[test]
    fn a_full_generator_is_given_a_thread_if_there_is_a_core() {
        let mut summary = closed();
        summary.capped_by = Cap::Generator;
        assert_eq!(
            after("--url http://h/", &summary),
            "loadgen --url http://h/ --users 8 --threads 2"
        );
        assert_eq!(
            after("--url http://h/ --threads 2", &summary),
            "loadgen --url http://h/ --threads 2 --rate 12000"
        );
    }

    #[test]
    fn where_nothing_ended_well_one_answer_is_worth_a_look() {
        let nothing = Summary {
            rate: 0.0,
            ..closed()
        };
        assert_eq!(
            after("--url http://h/?a&b", &nothing),
            "curl -i 'http://h/?a&b'"
        );
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("~x"), "'~x'");
        assert_eq!(quoted("a=b/{port}"), "a=b/{port}");
    }

    #[test]
    fn rates_are_rounded_to_two_digits() {
        let cases = [
            (11_706.0, "12000"),
            (64.2, "64"),
            (7.44, "7.4"),
            (0.2, "0.2"),
            (0.0, "0.01"),
        ];
        for (rate, text) in cases {
            assert_eq!(two_digits(rate), text);
        }
    }
}
