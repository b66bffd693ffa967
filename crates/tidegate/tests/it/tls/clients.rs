//! What clients are shown, and what both agree on.

use testkit::tls::Wishes;
use testkit::{Authority, Client, ClientTls, Server, Tidegate};

use super::{ALONE, Desk, EDGE, page, refusal, was_shown};

#[test]
pub(crate) fn a_name_is_shown_its_own_certificate_else_the_wildcards_else_the_default() {
    let desk = Desk::new();
    let wildcard = desk.issue("wild", &["*.example.com"]);
    let exact = desk.issue("exact", &["shop.example.com", "192.0.2.9"]);
    let fallback = desk.issue("fallback", &["fallback.test", "127.0.0.1"]);
    let text = "
certificates:
  wild: { cert: '@DIR/wild.pem', key: '@DIR/wild.key' }
  exact: { cert: '@DIR/exact.pem', key: '@DIR/exact.key' }
  fallback: { cert: '@DIR/fallback.pem', key: '@DIR/fallback.key', default: true }
listeners: { web: { bind: 127.0.0.1:0, tls: { certificates: [wild, exact, fallback] }, respond: 200 } }
";
    let tidegate = desk.start(text, &[]);
    let address = tidegate.address("web");
    let shown = |name: &str| Client::secured(&address, &ClientTls::new(&desk.authority, name));
    assert!(was_shown(&shown("shop.example.com"), &exact));
    assert!(was_shown(&shown("SHOP.example.com"), &exact));
    assert!(was_shown(&shown("blog.example.com"), &wildcard));
    // A client that asks for an address names nobody.
    assert!(was_shown(&shown("127.0.0.1"), &fallback));
    // A wildcard stands for one label, and never for none.
    for name in ["a.b.example.com", "example.com", "nobody.test"] {
        let why = refusal(&address, &ClientTls::new(&desk.authority, name));
        assert!(why.contains("fallback.test"), "{name}: {why}");
    }
}

/// Without a default it is the first of the list.
#[test]
pub(crate) fn the_first_certificate_is_the_default_of_those_that_have_none() {
    let desk = Desk::new();
    let first = desk.issue("first", &["127.0.0.1", "first.test"]);
    let second = desk.issue("second", &["127.0.0.1", "second.test"]);
    let text = "
certificates:
  first: { cert: '@DIR/first.pem', key: '@DIR/first.key' }
  second: { cert: '@DIR/second.pem', key: '@DIR/second.key', default: @DEFAULT }
listeners: { web: { bind: 127.0.0.1:0, tls: [first, second], respond: 200 } }
";
    for (default, wanted) in [("false", &first), ("true", &second)] {
        let tidegate = desk.start(&text.replace("@DEFAULT", default), &[]);
        let client = Client::secured(&tidegate.address("web"), &ClientTls::new(&desk.authority, "127.0.0.1"));
        assert!(was_shown(&client, wanted), "{default}");
    }
}

#[test]
fn a_name_may_have_a_certificate_for_each_kind_of_key() {
    let desk = Desk::new();
    let ecdsa = desk.issue("ecdsa", &["example.com"]);
    let rsa = desk.authority.issue_rsa(&["example.com"]);
    rsa.write(&desk.folder, "rsa");
    let text = "
certificates:
  rsa: { cert: '@DIR/rsa.pem', key: '@DIR/rsa.key' }
  ecdsa: { cert: '@DIR/ecdsa.pem', key: '@DIR/ecdsa.key' }
listeners: { web: { bind: 127.0.0.1:0, tls: [ecdsa, rsa], respond: 200 } }
";
    let tidegate = desk.start(text, &[]);
    for (kind, wanted) in [(Some("RSA"), &rsa), (Some("ECDSA"), &ecdsa), (None, &ecdsa)] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            // The authority signs by ECDSA: whoever must read its signature needs that, too.
            let wishes = Wishes { signatures: kind, version: Some(version), ..Wishes::default() };
            let tls = ClientTls::with(&desk.authority, "example.com", &wishes);
            let client = Client::secured(&tidegate.address("web"), &tls);
            assert!(was_shown(&client, wanted), "{kind:?} {version:?}");
        }
    }
}

