//! What the program makes of configurations: the examples, mistakes, and what is still to come.

use std::fs;
use std::path::Path;

use testkit::{Client, Folder, Server, Start, failure_of, output_of};

use crate::support::{BINARY, ask, config, get, start};

#[test]
fn every_mistake_is_told_at_once_and_where_it_is() {
    let text = "workers: many
listeners:
  web:
    bind: 127.0.0.1:99999
    routes:
      - match: { path: '~(' }
        to: api
      - to: nowhere
  none: { bind: 127.0.0.1:0 }
pools:
  api:
    servers: [127.0.0.1:9001]
    retrys: { extra: 1 }
    timeouts: { connect: 5 }
    balance: round_robbin
";
    let (code, said) = failure_of(BINARY, text);
    assert_eq!(code, Some(2), "{said}");
    for (place, words) in [
        (":1:10", "many"),
        (":4:11", "99999"),
        (":6:24", "unclosed group"),
        (":8:13", "nowhere"),
        (":9:3", "none"),
        (":13:5", "did you mean `retries`"),
        (":14:26", "5"),
        (":15:14", "did you mean `round_robin`"),
    ] {
        let told = said.lines().any(|line| line.contains(place) && line.contains(words));
        assert!(told, "{words} at {place} is missing in:\n{said}");
    }
}

#[test]
fn what_would_do_nothing_is_refused() {
    let serve = |listener: &str| format!("listeners: {{ web: {{ bind: 127.0.0.1:0, {listener} }} }}\n");
    for (name, text) in [
        ("an ending twice", serve("respond: 200, deny: 403")),
        ("a route that cannot be reached", serve("routes: [{ respond: 200 }, { match: { path: /a }, respond: 204 }]")),
        ("an empty match", serve("routes: [{ match: {}, respond: 200 }]")),
        ("a split of 90 %", serve("split: [{ to: 'a:1', share: 90% }]")),
        ("a star without one", serve("redirect: /new/*")),
        ("a group without one", serve("routes: [{ match: { path: /a/* }, redirect: /$1 }]")),
        ("a framing field", serve("respond: { headers: { content-length: '5' } }")),
        ("an admin for everybody", format!("admin: 0.0.0.0:0\n{}", serve("respond: 200"))),
        ("a tag", format!("x-a: !!binary x\n{}", serve("respond: 200"))),
        ("a duplicate key", format!("{0}{0}", serve("respond: 200"))),
    ] {
        let (code, said) = failure_of(BINARY, &text);
        assert_eq!(code, Some(2), "{name}: {said}");
    }
}

#[test]
fn a_limit_that_the_reader_cannot_keep_is_refused() {
    let serve = |fields: u32| {
        format!("listeners: {{ web: {{ bind: 127.0.0.1:0, respond: 200, limits: {{ fields: {fields} }} }} }}\n")
    };
    // The reader's index ends at 256; a head of 257 fields would be refused whatever was written here.
    assert_eq!(ask(&start(&serve(256), &[]), &get("/", &"X: y\r\n".repeat(255))).status, 200);
    assert_eq!(failure_of(BINARY, &serve(257)).0, Some(2));
}

#[test]
fn an_address_in_use_is_a_mistake_with_its_place() {
    let taken = Server::named("other");
    let (code, said) =
        failure_of(BINARY, &format!("listeners:\n  web:\n    bind: '{}'\n    respond: 200\n", taken.address()));
    assert_eq!(code, Some(2));
    assert!(said.contains(":3:11") && said.contains(taken.address()), "{said}");
}

#[test]
fn json_is_a_configuration_too() {
    let tidegate =
        Start::of(BINARY).text(r#"{"workers":1,"listeners":{"web":{"bind":"127.0.0.1:0","respond":{"body":"json"}}}}"#);
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "json");
}

#[test]
fn files_are_included_and_environment_and_files_are_filled_in() {
    let server = Server::named("app");
    let folder = Folder::new();
    folder.write("secret", "hush");
    fs::create_dir(folder.path().join("conf.d")).expect("a folder");
    folder.write("conf.d/pools.yaml", &format!("pools: {{ app: ['${{env.NOT_SET:-{}}}'] }}\n", server.address()));
    let text = "
include: ['conf.d/*.yaml']
listeners:
  web:
    bind: 127.0.0.1:0
    routes: [{ match: { path: /secret }, respond: { body: '${file.secret} $${kept}' } }, { to: app }]
";
    let file = folder.write("main.yaml", &config(text, &[]));
    let tidegate = Start::of(BINARY).file(&file);
    assert_eq!(ask(&tidegate, &get("/secret", "")).text(), "hush ${kept}");
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "app");
}

#[test]
fn access_lines_go_where_they_should_in_the_form_they_should() {
    let folder = Folder::new();
    let log = folder.path().join("access.log");
    let text = format!(
        "access_log: {{ to: '{}', format: combined }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, respond: {{ body: hello }} }} }}\n",
        log.display()
    );
    let mut tidegate = start(&text, &[]);
    ask(&tidegate, &get("/a?b=c", "User-Agent: say \"hi\"\r\nReferer: http://r/\r\n"));
    tidegate.terminate();
    assert_eq!(tidegate.wait().code(), Some(0));
    let line = fs::read_to_string(&log).expect("a log");
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with("] \"GET /a?b=c HTTP/1.1\" 200 5 \"http://r/\" \"say \\\"hi\\\"\"\n"), "{line}");
}

