//! Flows that come to a server without what guards it from requests are warned of.

use super::load;

const PEOPLE: &str = "
pools:
  app: ['10.0.0.1:80', 'app.test:80']
  same: ['10.0.0.1:80']
  other: ['10.0.0.1:81']
";

/// What is said of these listeners.
fn warned(listeners: &str) -> Vec<String> {
    let text = format!("listeners:\n{listeners}{PEOPLE}");
    let loaded = load(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let said = loaded.warnings.iter().map(ToString::to_string);
    said.filter(|said| !said.ends_with("is never used") && !said.contains("is never used (")).collect()
}

const FLOWS: &str = "  flows: { bind: ':2', role: tcp, to: same }\n";

#[test]
fn a_way_around_names_both_places() {
    let guarded = "  web: { bind: ':1', routes: [{ match: { path: /admin }, deny: 403 }, { to: app }] }\n";
    assert_eq!(
        warned(&format!("{guarded}{FLOWS}")),
        [
            "listener `flows` passes flows on to server `10.0.0.1:80` of pool `same`, which a route of listener `web` (t.yaml:2:71) guards \
          by a `deny` before it: whoever comes here goes around it (t.yaml:3:10)"
        ]
    );
}

#[test]
fn every_guard_counts_and_nothing_else() {
    let tls = "certificates: internal, client_cert: ca.pem";
    for (web, guard) in [
        ("routes: [{ match: { client: 10.0.0.0/8 }, to: app }]".to_owned(), "the client's network"),
        ("routes: [{ match: { client: 10.0.0.0/8 }, routes: [{ match: { path: /a }, to: app }] }]".to_owned(), "the client's network"),
        (format!("tls: {{ {tls} }}, to: app"), "a client certificate"),
        ("tls: { certificates: internal, client_cert: { ca: ca.pem, mode: optional } }, routes: [{ match: { client_cert: { present: true } }, to: app }]".to_owned(), "a client certificate"),
        ("routes: [{ deny: 403, match: { method: PUT } }, { split: [{ to: app, share: 100% }] }]".to_owned(), "a `deny` before it"),
    ] {
        let said = warned(&format!("  web: {{ bind: ':1', {web} }}\n{FLOWS}"));
        assert_eq!(said.len(), 1, "{web}: {said:#?}");
        assert!(said[0].contains(guard), "{web}: {said:#?}");
    }
    for web in [
        "to: app",
        "routes: [{ match: { path: /a }, to: app }, { deny: 403 }]",
        "routes: [{ match: { client: 10.0.0.0/8 }, to: other }]",
        "routes: [{ match: { any: [{ client: 10.0.0.0/8 }, { path: /a }] }, to: app }]",
        "tls: { certificates: internal, client_cert: { ca: ca.pem, mode: optional } }, to: app",
    ] {
        assert_eq!(warned(&format!("  web: {{ bind: ':1', {web} }}\n{FLOWS}")), Vec::<String>::new(), "{web}");
    }
}

#[test]
fn flows_with_the_same_guard_go_around_nothing() {
    let guarded = "  web: { bind: ':1', routes: [{ match: { client: 10.0.0.0/8 }, to: app }] }\n";
    let flows = "  flows: { bind: ':2', role: tcp, routes: [{ match: { client: 10.1.0.0/16 }, to: same }] }\n";
    assert_eq!(warned(&format!("{guarded}{flows}")), Vec::<String>::new());
    // Of each server once.
    let twice = "  flows: { bind: ':2', role: tcp, routes: [{ match: { port: 2 }, to: same }, { to: app }] }\n";
    assert_eq!(warned(&format!("{guarded}{twice}")).len(), 2);
}