#[test]
pub(crate) fn both_versions_are_spoken_unless_the_oldest_is_said() {
    let desk = Desk::new();
    let old = ClientTls::with(
        &desk.authority,
        "example.com",
        &Wishes { version: Some(&rustls::version::TLS12), ..Wishes::default() },
    );
    let tidegate = desk.start(ALONE, &[]);
    for (tls, path, version) in [(&old, "/old", "TLSv1.2"), (&desk.tls(), "/new", "TLSv1.3")] {
        let mut client = Client::secured(&tidegate.address("web"), tls);
        assert_eq!(client.ask(page(path)).text(), "here");
        assert_eq!(format!("{:?}", client.agreed().version).replace(['"', '_'], "."), format!(".{version}."));
        let line = tidegate.log_of(path);
        assert_eq!((line["tls"].as_str(), line["sni"].as_str()), (Some(version), Some("example.com")));
    }
    let text = ALONE.replace("tls: main", "tls: { certificates: main, min_version: tls1.3 }");
    let tidegate = desk.start(&text, &[]);
    let why = refusal(&tidegate.address("web"), &old);
    assert!(why.contains("ProtocolVersion"), "{why}");
    assert_eq!(desk.client(&tidegate).ask(page("/")).status, 200);
}

#[test]
fn the_key_exchange_withstands_quantum_computers_where_the_client_can() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    assert_eq!(desk.client(&tidegate).agreed().exchange, "X25519MLKEM768");
    let wishes = Wishes { exchange: Some(rustls::crypto::aws_lc_rs::kx_group::X25519), ..Wishes::default() };
    let tls = ClientTls::with(&desk.authority, "example.com", &wishes);
    assert_eq!(Client::secured(&tidegate.address("web"), &tls).agreed().exchange, "X25519");
}

