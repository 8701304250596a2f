//! A mix sends what its file says, as often as it says, and refuses what it cannot mean.

use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};
use loadgen::{Check, Mix, MixError, Prepared, Target};

use crate::scripted_server::{ScriptedServer, Step};

fn parse(text: &str) -> Result<Mix, MixError> {
    Mix::parse(text, Path::new(""))
}

fn prepare(text: &str) -> Prepared {
    let target = Target::parse("http://127.0.0.1:80/").expect("a target");
    parse(text)
        .expect(text)
        .prepare(&target, Duration::from_secs(1))
        .expect(text)
}

/// The first requests of a mix, one after another.
fn requests(mix: &Prepared, count: usize) -> String {
    let mut picker = mix.picker(1);
    let mut out = Vec::new();
    for _ in 0..count {
        picker.next(&mut out);
        out.extend_from_slice(b"\n");
    }
    String::from_utf8(out).expect("text").replace('\r', "")
}

fn refused(text: &str, problem: &Expect) {
    problem.assert_eq(&parse(text).expect_err(text).to_string());
}

#[test]
fn a_get_needs_nothing_but_a_path() {
    let target = Target::parse("http://127.0.0.1:80/a?b=c").expect("a target");
    let mix = Mix::get(&target.path)
        .with_header("Accept", "x")
        .with_header("accept", "{n}");
    let mix = mix.prepare(&target, Duration::from_secs(1)).expect("ready");
    expect![[r#"
        GET /a?b=c HTTP/1.1
        host: 127.0.0.1:80
        accept: {n}


    "#]]
    .assert_eq(&requests(&mix, 1));
    assert_eq!(mix.check(0, 302, b""), Check::Fine);
    assert_eq!(mix.check(0, 404, b""), Check::Status);
}

#[test]
fn bodies_carry_their_length_and_type() {
    let mix = prepare(
        r#"
        [[route]]
        name = "create"
        method = "POST"
        path = "/tasks/{kind}"
        headers = { x-kind = "{kind}" }
        body = '{"kind": "{kind}", "number": {n}}'
        [values.kind]
        list = ['a b', 'é"/']
        pick = "sequence"
        "#,
    );
    expect![[r#"
        POST /tasks/a%20b HTTP/1.1
        host: 127.0.0.1:80
        x-kind: a b
        content-type: application/json
        content-length: 28

        {"kind": "a b", "number": 1}
        POST /tasks/%C3%A9%22%2F HTTP/1.1
        host: 127.0.0.1:80
        x-kind: é"/
        content-type: application/json
        content-length: 30

        {"kind": "é\"/", "number": 2}
        POST /tasks/a%20b HTTP/1.1
        host: 127.0.0.1:80
        x-kind: a b
        content-type: application/json
        content-length: 28

        {"kind": "a b", "number": 3}
    "#]]
    .assert_eq(&requests(&mix, 3));
}

#[test]
fn a_body_that_never_changes_is_part_of_the_head() {
    let mix = prepare(
        r#"
        [[route]]
        name = "fixed"
        method = "PUT"
        path = "/"
        headers = { content-type = "text/plain", Host = "other" }
        body = "héllo"
        [[route]]
        name = "empty"
        method = "POST"
        path = "/empty"
        [[route]]
        name = "none"
        method = "DELETE"
        path = "/none"
        "#,
    );
    let mut all: Vec<String> = requests(&mix, 20)
        .split_inclusive("\n\n\n")
        .map(str::to_owned)
        .collect();
    all.sort();
    all.dedup();
    let text = all.concat();
    for part in [
        "PUT / HTTP/1.1\nHost: other\ncontent-type: text/plain\ncontent-length: 6\n\nhéllo\n",
        "POST /empty HTTP/1.1\nhost: 127.0.0.1:80\ncontent-length: 0\n\n\n",
        "DELETE /none HTTP/1.1\nhost: 127.0.0.1:80\n\n\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

#[test]
fn a_name_has_one_value_within_a_request() {
    let mix = prepare(
        r#"
        [[route]]
        name = "both"
        method = "POST"
        path = "/{id}/{random}"
        body = "{id}/{random}"
        [values.id]
        range = [1, 1000]
        "#,
    );
    let mut picker = mix.picker(3);
    for _ in 0..100 {
        let mut out = Vec::new();
        picker.next(&mut out);
        let text = String::from_utf8(out).expect("text");
        let path = text
            .strip_prefix("POST /")
            .and_then(|rest| rest.split(' ').next());
        let body = text.split("\r\n\r\n").nth(1);
        assert_eq!(path, body, "{text}");
    }
}

#[test]
fn weights_and_seeds_decide_what_is_sent() {
    let mix = prepare(
        r#"
        [[route]]
        name = "often"
        weight = 9
        path = "/often/{id}"
        [[route]]
        name = "seldom"
        path = "/seldom"
        [values.id]
        range = [1, 50]
        pick = "zipf"
        "#,
    );
    assert_eq!(mix.routes(), ["often", "seldom"]);
    assert_eq!(requests(&mix, 50), requests(&mix, 50));
    let (mut picker, mut other) = (mix.picker(1), mix.picker(2));
    let (mut out, mut differs) = (Vec::new(), false);
    let mut often = 0;
    for _ in 0..10_000 {
        let from = out.len();
        let route = picker.next(&mut out);
        often += usize::from(route == 0);
        differs |= other.next(&mut Vec::new()) != route;
        assert_eq!(out[from..].starts_with(b"GET /often/"), route == 0);
    }
    assert!((8_800..=9_200).contains(&often), "{often} of 10,000");
    assert!(differs, "another seed sends the same");
}

#[test]
fn answers_are_judged_by_status_and_body() {
    let mix = prepare(
        r#"
        [[route]]
        name = "text"
        method = "HEAD"
        path = "/"
        expect = { status = [404, "2xx"], contains = '"id":' }
        [[route]]
        name = "any"
        path = "/"
        expect.status = 201
        "#,
    );
    assert_eq!((mix.is_head(0), mix.is_head(1)), (true, false));
    assert_eq!((mix.reads_body(0), mix.reads_body(1)), (true, false));
    assert_eq!(mix.check(0, 204, br#"{"id": 1}"#), Check::Fine);
    assert_eq!(mix.check(0, 404, br#"{"id": 1}"#), Check::Fine);
    assert_eq!(mix.check(0, 200, b"{}"), Check::Body);
    assert_eq!(mix.check(0, 500, br#"{"id": 1}"#), Check::Status);
    assert_eq!(mix.check(1, 201, b""), Check::Fine);
    assert_eq!(mix.check(1, 200, b""), Check::Status);
}

#[test]
fn values_come_from_a_file_or_from_the_target() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ids.txt"), "x\r\n\ny\n").expect("written");
    let server = ScriptedServer::start(|_, head| {
        vec![Step::Send(if head.starts_with("GET /items?after=2 ") {
            "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"items\":[3],\"next\":null}"
        } else if head.contains("authorization: Bearer k") {
            "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"items\":[1,2],\"next\":2} "
        } else {
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
        })]
    });
    let text = r#"
        [[route]]
        name = "item"
        path = "/{file}/{item}"
        [values.file]
        file = "ids.txt"
        pick = "sequence"
        [values.item]
        get = "/items"
        pointer = "/items/*"
        next = "/next"
        cursor = "after"
        pick = "sequence"
        "#;
    let mix = Mix::parse(text, folder.path()).expect(text);
    let patience = Duration::from_secs(10);
    let refused = mix
        .prepare(&server.target(), patience)
        .expect_err("no key")
        .to_string();
    assert_eq!(
        refused,
        "values.item: GET /items: answered 401 instead of 200"
    );
    let mix = mix.with_header("authorization", "Bearer k");
    let ready = mix.prepare(&server.target(), patience).expect("values");
    let sent = requests(&ready, 3);
    for path in ["/x/1 ", "/y/2 ", "/x/3 "] {
        assert!(sent.contains(path), "{path} in {sent}");
    }
}

#[test]
fn values_that_are_not_there_are_told() {
    let unfit = |text: &str| {
        let target = Target::parse("http://127.0.0.1:80/").expect("a target");
        let error = parse(text)
            .expect(text)
            .prepare(&target, Duration::from_secs(1));
        error.expect_err(text).to_string()
    };
    let route = "[[route]]\nname = 'a'\npath = '/{id}'\nheaders = { x-id = '{id}' }\n[values.id]\n";
    let missing = unfit(&format!("{route}file = 'no-such-file'"));
    assert_eq!(missing, "values.id: cannot read no-such-file");
    let injected = unfit(&format!("{route}list = [\"a\\r\\nx: y\"]"));
    assert!(
        injected.starts_with("values.id: \"a\\r\\nx: y\" in a header:"),
        "{injected}"
    );
}

#[test]
fn a_header_beside_the_mix_that_cannot_be_sent_is_refused() {
    let target = Target::parse("http://127.0.0.1:80/").expect("a target");
    for (name, value) in [
        ("a b", "x"),
        ("", "x"),
        ("a", "x\r\ny: z"),
        ("Content-Length", "1"),
    ] {
        let mix = Mix::get("/").with_header(name, value);
        let error = mix
            .prepare(&target, Duration::from_secs(1))
            .expect_err(name);
        assert!(matches!(error, MixError::Header { .. }), "{error}");
    }
}

#[test]
fn mistakes_in_a_file_are_told_with_their_place() {
    refused("", &expect!["line 1: no [[route]]: a mix has at least one"]);
    refused(
        "[[route]\n",
        &expect!["line 1: unclosed array table, expected `]`"],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nwieght = 2",
        &expect![
            "line 4: unknown field `wieght`, expected one of `name`, `weight`, `method`, `path`, `headers`, `body`, `expect`"
        ],
    );
    refused(
        "[[route]]\nname = 'a'",
        &expect!["line 1: missing field `path`"],
    );
    refused(
        "[[route]]\nname = 'a b'\npath = '/'",
        &expect![
            "line 2: route.name = 'a b': a name is one word of letters, digits and -_./: and not `total`"
        ],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\n[[route]]\nname = 'a'\npath = '/'",
        &expect!["line 5: route.name = 'a': is the name of another route too"],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nweight = 0",
        &expect!["line 4: route.a.weight = 0: must be above 0; leave the route out instead"],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nmethod = 'get'",
        &expect![
            "line 4: route.a.method = 'get': not a method that can be sent: GET, POST, PUT and the like, in capitals"
        ],
    );
    refused(
        "[[route]]\nname = 'a'\npath = 'http://x/'",
        &expect![
            "line 3: route.a.path = 'http://x/': must begin with /; host and port are the target's"
        ],
    );
    refused(
        "[[route]]\nname = 'a'\npath = \"/\\r\\nx: y\"",
        &expect![[
            r#"line 3: route.a.path = "/\r\nx: y": only what a URL may hold: no spaces, control characters, fragments or braces; %XX for those"#
        ]],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/{Record}'",
        &expect![
            "line 3: route.a.path = '/{Record}': only what a URL may hold: no spaces, control characters, fragments or braces; %XX for those"
        ],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/{recrod}'\n[values.record]\nlist = ['x']",
        &expect![
            "line 3: route.a.path = '/{recrod}': {recrod} has no values; did you mean {record}?"
        ],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nbody = '{user}'",
        &expect![
            "line 4: route.a.body = '{user}': {user} has no values: add [values.user], or write {{ for a brace"
        ],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nheaders = { 'a b' = 'c' }",
        &expect!["line 4: route.a.headers.a b = 'c': not a header name: letters, digits and - are"],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nheaders = { a = \"b\\nc\" }",
        &expect![[
            r#"line 4: route.a.headers.a = "b\nc": a line break or another control character would end the header"#
        ]],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nexpect.status = '200'",
        &expect![[
            r#"line 4: route.a.expect.status = '200': expected a status, a class, or several: 200, "2xx", [200, 404]"#
        ]],
    );
    refused(
        "[[route]]\nname = 'a'\npath = '/'\nexpect.contains = ''",
        &expect!["line 4: route.a.expect.contains = '': is in every body"],
    );
}

#[test]
fn mistakes_in_values_are_told_with_their_place() {
    let refused = |values: &str, problem: &Expect| {
        let text = format!("[[route]]\nname = 'a'\npath = '/{{id}}'\n[values.id]\n{values}");
        refused(&text, problem);
    };
    refused(
        "",
        &expect!["line 4: values.id = {…}: takes its values from one of list, file, range and get"],
    );
    refused(
        "list = ['a']\nrange = [1, 2]",
        &expect!["line 4: values.id = {…}: takes its values from one of list, file, range and get"],
    );
    refused(
        "list = []",
        &expect!["line 5: values.id.list = []: expected at least one text or number"],
    );
    refused(
        "list = [{}]",
        &expect!["line 5: values.id.list = [{}]: expected at least one text or number"],
    );
    refused(
        "range = [2, 1]",
        &expect![
            "line 5: values.id.range = [2, 1]: expected [first, last] with at most 1000000 numbers"
        ],
    );
    refused(
        "range = [1, 9000000]",
        &expect![
            "line 5: values.id.range = [1, 9000000]: expected [first, last] with at most 1000000 numbers"
        ],
    );
    refused(
        "get = 'x'\npointer = '/a'",
        &expect![
            "line 5: values.id.get = 'x': must begin with / and hold what a URL may, without placeholders"
        ],
    );
    refused(
        "get = '/x'",
        &expect![
            "line 5: values.id.get = '/x': needs a pointer to the values in the answer, `/items/*/id`, say"
        ],
    );
    refused(
        "get = '/x'\npointer = 'a'",
        &expect!["line 6: values.id.pointer = 'a': a JSON pointer begins with /"],
    );
    refused(
        "get = '/x'\npointer = '/a'\ncursor = 'after'",
        &expect![
            "line 7: values.id.cursor = 'after': only goes with next, which says what it takes"
        ],
    );
    refused(
        "get = '/x'\npointer = '/a'\nmax = 0",
        &expect!["line 7: values.id.max = 0: expected 1 to 1000000"],
    );
    refused(
        "list = ['a']\nmax = 3",
        &expect!["line 6: values.id.max = 3: only goes with get"],
    );
    refused(
        "list = ['a']\npick = 'random'",
        &expect![[
            r#"line 6: values.id.pick = 'random': expected "uniform", "zipf" or "sequence""#
        ]],
    );
    refused(
        "list = ['a']\nskew = 2",
        &expect![[r#"line 6: values.id.skew = 2: only goes with pick = "zipf""#]],
    );
    refused(
        "list = ['a']\npick = 'zipf'\nskew = 0",
        &expect!["line 7: values.id.skew = 0: expected above 0, up to 5"],
    );
    refused(
        "list = ['a']\n[values.other]\nlist = ['b']",
        &expect!["line 6: values.other = other: no route uses {other}"],
    );
    refused(
        "list = ['a']\n[values.n]\nlist = ['b']",
        &expect!["line 6: values.n = n: n and random are there without values"],
    );
}

#[test]
fn the_mixes_that_come_along_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mixes");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        Mix::parse(&text, &folder).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        names.extend(path.file_name().map(|name| name.display().to_string()));
    }
    names.sort();
    assert_eq!(names, ["fill.toml", "service.toml"]);
}

#[test]
fn the_mix_in_the_documentation_can_be_read() {
    let readme = include_str!("../../README.md");
    let block = readme
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let mix = parse(block.expect("a block of TOML")).expect("a mix");
    assert_eq!(mix.routes().collect::<Vec<_>>(), ["record", "create"]);
}

#[test]
fn a_file_cut_anywhere_is_a_mix_or_an_error() {
    let whole = include_str!("../../mixes/service.toml").replace("load test", "läst");
    let mut mixes = 0;
    for (end, _) in whole.char_indices() {
        mixes += usize::from(parse(&whole[..end]).is_ok());
    }
    assert!(
        mixes < whole.len() / 2,
        "{mixes} of {} are whole",
        whole.len()
    );
}
