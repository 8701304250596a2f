//! Every option arrives where it belongs, and mistakes say what is wrong.

use super::*;

fn read(line: &str) -> Result<Run, UsageError> {
    let words = line.split(' ').filter(|word| !word.is_empty());
    parse(words, None).map(|command| command.run().expect("no help"))
}

fn refused(line: &str) -> String {
    read(line).expect_err(line).problem
}

#[test]
fn a_url_alone_is_a_closed_run() {
    let run = read("--url http://127.0.0.1:80/").expect("a run");
    assert!(matches!(&run.subject, Subject::Url { url, .. } if url == "http://127.0.0.1:80/"));
    assert!(matches!(run.load.model, Model::Closed { users: 8 }));
    assert_eq!(run.load.duration, Duration::from_secs(10));
    assert!(!run.quiet && !run.metrics && run.output.is_none() && run.thresholds.is_empty());
}

#[test]
fn a_server_takes_what_comes_after_two_dashes() {
    let line = "http --server ./s --server-env A=b=c --ready /up --path /x --server-cpus 0 -- -v --users 3";
    let Subject::Server { server, path, .. } = read(line).expect("a run").subject else {
        panic!("no server");
    };
    assert_eq!(server.args, ["-v", "--users", "3"]);
    assert_eq!(server.env, [("A".to_owned(), "b=c".to_owned())]);
    assert_eq!(
        (&*server.ready, &*path, &*server.cpus),
        ("/up", "/x", &[0][..])
    );
}

#[test]
fn every_number_arrives_where_it_belongs() {
    let line = "--url http://h/ --rate 500 --duration 30s --warmup 0s --connections 9 --threads 2 \
                --timeout 1500ms --seed 7 --requests 99 --cpus 0,1 --quiet --metrics --threshold p99<5ms";
    let run = read(line).expect("a run");
    let load = &run.load;
    assert!(matches!(
        load.model,
        Model::Open(Arrivals::Poisson { rate: 500.0 })
    ));
    assert_eq!(load.duration, Duration::from_secs(30));
    assert_eq!(
        (load.warmup, load.timeout),
        (Duration::ZERO, Duration::from_millis(1_500))
    );
    assert_eq!((load.connections, load.threads, load.seed), (9, 2, 7));
    assert_eq!((load.requests, &*load.cpus), (Some(99), &[0, 1][..]));
    assert!(run.quiet && run.metrics && run.thresholds.len() == 1);
    let even = read("--arrivals constant --rate 5 --url http://h/").expect("a run");
    assert!(matches!(
        even.load.model,
        Model::Open(Arrivals::Constant { rate: 5.0 })
    ));
}

#[test]
fn a_replay_lasts_as_long_as_what_was_recorded() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "10\n12.5\n").expect("written");
    let line = format!("--url http://h/ --replay {}", file.path().display());
    assert_eq!(
        read(&line).expect("a run").load.duration,
        Duration::from_millis(2_501)
    );
    let shorter = read(&format!("{line} --duration 1s")).expect("a run");
    assert_eq!(shorter.load.duration, Duration::from_secs(1));
}

#[test]
fn an_api_key_of_the_environment_yields_to_one_on_the_line() {
    let headers = |line: &str| {
        let command = parse(line.split(' '), Some("env".to_owned())).expect(line);
        let shown = format!("{command:?}");
        assert!(
            !shown.contains("env") && !shown.contains("Bearer"),
            "{shown}"
        );
        match command.run().expect("no help").subject {
            Subject::Url { requests, .. } => requests.headers,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(headers("--url http://h/")[0].value, "Bearer env");
    assert_eq!(
        headers("--url http://h/ --api-key line")[0].value,
        "Bearer line"
    );
    let own = headers("--url http://h/ --header Authorization:Basic");
    assert_eq!((own.len(), &*own[0].value), (1, "Basic"));
}

#[test]
fn mistakes_name_the_option_and_what_is_wrong() {
    let cases = [
        (
            "",
            "nothing to ask: give --url http://… or --server PROGRAM; see --help",
        ),
        (
            "http://h/",
            "http://h/: a target is given as --url http://h/",
        ),
        (
            "--url http://h/ x",
            "x: unexpected; arguments of a server come after --server PROGRAM --",
        ),
        ("--usrs 3", "no option --usrs; did you mean --users?"),
        ("--frobnicate 3", "no option --frobnicate; see --help"),
        ("-x", "no option -x"),
        ("--url", "--url needs a value"),
        ("--users three", "--users three: expected a whole number"),
        (
            "--users 3 --rate 5",
            "--rate 5: --users was given too, and a run has one model",
        ),
        (
            "--duration 10",
            "--duration 10: expected a number with a unit: 500ms, 10s, 2m",
        ),
        (
            "--threshold p99<5",
            "--threshold p99<5: needs a unit: us, µs, ms, s",
        ),
        (
            "--url http://h/ --arrivals constant",
            "--arrivals only goes with --rate",
        ),
        (
            "--url http://h/ --arrivals even",
            "--arrivals even: expected poisson or constant",
        ),
        (
            "--url http://h/ --server s",
            "--url and --server: a run has one target",
        ),
        (
            "--url http://h/ --ready /x",
            "--ready only goes with --server",
        ),
        ("--server s --path x", "--path x: a path begins with /"),
        (
            "--server s --path /x --mix m",
            "--path and --mix: the mix has the paths",
        ),
        ("--url http://h/ --users 0", "users 0: expected 1 to 60000"),
        (
            "--url http://h/ --output /no/such/folder/x",
            "--output /no/such/folder/x: no file can be there",
        ),
    ];
    for (line, problem) in cases {
        assert_eq!(refused(line), problem, "{line}");
    }
}

#[cfg(not(feature = "db"))]
#[test]
fn what_is_not_built_in_says_how_to_build_it() {
    assert_eq!(
        refused("db"),
        "db: not built in; build loadgen with --features db"
    );
}

#[test]
fn the_help_names_every_option() {
    for name in EVERY.split(' ').chain(HTTP.split(' ')) {
        assert!(
            crate::cli::USAGE.contains(&format!("--{name} ")),
            "--{name}"
        );
    }
    for line in crate::cli::USAGE.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