/// Who speaks only what is not spoken here is refused; of what both speak, a list's order counts more than the client's.
#[test]
pub(crate) fn suites_and_groups_may_be_chosen() {
    let desk = Desk::new();
    let ask = |tidegate: &Tidegate, wishes: &Wishes<'_>| {
        Client::try_secured(&tidegate.address("web"), &ClientTls::with(&desk.authority, "example.com", wishes))
            .map(|mut client| {
                assert_eq!(client.ask(page("/")).text(), "here");
                let agreed = client.agreed();
                format!("{} {}", agreed.cipher, agreed.exchange)
            })
            .unwrap_or_else(|error| error.to_string())
    };
    let old = Wishes { version: Some(&rustls::version::TLS12), ..Wishes::default() };
    let x25519 = Wishes { exchange: Some(rustls::crypto::aws_lc_rs::kx_group::X25519), ..Wishes::default() };
    for (keys, wishes, wanted) in [
        ("", &Wishes::default(), "TLS13_AES_256_GCM_SHA384 X25519MLKEM768"),
        ("", &old, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 X25519"),
        ("ciphers: modern", &Wishes::default(), "TLS13_AES_256_GCM_SHA384 X25519MLKEM768"),
        ("ciphers: modern", &old, "fatal alert"),
        (
            "ciphers: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384]",
            &Wishes::default(),
            "TLS13_AES_128_GCM_SHA256 X25519MLKEM768",
        ),
        ("ciphers: ECDHE-ECDSA-CHACHA20-POLY1305", &old, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 X25519"),
        ("ciphers: ECDHE-RSA-AES128-GCM-SHA256", &old, "fatal alert"),
        ("groups: [secp384r1, X25519]", &x25519, "TLS13_AES_256_GCM_SHA384 X25519"),
        ("groups: SECP384R1", &Wishes::default(), "TLS13_AES_256_GCM_SHA384 secp384r1"),
        ("groups: secp384r1", &x25519, "fatal alert"),
    ] {
        let tidegate = desk.start(&ALONE.replace("tls: main", &format!("tls: {{ certificates: main, {keys} }}")), &[]);
        let said = ask(&tidegate, wishes);
        assert!(said.contains(wanted), "{keys}: {said}");
    }
}

#[test]
pub(crate) fn client_certificates_are_optional_or_required_and_bad_ones_always_fail() {
    let desk = Desk::new();
    let people = Authority::new();
    desk.folder.write("people.pem", people.pem());
    let (ours, strange) = (people.issue(&["ada.test"]), Authority::new().issue(&["eve.test"]));
    let showing = |issued, version| {
        let wishes = Wishes { shows: Some(issued), version: Some(version), ..Wishes::default() };
        ClientTls::with(&desk.authority, "example.com", &wishes)
    };
    for mode in ["optional", "required", "off"] {
        let asked = format!("tls: {{ certificates: main, client_cert: {{ ca: '@DIR/people.pem', mode: {mode} }} }}");
        let tidegate = desk.start(&ALONE.replace("tls: main", &asked), &[]);
        let address = tidegate.address("web");
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let ask = |tls| Client::secured(&address, &tls).ask(page("/")).status;
            assert_eq!(ask(showing(&ours, version)), 200, "{mode} {version:?}");
            if mode == "off" {
                assert_eq!(ask(showing(&strange, version)), 200, "{version:?}");
            } else {
                let why = refusal(&address, &showing(&strange, version));
                assert!(why.contains("fatal alert"), "{mode} {version:?}: {why}");
            }
            let wishes = Wishes { version: Some(version), ..Wishes::default() };
            let nobody = ClientTls::with(&desk.authority, "example.com", &wishes);
            if mode == "required" {
                let why = refusal(&address, &nobody);
                assert!(why.contains("fatal alert"), "{version:?}: {why}");
            } else {
                assert_eq!(ask(nobody), 200, "{mode} {version:?}");
            }
        }
    }
    // `ca` alone means that one is required.
    let asked = "tls: { certificates: main, client_cert: '@DIR/people.pem' }";
    let tidegate = desk.start(&ALONE.replace("tls: main", asked), &[]);
    assert!(refusal(&tidegate.address("web"), &desk.tls()).contains("fatal alert"));
}

#[test]
pub(crate) fn a_route_may_ask_for_the_name_in_the_handshake() {
    let desk = Desk::new();
    let text = ALONE.replace(
        "respond: { body: here }",
        "routes: [{ match: { sni: shop.example.com }, respond: { body: shop } }, \
         { match: { sni: '*.example.com' }, respond: { body: any } }, { respond: { body: none } }]",
    );
    let tidegate = desk.start(&text, &[]);
    for (name, body) in
        [("shop.example.com", "shop"), ("blog.example.com", "any"), ("example.com", "none"), ("127.0.0.1", "none")]
    {
        let mut client = Client::secured(&tidegate.address("web"), &ClientTls::new(&desk.authority, name));
        // The host of the request is another matter.
        assert_eq!(client.ask(page("/")).text(), body, "{name}");
    }
}

/// RFC 7301 section 3.2: the newest that both speak; who speaks only others is told so, who names none is served all the same.
#[test]
pub(crate) fn the_protocol_is_agreed_on_in_the_handshake_and_a_route_may_ask_for_it() {
    let desk = Desk::new();
    let text = ALONE.replace(
        "respond: { body: here }",
        "routes: [{ match: { not: { alpn: [h1, h2] } }, respond: { body: none } }, \
         { match: { alpn: h1 }, respond: { body: one } }]",
    );
    let tidegate = desk.start(&text, &[]);
    let speaking =
        |protocols| ClientTls::with(&desk.authority, "example.com", &Wishes { protocols, ..Wishes::default() });
    for (path, offered, agreed, body) in
        [("/one", &["acme", "http/1.1"][..], Some("http/1.1"), "one"), ("/none", &[], None, "none")]
    {
        let mut client = Client::secured(&tidegate.address("web"), &speaking(offered));
        assert_eq!(client.agreed().alpn.as_deref(), agreed);
        assert_eq!(client.ask(page(path)).text(), body);
        assert_eq!(tidegate.log_of(path)["alpn"].as_str(), agreed);
    }
    let why = refusal(&tidegate.address("web"), &speaking(&["acme", "h3"]));
    assert!(why.contains("NoApplicationProtocol"), "{why}");
}

