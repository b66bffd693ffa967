//! The command line, and the examples as it takes them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Folder, Request, Server, Start, Tidegate, output_of};

use crate::support::{BINARY, get, post};

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn example(name: &str) -> String {
    std::fs::read_to_string(examples().join(name)).expect("an example")
}

/// Runs a command on a file of this text: exit code, standard output, standard error with the file's bare name.
fn on(arguments: &[&str], text: &str) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    let file = folder.write("tidegate.yaml", text).display().to_string();
    let Output { status, stdout, stderr } = output_of(BINARY, &[arguments, &[&file]].concat());
    let said = String::from_utf8_lossy(&stderr).replace(&file, "tidegate.yaml");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), said)
}

#[test]
fn check_passes_what_is_sound() {
    let (code, out, err) = on(&["check"], &example("basic.yaml"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.ends_with("is sound: 1 listeners, 0 sites, 2 pools\n"), "{out}");
}

#[test]
fn check_warns_and_passes() {
    let text = "listeners: { web: { bind: :0, respond: 200 } }\npools: { idle: [\"127.0.0.1:1\"] }\n";
    let (code, _, err) = on(&["check"], text);
    assert_eq!((code, err.as_str()), (Some(0), "warning: pool `idle` is never used (tidegate.yaml:2:10)\n"));
}

#[test]
fn check_says_all_mistakes_at_once() {
    let text = "\
workers: none
listeners:
  web:
    bind: 127.0.0.1:8080
    routes:
      - match: { path: /a }
        too: api
      - to: apo
pools:
  api: { servers: [\"127.0.0.1:9001\"], retrys: 1 }
";
    let (code, out, err) = on(&["check"], text);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let places = ["(tidegate.yaml:1:10)", "(tidegate.yaml:7:9)", "(tidegate.yaml:8:13)", "(tidegate.yaml:10:39)"];
    for (place, name) in places.iter().zip(["none", "`too`", "`apo`", "did you mean `retries`?"]) {
        assert!(err.lines().any(|line| line.contains(name) && line.ends_with(place)), "{name} {place}\n{err}");
    }
    // What runs says the same.
    assert_eq!(on(&["run"], text), (code, out, err));
}

/// What a start would not take, a check does not.
#[test]
fn a_check_reads_lists() {
    let folder = Folder::new();
    folder.write("l.txt", "ads.example\n");
    let text = |format: &str| {
        let (list, route) = (format!("file: l.txt, format: {format}"), "match: { url: { list: l } }, deny: 403");
        format!(
            "lists: {{ l: {{ {list} }} }}\nlisteners: {{ a: {{ bind: '127.0.0.1:0', role: forward, routes: [{{ {route} }}] }} }}\n"
        )
    };
    let check = |format: &str| {
        folder.write("t.yaml", &text(format));
        output_of(BINARY, &["check", &folder.path().join("t.yaml").display().to_string()])
    };
    assert_eq!(check("domains").status.code(), Some(0));
    let refused = check("hosts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("nothing in it is a rule of `format: hosts`") && said.contains("t.yaml:1:"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let output = output_of(BINARY, &["check", "/nowhere/tidegate.yaml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("/nowhere/tidegate.yaml") && said.contains("cannot be read"), "{said}");
}

#[test]
fn effective_is_a_document_with_the_same_meaning() {
    for text in [example("basic.yaml"), example("sites.yaml"), reverse()] {
        let (code, once, err) = on(&["config", "--effective"], &text);
        assert_eq!(code, Some(0), "{err}");
        let (code, twice, err) = on(&["config", "--effective"], &once);
        assert_eq!(code, Some(0), "{err}\n{once}");
        assert_eq!(once, twice);
    }
    let (_, out, _) = on(&["config", "--effective", "--set", "workers=7"], &example("basic.yaml"));
    assert!(out.contains("workers: 7\n") && out.contains("keep_alive: 75s\n"), "{out}");
}

#[test]
fn the_schema_has_every_key_that_works_and_no_other() {
    let output = output_of(BINARY, &["schema"]);
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut said = BTreeSet::new();
    words(&schema, &mut said);
    for key in config::all_keys() {
        let name = key.rsplit('.').next().unwrap_or_default();
        assert!(said.contains(name), "{key}");
    }
    for planned in ["api_key", "cache", "caches", "jwt", "rate_limit", "stores", "when"] {
        assert!(!said.contains(planned), "{planned}");
    }
}

/// Every name of a member and every text.
fn words(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                into.insert(name.clone());
                words(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, into)),
        Value::String(text) => {
            into.insert(text.clone());
        }
        _ => {}
    }
}

#[test]
fn every_example_loads_or_lacks_only_what_is_planned() {
    let mut loaded = Vec::new();
    for entry in std::fs::read_dir(examples()).expect("the examples") {
        let file = entry.expect("an example").path();
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let output = output_of(BINARY, &["check", &file.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            loaded.push(name);
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{name}");
        for line in said.lines() {
            let place = line.rsplit_once(&format!("{name}:")).map(|(_, place)| place.trim_end_matches(')'));
            let has_place = place.is_some_and(|place| place.split(':').all(|number| number.parse::<u32>().is_ok()));
            // Examples of certificates, users and lists have none beside them.
            let has_files = ["tls.yaml", "forward.yaml", "sidecar.yaml"].contains(&name.as_str());
            let lacks_file = has_files && line.to_ascii_lowercase().contains("no such file");
            assert!(has_place && (lacks_file || line.contains("is planned and does not work yet")), "{line}");
        }
    }
    assert!(["basic.yaml", "sites.yaml"].iter().all(|name| loaded.iter().any(|known| known == name)), "{loaded:?}");
}

#[test]
fn set_overrides_and_says_what_it_cannot() {
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("listeners.web.routes.0.respond.body", "two")
        .text("listeners: { web: { bind: \"127.0.0.1:1\", routes: [{ respond: 299 }] } }\n");
    let response = tidegate.client().get("/");
    assert_eq!((response.status, response.text().as_str()), (299, "two"));
    for (set, why) in [
        ("listeners.web.bnd=:0", "unknown key `bnd` of listener, did you mean `bind`? (--set listeners.web.bnd)"),
        ("workers=none", "`none`"),
        ("workers", "expected `path=value`"),
    ] {
        let (code, _, said) = on(&["check", "--set", set], &example("basic.yaml"));
        assert!(code == Some(2) && said.contains(why), "{set}: {code:?} {said}");
    }
}

#[test]
fn the_ready_line_names_every_address() {
    let text = "
workers: 3
admin: 127.0.0.1:0
listeners:
  web: { bind: [127.0.0.1:0, \"unix:web.sock\"], respond: 200 }
  other: { bind: 127.0.0.1:0, respond: 200 }
";
    let tidegate = Start::of(BINARY).text(text);
    let ready = tidegate.ready();
    assert_eq!((ready["ready"].as_bool(), ready["workers"].as_u64()), (Some(true), Some(3)));
    assert_eq!(ready["pid"], tidegate.pid());
    let mut addresses: Vec<&str> = ["web", "other"]
        .iter()
        .flat_map(|name| ready["listeners"][name].as_array().expect("a list"))
        .filter_map(Value::as_str)
        .collect();
    addresses.extend(ready["admin"].as_str());
    assert_eq!(addresses.len(), 4, "{ready}");
    for address in addresses {
        match address.strip_prefix("unix:") {
            Some(path) => assert!(tidegate.folder.path().join(path).exists(), "{address}"),
            None => assert!(!address.ends_with(":0") && testkit::Client::try_connect(address).is_some(), "{address}"),
        }
    }
}

#[test]
fn a_reverse_proxy_needs_no_file() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let arguments = ["reverse", "--bind", "127.0.0.1:0", "--to", one.address(), two.address()];
    let tidegate =
        Start::of(BINARY).set("pools.servers.balance", "round_robin").set("workers", "1").command(&arguments);
    let mut client = tidegate.client();
    let answers: BTreeSet<String> = (0..2).map(|_| client.get("/a").text()).collect();
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), ["one", "two"]);
    tidegate.printed("\"GET /a HTTP/1.1\" 200 3");
    assert!(tidegate.ready()["admin"].is_null());
}

#[test]
fn what_is_wrong_with_an_argument_names_the_argument() {
    let server = Server::named("taken");
    for (arguments, said) in [
        (&["reverse", "--bind", ":80x", "--to", "127.0.0.1:1"][..], "`80x` is no port, use 1 to 65535 (--bind :80x)"),
        (&["tcp", "--bind", ":0", "--to", "h:1", "127.0.0.1"], "write `127.0.0.1:PORT` (--to 127.0.0.1)"),
        (
            &["udp", "--bind", ":0", "--to", "h:1", "--admin", "0.0.0.0:1"],
            "use `127.0.0.1:1` or `unix:PATH` (--admin 0.0.0.0:1)",
        ),
        (&["reverse", "--bind", ":0", "--to", "h:1", "--set", "workers=x"], "from 1 to 1024 (--set workers)"),
        (&["reverse", "--bind", server.address(), "--to", "h:1"], &format!("(--bind {})", server.address())),
        (&["demo", "--bind", "x"], "`x` has no port, write `x:PORT` (--bind x)"),
    ] {
        let output = output_of(BINARY, arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(said) && !told.contains("the command line"), "{arguments:?}: {told}");
    }
}

#[test]
fn what_several_inherit_is_wrong_once() {
    let (_, _, said) = on(&["check"], &example("sidecar.yaml"));
    assert_eq!(said.matches("mesh-ca.pem").count(), 1, "{said}");
}

#[test]
fn files_that_are_written_wherever_we_were_started_are_told_of() {
    let folder = Folder::new();
    let text = "access_log: log.json\nadmin: unix:admin.sock\nlisteners: { a: { bind: unix:a.sock, respond: 200, use: [{ capture: { har: a.har } }] } }\n";
    let told = |text: &str| {
        let file = folder.write("t.yaml", text);
        let output = output_of(BINARY, &["check", &file.display().to_string()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).matches("stands in the folder in which the process was started").count()
    };
    assert_eq!(told(text), 4);
    assert_eq!(told(&format!("state: /tmp\n{text}")), 0);
    assert_eq!(told(&text.replace("log.json", "/tmp/log.json").replace("unix:a", "unix:/tmp/a")), 1);
}

#[test]
fn everything_that_the_demo_proposes_works() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let demo = Start::of(BINARY).command(&["demo", "--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let printed = demo.printed("The status page is at");
    let tries: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("  curl ")?.split_once("  # ")).collect();
    let commands = printed.lines().filter(|line| line.contains("curl ")).count();
    assert!(commands == tries.len() && commands >= 10, "{printed}");
    for (arguments, promise) in tries {
        let command = format!("curl -sS --max-time 20 --noproxy '*' -w '[%{{http_code}}]' {arguments}");
        let output = Command::new("/bin/sh").args(["-c", &command]).output().expect("a shell");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {err}");
        let has = |text: &str| out.contains(text);
        let count = |text: &str| out.matches(text).count();
        let kept = match promise {
            "blue once, green twice: weights" => count("this is blue") == 1 && count("this is green") == 2,
            "routed by host" | "routed by what the message says" => has("this is shop") && has("[200]"),
            "redirected" => has("[308]") && out.to_lowercase().contains("location: /new/page"),
            "denied" | "no spelling slips past" => has("[403]"),
            "answered here" => has("hello from tidegate itself\n[200]"),
            "Prometheus metrics" => has("# TYPE tidegate_") && has("[200]"),
            "what the operator's API says" => has("\"name\": \"colours\"") && has("[200]"),
            "only green is left" => has("\"state\": \"draining\"") && has("[200]"),
            _ => false,
        };
        assert!(kept, "{command}  # {promise}\n{out}");
    }
    let mut client = demo.client();
    assert!((0..6).all(|_| client.get("/").text().contains("this is green")));
}

/// A server that says its name; what it received is asked of it later.
fn named(name: &'static str) -> Server {
    Server::http(move |_| {
        format!("HTTP/1.1 200 OK\r\nServer: secret\r\nContent-Length: {}\r\n\r\n{name}", name.len()).into()
    })
}

/// The answer to a request for this host.
fn at(tidegate: &Tidegate, host: &str, target: &str, fields: &str) -> testkit::Response {
    tidegate.client().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

#[test]
fn the_first_example_is_served_as_it_stands() {
    let (one, two, shop) = (named("a1"), named("a2"), named("shop"));
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("admin.bind", "127.0.0.1:0")
        .set("pools.api.servers.a1.address", one.address())
        .set("pools.api.servers.a2.address", two.address())
        .set("pools.shop.servers.0", &format!("localhost:{}", shop.port()))
        .file(&examples().join("basic.yaml"));
    for host in ["shop.example.com", "eu.shop.example.com"] {
        let response = at(&tidegate, host, "/", "");
        assert_eq!((response.text().as_str(), response.fields.value("x-frame-options")), ("shop", Some("DENY")));
        let response = at(&tidegate, host, "/api/x", "");
        assert!(response.text().starts_with('a') && response.fields.has("x-frame-options"), "{response:?}");
    }
    assert!(at(&tidegate, "other.example", "/ws", "").text().starts_with('a'));
    assert!(
        at(&tidegate, "other.example", "/", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n").text().starts_with('a')
    );
    let response = at(&tidegate, "other.example", "/", "");
    assert_eq!((response.status, response.text().as_str()), (404, "no such site\n"));
    // One worker's turn: the second has twice the first's weight.
    let mut client = tidegate.client();
    let answers: Vec<String> = (0..6).map(|_| client.get("/ws").text()).collect();
    assert_eq!(answers.iter().filter(|name| *name == "a1").count(), 2, "{answers:?}");
    assert_eq!(tidegate.log_of("/api/x")["pool"], "api");
}

#[test]
fn the_example_of_sites_is_served_as_it_stands() {
    let (api, shop, docs) = (named("api"), named("shop"), named("docs"));
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("pools.api.servers.0", api.address())
        .set("pools.shop.servers.0", shop.address())
        .set("pools.docs.servers.0", docs.address())
        .file(&examples().join("sites.yaml"));
    for (host, target, name) in [
        ("shop.example.com", "/api/x", "api"),
        ("shop.example.com", "/", "shop"),
        ("a.b.shop.example.com", "/api", "api"),
        ("docs.example.com", "/api/x", "docs"),
    ] {
        let response = at(&tidegate, host, target, "");
        assert_eq!(response.text(), name, "{host}{target}");
        let hardened = response.fields.value("x-content-type-options") == Some("nosniff");
        assert_eq!(hardened, host.contains("shop"), "{host}");
    }
    assert_eq!(at(&tidegate, "example.com", "/", "").status, 421);
}

/// The example of a reverse proxy without what is still planned.
fn reverse() -> String {
    let mut text = example("reverse.yaml");
    for (planned, instead) in [
        ("    health: { probe: http, path: /healthz, every: 2s, timeout: 1s, rise: 2, fall: 3 }\n", ""),
        ("    outlier: { consecutive_errors: 5, eject_for: 30s, max_ejected: 50% }\n", ""),
        ("    slow_start: 10s\n", ""),
        (", budget: 20%", ""),
        ("share: 10%, sticky: cookie", "share: 0%"),
    ] {
        assert!(text.contains(planned), "{planned}");
        text = text.replace(planned, instead);
    }
    text
}

#[test]
fn the_example_of_a_reverse_proxy_is_served_but_for_what_is_planned() {
    let (first, second, next) = (named("api"), named("api"), named("next"));
    let folder = Folder::new();
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("admin.bind", "127.0.0.1:0")
        .set("pools.api.servers.0", first.address())
        .set("pools.api.servers.1.address", second.address())
        .set("pools.api-next.servers.0", next.address())
        .file(&folder.write("tidegate.yaml", &reverse()));
    let order = |tier: &str| post("/orders", &format!("{{\"customer\":{{\"tier\":\"{tier}\"}}}}"));
    for (request, name) in [
        ("GET /v1/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_owned(), "api"),
        (get("/beta/x", "X-Beta: 1\r\n"), "next"),
        (get("/beta/x", "Cookie: ring=dev\r\n"), "next"),
        (get("/beta/x", ""), "api"),
        (get("/search?engine=next", ""), "next"),
        (get("/search?engine=old", ""), "api"),
        (order("gold"), "next"),
        (order("tin"), "api"),
        (get("/internal/x", "X-Forwarded-For: 10.1.2.3\r\n"), "api"),
        (get("/elsewhere", ""), "api"),
    ] {
        let response = tidegate.client().ask(&request);
        assert_eq!((response.status, response.text().as_str()), (200, name), "{request}");
    }
    for spelling in ["/internal/x", "/a/../internal/x", "/%69nternal/x", "/internal"] {
        assert_eq!(tidegate.client().get(spelling).status, 403, "{spelling}");
    }
    let moved = tidegate.client().get("/old/a?b=c");
    assert_eq!((moved.status, moved.fields.value("location")), (308, Some("/v1/a?b=c")));
    assert_eq!(tidegate.client().get("/healthz").text(), "ok\n");

    let received = || [first.requests(), second.requests()].concat();
    let find = |target: &str| -> Option<Request> { received().into_iter().find(|request| request.target == target) };
    assert_eq!(tidegate.client().get("/u/42").status, 200);
    assert!(find("/users/42").is_some() && find("/u/42").is_none(), "{:?}", received());
    assert!(!tidegate.client().get("/last").fields.has("server"));
    let last = find("/last").expect("a request that was sent on");
    assert_eq!(last.fields.value("x-served-by"), Some("tidegate"));
    assert_eq!(last.fields.value("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(tidegate.log_of("/last")["route"], "everything-else");
}
