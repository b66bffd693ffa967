//! Which route a request takes, and what the routes do that are not the way to a server.

use testkit::{Response, Server, ok};

use crate::support::{ask, get, post, start};

/// A condition, requests for which it holds, requests for which it does not; see [`request`] for their form.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Each condition gets a listener of its own, where it leads to `hit` and anything else to `miss`.
fn assert_matches(rows: &[Row]) {
    let mut text = String::from("listeners:\n");
    for (number, (condition, ..)) in rows.iter().enumerate() {
        text.push_str(&format!(
            "  l{number}:\n    bind: 127.0.0.1:0\n    routes:\n      - match: {condition}\n        respond: {{ body: hit }}\n      - respond: {{ body: miss }}\n"
        ));
    }
    let tidegate = start(&text, &[]);
    for (number, (condition, hits, misses)) in rows.iter().enumerate() {
        for (requests, wanted) in [(hits, "hit"), (misses, "miss")] {
            for text in *requests {
                let mut client = testkit::Client::connect(&tidegate.address(&format!("l{number}")));
                assert_eq!(client.ask(request(text)).text(), wanted, "{condition} for {text:?}");
            }
        }
    }
}

/// `METHOD TARGET | Field: value | Field: value || body`; the method is GET and the Host test.example if they are left out.
pub(crate) fn request(text: &str) -> String {
    let (head, body) = text.split_once("||").unwrap_or((text, ""));
    let mut parts = head.split('|').map(str::trim);
    let line = parts.next().unwrap_or_default();
    let line = if line.starts_with('/') { format!("GET {line}") } else { line.to_owned() };
    let mut request = format!("{line} HTTP/1.1\r\n");
    let fields: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        request.push_str("Host: test.example\r\n");
    }
    for field in fields {
        request.push_str(&format!("{field}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{request}\r\n{body}")
}

#[test]
fn hosts_match() {
    assert_matches(&[
        (
            "{ host: a.example }",
            &["/ | Host: a.example", "/ | Host: A.Example:81", "/ | Host: a.example."],
            &["/ | Host: b.a.example", "/ | Host: a.example.org"],
        ),
        (
            "{ host: '*.a.example' }",
            &["/ | Host: b.a.example", "/ | Host: c.b.a.example"],
            &["/ | Host: a.example", "/ | Host: ba.example"],
        ),
        (
            "{ host: [a.example, '*.b.example'] }",
            &["/ | Host: a.example", "/ | Host: x.b.example"],
            &["/ | Host: b.example"],
        ),
        ("{ host: '~^[ab]\\.example$' }", &["/ | Host: b.example"], &["/ | Host: c.example"]),
        ("{ host: { suffix: .example } }", &["/ | Host: any.example:8080"], &["/ | Host: example"]),
        (
            "{ host: a.example }",
            &["GET http://a.example/ | Host: b.example"],
            &["GET http://b.example/ | Host: a.example"],
        ),
    ]);
}

#[test]
fn paths_match() {
    assert_matches(&[
        ("{ path: /a }", &["/a", "/a?b=c", "/%61", "/x/../a"], &["/a/", "/a/b", "/A", "/ab"]),
        ("{ path: /a/* }", &["/a", "/a/", "/a/b/c"], &["/ab", "/", "/b/a"]),
        ("{ path: /* }", &["/", "/anything/at?all"], &[]),
        ("{ path: '~^/u/[0-9]+$' }", &["/u/12"], &["/u/x", "/u/1/2", "/x/u/1"]),
        ("{ path: '~u' }", &["/u", "/a/bud"], &["/a?u"]),
        ("{ path: { prefix: /pre } }", &["/pre", "/prefix"], &["/a/pre"]),
        ("{ path: { suffix: .png, case: ignore } }", &["/a.png", "/b/C.PNG"], &["/a.pn"]),
        ("{ path: { prefix: /a, suffix: z } }", &["/abcz"], &["/abc", "/bcz"]),
        ("{ path: [/a, /b/*] }", &["/a", "/b/c"], &["/a/c", "/c"]),
        ("{ path: { contains: mid } }", &["/amidst"], &["/m/id"]),
    ]);
}

#[test]
fn methods_and_fields_match() {
    assert_matches(&[
        ("{ method: POST }", &["POST /"], &["/", "post /"]),
        ("{ method: [PUT, PATCH] }", &["PUT /", "PATCH /"], &["DELETE /"]),
        ("{ method: '~^(GET|HEAD)$' }", &["/"], &["POST /", "GETX /"]),
        ("{ header: { x-a: '1' } }", &["/ | X-A: 1", "/ | x-a: 2 | x-a: 1"], &["/", "/ | X-A: 11", "/ | X-B: 1"]),
        ("{ header: { x-a: [b, c] } }", &["/ | X-A: c"], &["/ | X-A: B"]),
        ("{ header: { x-a: { exact: B, case: ignore } } }", &["/ | X-A: b"], &["/ | X-A: bb"]),
        ("{ header: { x-a: { contains: web, case: ignore } } }", &["/ | X-A: aWEBb"], &["/ | X-A: we"]),
        ("{ header: { x-a: '~^[0-9]+$' } }", &["/ | X-A: 42"], &["/ | X-A: 4 2"]),
        ("{ header: { x-a: { present: true } } }", &["/ | X-A: x", "/ | X-A:"], &["/"]),
        ("{ header: { x-a: { absent: true } } }", &["/"], &["/ | X-A: x"]),
        ("{ header: { x-a: '1', x-b: '2' } }", &["/ | X-A: 1 | X-B: 2"], &["/ | X-A: 1", "/ | X-B: 2"]),
        (
            "{ cookie: { ring: [qa, dev] } }",
            &["/ | Cookie: a=b; ring=qa", "/ | Cookie: a=b | Cookie: ring=dev"],
            &["/ | Cookie: ring=prod", "/ | Cookie: xring=qa", "/"],
        ),
        ("{ cookie: { ring: { present: true } } }", &["/ | Cookie: ring=x"], &["/ | Cookie: rings=x"]),
        (
            "{ query: { engine: next } }",
            &["/?engine=next", "/?a&engine=old&engine=next", "/?%65ngine=ne%78t"],
            &["/?engine=nextx", "/?xengine=next", "/", "/ | engine: next"],
        ),
        ("{ query: { q: 'a b' } }", &["/?q=a+b", "/?q=a%20b"], &["/?q=a%2Bb"]),
        ("{ query: { debug: { present: true } } }", &["/?debug", "/?debug=1"], &["/?nodebug"]),
        ("{ query: { debug: { absent: true } } }", &["/", "/?x"], &["/?debug"]),
    ]);
}

#[test]
fn clients_and_kinds_match() {
    const UPGRADE: &str = "/ | Connection: Upgrade | Upgrade: WebSocket";
    assert_matches(&[
        ("{ client: 127.0.0.0/8 }", &["/"], &[]),
        ("{ client: [10.0.0.0/8, '::/0'] }", &[], &["/", "/ | X-Forwarded-For: 10.0.0.1"]),
        (
            "{ kind: websocket }",
            &[UPGRADE],
            &[
                "/",
                "/ | Upgrade: websocket",
                "/ | Connection: Upgrade | Upgrade: h2c",
                "POST / | Connection: Upgrade | Upgrade: websocket",
            ],
        ),
        ("{ kind: http }", &["/"], &[UPGRADE]),
        ("{ kind: [http, websocket] }", &["/", UPGRADE], &[]),
        ("{ port: 1 }", &[], &["/"]),
        ("{ not: { port: 1 } }", &["/"], &[]),
    ]);
}

#[test]
fn the_port_is_that_of_the_listener() {
    let tidegate = start("listeners: { web: { bind: 127.0.0.1:0, respond: 200 } }\n", &[]);
    let port = tidegate.address("web").replace("127.0.0.1:", "");
    let text = format!(
        "listeners:\n  web:\n    bind: 127.0.0.1:0\n    routes:\n      - match: {{ port: {port} }}\n        respond: {{ body: hit }}\n      - respond: {{ body: miss }}\n"
    );
    assert_eq!(tidegate.reload(&crate::support::config(&text, &[])), testkit::Reloaded::Yes);
    // Another port in Host is the client's claim.
    assert_eq!(ask(&tidegate, "GET / HTTP/1.1\r\nHost: a:1\r\n\r\n").text(), "hit");
}

#[test]
fn conditions_combine() {
    assert_matches(&[
        ("{ method: POST, path: /a }", &["POST /a"], &["/a", "POST /b"]),
        ("{ any: [{ path: /a }, { header: { x: '1' } }] }", &["/a", "/b | X: 1"], &["/b"]),
        ("{ not: { path: /a } }", &["/b"], &["/a"]),
        ("{ path: /a/*, not: { path: /a/b, method: GET } }", &["/a", "POST /a/b"], &["/a/b", "/c"]),
        ("{ not: { any: [{ path: /a }, { path: /b }] } }", &["/c"], &["/a", "/b"]),
        (
            "{ any: [{ not: { method: GET } }, { path: /a, query: { x: '1' } }] }",
            &["POST /", "/a?x=1"],
            &["/a", "/?x=1"],
        ),
        ("{ not: { not: { path: /a } } }", &["/a"], &["/b"]),
    ]);
}

#[test]
fn bodies_match() {
    const JSON: &str = "POST / | Content-Type: application/json ||";
    const FORM: &str = "POST / | Content-Type: application/x-www-form-urlencoded ||";
    let leak = |prefix: &str, body: &str| -> &'static str { Box::leak(format!("{prefix}{body}").into_boxed_str()) };
    let json = |body| leak(JSON, body);
    let form = |body| leak(FORM, body);
    let rows = [
        (
            "{ body: { json: { $.customer.tier: gold } } }",
            vec![
                json(r#"{"customer":{"tier":"gold"}}"#),
                json(r#" {"x":[1,{}],"customer": {"a":1, "tier" : "g\u006fld" } } "#),
            ],
            vec![
                json(r#"{"customer":{"tier":"golden"}}"#),
                json(r#"{"tier":"gold"}"#),
                json(r#"{"customer":{"tier":"gold"}"#),
                json(r#"{"customer":{"tier":"iron"},"customer":{"tier":"gold"}}"#),
                json(r#"{"customer":{"tier":"gold","tier":"iron"}}"#),
                "/",
            ],
        ),
        (
            "{ body: { json: { '$.items[1]': '7' } } }",
            vec![json(r#"{"items":[1,7]}"#)],
            vec![json(r#"{"items":[7,1]}"#)],
        ),
        ("{ body: { json: { $.a: { absent: true } } } }", vec![json(r#"{"b":1}"#)], vec![json(r#"{"a":1}"#)]),
        ("{ body: { json: { $.on: 'true' } } }", vec![json(r#"{"on":true}"#)], vec![json(r#"{"on":false}"#)]),
        (
            "{ body: { form: { tier: gold } } }",
            vec![form("a=b&tier=gold"), form("t%69er=g%6Fld")],
            vec![form("tier=golden"), form("xtier=gold"), json("tier=gold")],
        ),
        (
            "{ body: { text: { contains: 'magic word' } } }",
            vec!["POST / ||the magic word is"],
            vec!["POST / ||the word is", "/"],
        ),
        ("{ body: { text: '~^[a-z]+$' } }", vec!["POST / ||abc"], vec!["POST / ||abc1"]),
        ("{ body: { text: { contains: a }, limit: 10B } }", vec!["POST / ||0123a56789"], vec!["POST / ||0123a567890"]),
    ];
    let rows: Vec<Row> =
        rows.into_iter().map(|(condition, hits, misses)| (condition, &*Vec::leak(hits), &*Vec::leak(misses))).collect();
    assert_matches(&rows);
}

#[test]
fn a_body_over_the_limit_is_rejected_where_that_is_said() {
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /strict, body: { text: { contains: a }, limit: 10B, over_limit: reject } }, respond: 200 }
      - { respond: 204 }
";
    let tidegate = start(text, &[]);
    assert_eq!(ask(&tidegate, &post("/strict", "0123a56789")).status, 200);
    assert_eq!(ask(&tidegate, &post("/strict", "0123b56789")).status, 204);
    assert_eq!(ask(&tidegate, &post("/strict", "0123456789x")).status, 413);
    // Another path does not even look.
    assert_eq!(ask(&tidegate, &post("/free", "0123456789x")).status, 204);
}

#[test]
fn a_body_that_was_looked_at_is_forwarded_byte_for_byte() {
    let server = Server::echo();
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { body: { json: { $.tier: gold }, limit: 1KiB } }, to: app, use: [{ headers: { request: { set: { x-tier: gold } } } }] }
      - { to: app }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let gold = r#"{"tier" : "gold" }"#;
    let long = format!(r#"{{"tier":"gold","x":"{}"}}"#, "y".repeat(100_000));
    for (body, tier) in [(gold, Some("gold")), (r#"{"tier":"iron"}"#, None), (&long, None)] {
        let fields = "Content-Type: application/json";
        let mut client = tidegate.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nContent-Length: {}\r\n\r\n", body.len()));
        // The body comes on its own, in two pieces.
        let (early, late) = body.split_at(body.len() / 2);
        client.send(early);
        client.send(late);
        assert_eq!(client.response().text(), body);
        assert_eq!(server.request().fields.value("x-tier"), tier);

        let chunked = format!("{:x}\r\n{early}\r\n{:x}\r\n{late}\r\n0\r\n\r\n", early.len(), late.len());
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(client.ask(format!("{head}{chunked}")).text(), body);
        assert_eq!(server.request().fields.value("x-tier"), tier);
    }
}

#[test]
fn a_client_that_awaits_100_is_told_to_go_on_when_a_route_must_see_the_body() {
    let server = Server::echo();
    let text = "
listeners: { web: { bind: 127.0.0.1:0, routes: [{ match: { body: { text: go } }, to: app }, { respond: 204 }] } }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("go");
    let response = client.response();
    assert_eq!((response.interim.len(), response.text().as_str()), (0, "go"));
    assert!(!server.request().fields.has("expect"));
}

#[test]
fn the_first_route_that_matches_wins_and_blocks_do_not_leak() {
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    use: [{ headers: { response: { set: { x-order: listener } } } }]
    routes:
      - { match: { path: /a/first }, respond: { body: one } }
      - match: { path: /a/* }
        use: [{ headers: { response: { set: { x-order: outer }, add: { x-all: outer } } } }]
        routes:
          - match: { path: /a/in/* }
            routes:
              - { match: { method: POST }, respond: { body: deep } }
          - match: { path: /a/b }
            use: [{ headers: { response: { set: { x-order: inner }, add: { x-all: inner } } } }]
            respond: { body: two }
      - { match: { path: /a/b }, match: { path: /a/later }, respond: { body: never } }
      - { respond: { body: last } }
"
    .replace(
        "{ match: { path: /a/b }, match: { path: /a/later }, respond: { body: never } }",
        "{ match: { method: GET }, respond: { body: three } }",
    );
    let tidegate = start(&text, &[]);
    for (asked, wanted) in
        [("/a/first", "one"), ("/a/b", "two"), ("/c", "three"), ("POST /c", "last"), ("POST /a/in/x", "deep")]
    {
        assert_eq!(ask(&tidegate, &request(asked)).text(), wanted, "{asked}");
    }
    // What matches a block but nothing in it goes no further.
    for asked in ["/a/nothing", "/a/in/x"] {
        let response = ask(&tidegate, &request(asked));
        assert_eq!(response.status, 404, "{asked}");
    }
    assert_eq!(tidegate.log_of("/a/nothing")["fault"], "no_route");
    // On the way back the listener's policies come last.
    let response = ask(&tidegate, &get("/a/b", ""));
    assert_eq!(response.fields.value("x-order"), Some("listener"));
    assert_eq!(response.fields.values("x-all"), ["inner", "outer"]);
}

#[test]
fn the_most_specific_site_wins() {
    let text = "
listeners: { web: { bind: 127.0.0.1:0 }, other: { bind: 127.0.0.1:0 } }
sites:
  rest:  { hosts: default, listeners: web, respond: { body: rest } }
  wide:  { hosts: '*.example.com', listeners: [web, other], respond: { body: wide } }
  near:  { hosts: '*.shop.example.com', listeners: web, respond: { body: near } }
  exact: { hosts: [a.shop.example.com, b.example.com], listeners: web, routes: [{ match: { path: /only }, respond: { body: exact } }] }
";
    let tidegate = start(text, &[]);
    let on = |listener: &str, host: &str, path: &str| -> Response {
        testkit::Client::connect(&tidegate.address(listener))
            .ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    for (host, wanted) in [
        ("x.example.com", "wide"),
        ("example.com", "rest"),
        ("x.y.example.com", "wide"),
        ("x.shop.example.com", "near"),
        ("shop.example.com", "wide"),
        ("A.Shop.Example.Com:99", "exact"),
        ("b.example.com.", "exact"),
        ("nobody", "rest"),
    ] {
        assert_eq!(on("web", host, "/only").text(), wanted, "{host}");
    }
    // A site that answers for a host does not leave what it has no route for to another.
    assert_eq!(on("web", "b.example.com", "/else").status, 404);
    assert_eq!(on("other", "x.example.com", "/").text(), "wide");
    assert_eq!(on("other", "nobody", "/").status, 404);
    assert_eq!(testkit::Client::connect(&tidegate.address("web")).ask("GET / HTTP/1.0\r\n\r\n").text(), "rest");
}

#[test]
fn redirects_go_where_they_say() {
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /old/* }, redirect: /new/* }
      - { match: { path: '~^/u/([a-z]+)/([0-9]+)$' }, redirect: { location: 'https://users.example/$2/$1', status: 301 } }
      - { match: { path: /fixed }, redirect: { location: '/there?kept=no', status: 302 } }
      - { match: { host: plain.example }, redirect: { scheme: https } }
      - { match: { host: move.example }, redirect: { host: moved.example, port: 8443, status: 307 } }
      - { redirect: { location: /see, status: 303 } }
";
    let tidegate = start(text, &[]);
    for (asked, status, location) in [
        ("/old/a/b?x=1", 308, "/new/a/b?x=1"),
        ("/old", 308, "/new/"),
        ("/old/%2e%2e/old/c", 308, "/new/c"),
        ("/u/ann/7?q", 301, "https://users.example/7/ann?q"),
        ("/fixed?x=1", 302, "/there?kept=no"),
        ("/p?x | Host: Plain.example:80", 308, "https://plain.example/p?x"),
        ("/p | Host: move.example", 307, "http://moved.example:8443/p"),
        ("POST /else", 303, "/see"),
    ] {
        let response = ask(&tidegate, &request(asked));
        assert_eq!((response.status, response.fields.value("location")), (status, Some(location)), "{asked}");
        assert_eq!(response.framing, testkit::Framing::Length(0), "{asked}");
    }
}

#[test]
fn a_redirect_cannot_be_made_to_split_or_to_leave() {
    let tidegate = start(
        "listeners: { web: { bind: 127.0.0.1:0, routes: [{ match: { path: /old/* }, redirect: /* }, { respond: 204 }] } }\n",
        &[],
    );
    for asked in ["/old//evil.example/", "/old/%2F/evil.example", "/old/%0d%0aSet-Cookie:x", "/old/%5Cevil.example"] {
        let response = ask(&tidegate, &get(asked, ""));
        let location = response.fields.value("location").unwrap_or_default().to_owned();
        assert!(!location.starts_with("//") && !location.starts_with("/\\"), "{asked} led to {location}");
        assert!(!response.fields.has("set-cookie"), "{asked}");
    }
}

#[test]
fn answers_of_ones_own() {
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /ok }, respond: { status: 200, body: \"ok\\n\" } }
      - { match: { path: /json }, respond: { body: '{}', headers: { content-type: application/json, x-a: b } } }
      - { match: { path: /empty }, respond: 204 }
      - { match: { path: /denied }, deny: { status: 451, reason: not here } }
      - { match: { path: /plainly }, deny: 403 }
      - { match: { method: HEAD }, respond: { body: hello } }
";
    let tidegate = start(text, &[]);
    let mut client = tidegate.client();
    let response = client.get("/ok");
    assert_eq!((response.status, response.text().as_str()), (200, "ok\n"));
    assert_eq!(response.fields.value("content-type"), Some("text/plain; charset=utf-8"));
    assert!(response.fields.has("date"));
    let response = client.get("/json");
    assert_eq!(
        (response.fields.value("content-type"), response.fields.value("x-a")),
        (Some("application/json"), Some("b"))
    );
    assert_eq!(client.get("/empty").status, 204);
    let response = client.get("/denied");
    assert_eq!(response.status, 451);
    assert!(response.text().contains("not here"), "{}", response.text());
    assert_eq!(client.get("/plainly").status, 403);
    assert_eq!(tidegate.log_of("/plainly")["fault"], "denied");
    assert_eq!(client.get("/none").status, 404);
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response_to_head();
    assert_eq!(response.fields.value("content-length"), Some("5"));
    // All of it was one connection.
    assert_eq!(client.get("/ok").status, 200);
}

#[test]
fn headers_are_edited_both_ways() {
    let server =
        Server::http(|_| b"HTTP/1.1 200 OK\r\nServer: app\r\nX-There: app\r\nContent-Length: 0\r\n\r\n".to_vec());
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    use: [shared]
    routes:
      - match: { path: /r/* }
        use:
          - headers:
              request:
                remove: [X-Gone, cookie]
                set: { x-set: new, x-client: '${client_ip} ${peer_ip}', x-where: '${host}${path} ${method}', x-copy: '${header.x-old}/${cookie.c}/${query.q}' }
                add: { x-many: two }
                default: { x-default: ours, x-theirs: ours }
              response:
                remove: server
                set: { x-there: us, x-id: '${request_id}' }
        to: app
policies:
  shared:
    - headers: { response: { default: { x-there: never, x-shared: yes } } }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let fields =
        "X-Gone: 1\r\nCookie: c=crumb\r\nX-Set: old\r\nX-Set: older\r\nX-Many: one\r\nX-Theirs: theirs\r\nX-Old: o\r\n";
    let response = ask(&tidegate, &get("/r/1?q=a%20b", fields));
    let seen = server.request();
    for (name, wanted) in [
        ("x-gone", vec![]),
        ("cookie", vec![]),
        ("x-set", vec!["new"]),
        ("x-client", vec!["127.0.0.1 127.0.0.1"]),
        ("x-where", vec!["test.example/r/1 GET"]),
        ("x-copy", vec!["o/crumb/a b"]),
        ("x-many", vec!["one", "two"]),
        ("x-default", vec!["ours"]),
        ("x-theirs", vec!["theirs"]),
    ] {
        assert_eq!(seen.fields.values(name), wanted, "{name}");
    }
    assert!(!response.fields.has("server"));
    assert_eq!(response.fields.values("x-there"), ["us"]);
    assert_eq!(response.fields.value("x-shared"), Some("yes"));
    assert_eq!(response.fields.value("x-id"), tidegate.log_of("/r/1")["id"].as_str());
}

#[test]
fn a_selector_cannot_break_a_field_in_two() {
    let server = Server::named("app");
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    to: app
    use: [{ headers: { request: { set: { x-q: '${query.q}' } }, response: { set: { x-q: '${query.q}' } } } }]
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let response = ask(&tidegate, &get("/?q=a%0d%0aX-Evil:%20b%00c", ""));
    assert!(!response.fields.has("x-evil"), "{response:?}");
    assert!(!server.request().fields.has("x-evil"));
}

#[test]
fn rewrites_change_what_the_server_is_asked_for() {
    let server = Server::http(|request| ok(&request.target));
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: '~^/u/([0-9]+)$' }, use: [{ rewrite: { path: /users/$1 } }], to: app }
      - { match: { path: /strip/* }, use: [{ rewrite: { path: /* } }], to: app }
      - { match: { path: /query }, use: [{ rewrite: { path: '/other?fixed=1' } }], to: app }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    for (asked, wanted) in [
        ("/u/42?x=%20", "/users/42?x=%20"),
        ("/strip/a%2Fb/c", "/a%2Fb/c"),
        ("/strip", "/"),
        ("/query?x=1", "/other?fixed=1"),
    ] {
        assert_eq!(ask(&tidegate, &get(asked, "")).text(), wanted, "{asked}");
    }
    // The log says what was asked, not what it became.
    assert_eq!(tidegate.log_of("/u/42")["path"], "/u/42");
}

#[test]
fn a_split_gives_each_pool_its_share() {
    let (blue, green) = (Server::named("blue"), Server::named("green"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, split: [{ to: blue, share: 80% }, { to: green, share: 20% }] } }
pools: { blue: [@BLUE], green: [@GREEN] }
";
    let tidegate = start(text, &[("BLUE", &blue), ("GREEN", &green)]);
    let mut client = tidegate.client();
    let blues = (0..1000).filter(|_| client.get("/").text() == "blue").count();
    // Five standard deviations around 800.
    assert!((737..=863).contains(&blues), "{blues} of 1000");
    assert_eq!(green.requests().len(), 1000 - blues);
}

#[test]
fn a_literal_server_needs_no_pool() {
    let server = Server::named("app");
    let tidegate = start("listeners: { web: { bind: 127.0.0.1:0, to: '@APP' } }\n", &[("APP", &server)]);
    assert_eq!(ask(&tidegate, &get("/literal", "")).text(), "app");
    assert_eq!(tidegate.log_of("/literal")["pool"], server.address());
}

#[test]
fn what_a_rewrite_fills_in_cannot_climb() {
    let server = Server::named("app");
    let tidegate = start(
        "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /admin/* }, deny: 403 }
      - { match: { path: '~^/x(.*)$' }, use: [{ rewrite: { path: /base/$1 } }], to: app }
pools: { app: [@APP] }
",
        &[("APP", &server)],
    );
    assert_eq!(ask(&tidegate, &get("/xy/z", "")).status, 200);
    for path in ["/x../admin/secret", "/x%2e%2e/admin/secret", "/x./y", "/x..;a/y"] {
        assert_eq!(ask(&tidegate, &get(path, "")).status, 400, "{path}");
    }
    let reached: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(reached, ["/base/y/z"]);
}