/// Four workers and three listeners write into one file: every line is whole, and none is missing.
#[test]
fn listeners_and_workers_share_one_log_file() {
    const EACH: usize = 200;
    let folder = Folder::new();
    let log = folder.path().join("access.log");
    let text = format!(
        "workers: 4\naccess_log: '{}'\nlisteners:\n  a: {{ bind: 127.0.0.1:0, respond: 200 }}\n  b: {{ bind: 127.0.0.1:0, respond: 200 }}\n  c: {{ bind: 127.0.0.1:0, respond: 200 }}\n",
        log.display()
    );
    let mut tidegate = start(&text, &[]);
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "a", "b", "c"] {
            let address = tidegate.address(name);
            scope.spawn(move || {
                let mut client = testkit::Client::connect(&address);
                let padding = "x".repeat(500);
                assert!((0..EACH).all(|number| client.get(&format!("/{name}/{number}/{padding}")).status == 200));
            });
        }
    });
    tidegate.terminate();
    assert_eq!(tidegate.wait().code(), Some(0));
    let written = fs::read_to_string(&log).expect("a log");
    let lines: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).expect("a whole line of JSON")).collect();
    for name in ["a", "b", "c"] {
        let own = lines.iter().filter(|line| line["listener"] == name);
        let own = own.filter(|line| line["path"].as_str().is_some_and(|path| path.starts_with(&format!("/{name}/"))));
        assert_eq!(own.count(), 2 * EACH, "{name}");
    }
    assert_eq!(lines.len(), 6 * EACH);
}

#[test]
fn a_port_alone_is_bound_in_both_families() {
    let text =
        "workers: 3\nlisteners: { web: { bind: \":0\", respond: 200 }, six: { bind: \"[::1]:0\", respond: 201 } }\n";
    let tidegate = start(text, &[]);
    let port = |listener| tidegate.address(listener).rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "127.0.0.9", "[::1]"] {
        // Every worker has its own socket: some connection would meet one that is missing.
        for _ in 0..12 {
            let mut client = testkit::Client::connect(&format!("{host}:{}", port("web")));
            assert_eq!(client.get("/").status, 200, "{host}");
        }
    }
    let mut client = testkit::Client::connect(&format!("[::1]:{}", port("six")));
    assert_eq!(client.get("/six").status, 201);
    assert_eq!(tidegate.log_of("/six")["client"], "::1");
    assert!(testkit::Client::try_connect(&format!("127.0.0.1:{}", port("six"))).is_none());
}

#[test]
fn no_access_lines_where_none_are_wanted() {
    let mut tidegate = start("access_log: off\nlisteners: { web: { bind: 127.0.0.1:0, respond: 200 } }\n", &[]);
    ask(&tidegate, &get("/", ""));
    tidegate.terminate();
    tidegate.wait();
    assert!(tidegate.log().is_empty());
}

#[test]
fn a_line_of_the_access_log_tells_the_whole_story() {
    let server = Server::named("hello");
    let text = "
listeners: { web: { bind: 127.0.0.1:0, routes: [{ name: story, to: app }] } }
pools: { app: { servers: { one: '@APP' } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    let mut client = tidegate.client();
    client.ask("POST /story?x=%22y HTTP/1.1\r\nHost: Story.Example:81\r\nContent-Length: 4\r\n\r\nbody");
    let line = tidegate.log_of("/story");
    for (key, wanted) in [
        ("listener", "web"),
        ("route", "story"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("host", "story.example"),
        ("query", "x=%22y"),
        ("version", "1.1"),
        ("pool", "app"),
        ("server", "one"),
    ] {
        assert_eq!(line[key], wanted, "{key} of {line}");
    }
    for (key, wanted) in [("status", 200), ("tries", 1), ("bytes_in", 4), ("bytes_out", 5)] {
        assert_eq!(line[key], wanted, "{key} of {line}");
    }
    assert_eq!((&line["address"], &line["peer"]), (&server.address().into(), &client.local_address().into()));
    assert_eq!(line["id"].as_str().map(str::len), Some(24));
    assert!(line["connect_us"].is_u64() && line["response_us"].is_u64() && line["total_us"].is_u64(), "{line}");
    assert!(line.get("fault").is_none() && line.get("cut").is_none(), "{line}");
}

#[test]
fn one_line_is_a_reverse_proxy() {
    let server = Server::named("app");
    let tidegate = Start::of(BINARY).command(&["reverse", "--bind", "127.0.0.1:0", "--to", server.address()]);
    let address = tidegate.ready()["listeners"]["web"][0].as_str().expect("an address").to_owned();
    assert_eq!(Client::connect(&address).get("/").text(), "app");
}

#[test]
fn check_says_what_run_would_refuse() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", "listeners: { web: { bind: 127.0.0.1:0, respond: 200 } }\n");
    let bad = folder.write("bad.yaml", "listeners: { web: { bind: 127.0.0.1:0, respnd: 200 } }\n");
    let check = |file: &Path| output_of(BINARY, &["check", &file.display().to_string()]);
    assert_eq!(check(&good).status.code(), Some(0));
    let refused = check(&bad);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("did you mean `respond`"));
}