#[test]
pub(crate) fn a_route_may_ask_for_a_client_certificate() {
    let desk = Desk::new();
    let people = Authority::new();
    desk.folder.write("people.pem", people.pem());
    let (ada, bob) = (people.issue(&["ada.test"]), people.issue(&["bob.test"]));
    let spaced = ada.fingerprint().to_uppercase();
    let spaced: Vec<&str> = (0..32).map(|at| &spaced[2 * at..2 * at + 2]).collect();
    let text = ALONE
        .replace("tls: main", "tls: { certificates: main, client_cert: { ca: '@DIR/people.pem', mode: optional } }")
        .replace(
            "respond: { body: here }",
            "routes: [{ match: { path: /partners/*, not: { client_cert: { present: true } } }, deny: 403 }, \
             { match: { client_cert: { fingerprint: '@ADA' } }, respond: { body: ada } }, \
             { match: { client_cert: { present: false } }, respond: { body: nobody } }, { respond: { body: somebody } }]",
        )
        .replace("@ADA", &spaced.join(":"));
    let tidegate = desk.start(&text, &[]);
    let showing = |shows| ClientTls::with(&desk.authority, "example.com", &Wishes { shows, ..Wishes::default() });
    for (shows, body, guarded) in [(Some(&ada), "ada", 200), (Some(&bob), "somebody", 200), (None, "nobody", 403)] {
        let tls = showing(shows);
        // The second time by a session that is resumed: it is who it was.
        for resumed in [false, true] {
            let mut client = Client::secured(&tidegate.address("web"), &tls);
            assert_eq!(client.ask(page("/")).text(), body);
            assert_eq!(client.ask(page("/partners/x")).status, guarded);
            assert_eq!(client.agreed().resumed, resumed);
        }
    }
}

#[test]
fn servers_may_be_told_of_what_was_agreed_on() {
    let desk = Desk::new();
    let people = Authority::new();
    desk.folder.write("people.pem", people.pem());
    let ada = people.issue(&["ada.test"]);
    let server = Server::named("app");
    let text = EDGE
        .replace("tls: main", "tls: { certificates: main, client_cert: { ca: '@DIR/people.pem', mode: optional } }")
        .replace(
            "to: app",
            "use: [{ headers: { request: { set: { x-sni: '${tls.sni}', x-tls: '${tls.version} ${tls.cipher} ${tls.alpn}', \
             x-client: '${tls.client_fingerprint}' } } } }], to: app",
        );
    let tidegate = desk.start(&text, &[("APP", &server)]);
    for (shows, wanted) in [(Some(&ada), ada.fingerprint()), (None, String::new())] {
        let tls = ClientTls::with(
            &desk.authority,
            "example.com",
            &Wishes { shows, protocols: &["http/1.1"], ..Wishes::default() },
        );
        let request = page("/").replace("\r\n\r\n", "\r\nX-Client: forged\r\n\r\n");
        assert_eq!(Client::secured(&tidegate.address("web"), &tls).ask(request).status, 200);
        let fields = server.request().fields;
        assert_eq!(fields.value("x-sni"), Some("example.com"));
        assert_eq!(fields.value("x-tls"), Some("TLSv1.3 TLS13_AES_256_GCM_SHA384 http/1.1"));
        assert_eq!(fields.values("x-client"), [wanted.as_str()]);
    }
}
