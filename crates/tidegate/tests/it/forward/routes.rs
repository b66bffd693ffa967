//! Routes of a forward proxy: what is known of a request, and how little of a tunnel.

use testkit::{Server, Tidegate};

use super::{ask, port, proxy};

fn connect(tidegate: &Tidegate, to: &str) -> u16 {
    let mut client = tidegate.client();
    client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nX-Who: me\r\n\r\n"));
    client.head().status
}

#[test]
fn hosts_and_ports_decide_and_what_matches_nothing_is_refused() {
    let server = Server::named("one");
    let port = port(&server);
    let tidegate = proxy(&format!(
        "routes: [{{ match: {{ host: a.test, path: /no/* }}, deny: {{ status: 451, reason: no }} }}, {{ match: {{ host: a.test, port: {port} }}, to: origin }}]"
    ));
    assert_eq!(ask(&tidegate, &format!("http://a.test:{port}/yes")).text(), "one");
    assert_eq!(ask(&tidegate, &format!("http://a.test:{port}/n%6F/x")).status, 451);
    assert_eq!(ask(&tidegate, &format!("http://b.test:{port}/")).status, 403);
    assert_eq!(ask(&tidegate, "http://a.test:81/").status, 403);
    assert_eq!(connect(&tidegate, &format!("a.test:{port}")), 200);
    assert_eq!(connect(&tidegate, &format!("b.test:{port}")), 403);
}

#[test]
fn what_a_tunnel_hides_satisfies_no_match() {
    let server = Server::named("one");
    let to = format!("a.test:{}", port(&server));
    for hidden in [
        "path: '/*'",
        "method: ~^CONNECT$",
        "header: { x-who: me }",
        "header: { x-who: { absent: true } }",
        "not: { path: /x }",
        "not: { method: GET }",
        "query: { a: { absent: true } }",
    ] {
        let tidegate = proxy(&format!("routes: [{{ match: {{ host: a.test, {hidden} }}, to: origin }}]"));
        assert_eq!(connect(&tidegate, &to), 403, "{hidden}");
    }
    for known in ["host: a.test", "kind: tunnel", "client: 127.0.0.0/8", "not: { host: b.test }", "not: { kind: http }"]
    {
        let tidegate = proxy(&format!("routes: [{{ match: {{ {known} }}, to: origin }}]"));
        assert_eq!(connect(&tidegate, &to), 200, "{known}");
    }
    let tidegate = proxy("routes: [{ match: { kind: tunnel }, deny: 403 }, { to: origin }]");
    assert_eq!(connect(&tidegate, &to), 403);
    assert_eq!(ask(&tidegate, &format!("http://{to}/")).text(), "one");
}

#[test]
fn policies_change_what_passes_and_endings_of_ours_answer() {
    let server = Server::named("one");
    let tidegate = proxy(
        "forwarding: elite\n    use: [{ headers: { request: { set: { x-set: here }, remove: [cookie] }, response: { set: { x-back: there } } } }]\n    routes: [{ match: { host: b.test }, respond: { status: 418, body: tea } }, { to: origin }]",
    );
    let answer = tidegate
        .client()
        .ask(format!("GET http://a.test:{}/ HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\n\r\n", port(&server)));
    assert_eq!((answer.status, answer.fields.value("x-back"), answer.fields.has("via")), (200, Some("there"), false));
    let request = server.request();
    assert_eq!(request.fields.value("x-set"), Some("here"));
    assert!(!["cookie", "via", "x-forwarded-for", "forwarded"].into_iter().any(|name| request.fields.has(name)));
    assert_eq!(ask(&tidegate, "http://b.test/").status, 418);
}

#[test]
fn an_address_has_one_spelling() {
    let server = Server::named("one");
    let tidegate = proxy("routes: [{ match: { host: ['127.0.0.1', '[::1]'] }, deny: 451 }, { to: origin }]");
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0::1]", "[::1]"] {
        assert_eq!(ask(&tidegate, &format!("http://{host}:{}/", port(&server))).status, 451, "{host}");
    }
    assert_eq!(ask(&tidegate, &format!("http://a.test:{}/", port(&server))).text(), "one");
}

#[test]
fn under_tls_what_matches_nothing_is_refused_as_without() {
    let desk = crate::tls::Desk::new();
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, role: forward, tls: main, routes: [{ match: { host: a.test }, to: origin }] } }
";
    let tidegate = desk.start(text, &[]);
    assert_eq!(desk.client(&tidegate).ask(super::asked("http://b.test/")).status, 403);
}
