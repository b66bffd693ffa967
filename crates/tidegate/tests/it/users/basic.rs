//! Names and passwords, asked for by a listener, a site or a route.

use testkit::{Response, Server, Tidegate};

use super::{Files, PEOPLE, basic};
use crate::support::{get, until_shown};

const ASKS: &str = "
listeners:
  web: { bind: 127.0.0.1:0, use: [{ basic_auth: { users: '@DIR/people', realm: 'the \"office\"' } }], to: app }
pools: { app: [@APP] }
";

fn ask(tidegate: &Tidegate, path: &str, pair: &str) -> Response {
    tidegate.client().ask(get(path, &format!("Authorization: {}\r\n", basic(pair))))
}

#[test]
pub(crate) fn who_shows_a_password_comes_in_and_servers_do_not_see_it() {
    let (files, server) = (Files::new(), Server::named("app"));
    let tidegate = files.start(ASKS, &[("APP", &server)]);
    for pair in ["ann:sesame", "bob:bob", "cy:sha"] {
        assert_eq!(ask(&tidegate, "/", pair).text(), "app", "{pair}");
        assert!(!server.request().fields.has("authorization"), "{pair}");
    }
    let line = tidegate.log_line("ann", |line| line["user"] == "ann");
    assert_eq!(line["status"], 200);
    for pair in ["ann:Sesame", "ann:", "bob:sesame", "nobody:sesame", ":", "cy:sha "] {
        let refused = ask(&tidegate, "/wrong", pair);
        assert_eq!(refused.status, 401, "{pair}");
        assert_eq!(
            refused.fields.values("www-authenticate"),
            ["Basic realm=\"the \\\"office\\\"\", charset=\"UTF-8\""]
        );
    }
    assert_eq!(server.requests().len(), 3, "none of them");
}

#[test]
fn what_shows_nothing_or_nonsense_is_asked() {
    let (files, server) = (Files::new(), Server::named("app"));
    let tidegate = files.start(ASKS, &[("APP", &server)]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/first").status, 401);
    let line = tidegate.log_of("/first");
    assert_eq!((&line["fault"], &line["user"]), (&"unauthenticated".into(), &serde_json::Value::Null));
    // The connection goes on: the client comes again with what it was asked for.
    let twice = format!("Authorization: {0}\r\nAuthorization: {0}\r\n", basic("ann:sesame"));
    let fields =
        ["Authorization: Basic\r\n", "Authorization: Basic !!!\r\n", "Authorization: Negotiate abc\r\n", &twice];
    for field in fields {
        assert_eq!(client.ask(get("/", field)).status, 401, "{field}");
    }
    assert_eq!(client.ask(get("/", &format!("Proxy-Authorization: {}\r\n", basic("ann:sesame")))).status, 401);
    let body =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: {}\r\n\r\nhello", basic("x:y"));
    assert_eq!(client.ask(body).status, 401);
    assert_eq!(tidegate.metric("tidegate_auth_failures_total", &["listener=\"web\""]).iter().sum::<f64>(), 5.0);
    let line = tidegate.log_line("a guess", |line| line["user"] == "x");
    assert_eq!((&line["status"], &line["reason"]), (&401.into(), &"the credentials are nobody's".into()));
}

#[test]
fn a_password_is_looked_at_once_by_all_workers() {
    let (files, server) = (Files::new(), Server::named("app"));
    let tidegate = files.start(&format!("workers: 3\n{ASKS}"), &[("APP", &server)]);
    let verified = || tidegate.metric("tidegate_passwords_verified_total", &[])[0];
    for _ in 0..30 {
        assert_eq!(ask(&tidegate, "/", "slow:slow").status, 200);
        assert_eq!(ask(&tidegate, "/", "bob:wrong").status, 401);
    }
    assert_eq!(verified(), 2.0, "one for each password, whatever the number of requests");
    assert_eq!(ask(&tidegate, "/", "cy:sha").status, 200);
    assert_eq!(verified(), 2.0, "a fast hash needs nobody");
}

#[test]
fn an_unknown_name_costs_what_a_known_one_does() {
    let (files, server) = (Files::new(), Server::named("app"));
    let slow: Vec<&str> = PEOPLE.lines().filter(|line| line.contains(":$2")).collect();
    files.0.replace("people", &slow.join("\n"));
    let tidegate = files.start(ASKS, &[("APP", &server)]);
    let verified = || tidegate.metric("tidegate_passwords_verified_total", &[])[0];
    for (number, pair) in ["nobody:1", "somebody:2", "ä:3", ":4", "ann:5"].iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(ask(&tidegate, "/", pair).status, 401, "{pair}");
        }
        assert_eq!(verified(), number as f64 + 1.0, "{pair}");
    }
    // The password of whoever it is compared with is not that of a stranger.
    for name in ["nobody", "somebody", "x", "y"] {
        for password in ["sesame", "slow"] {
            assert_eq!(ask(&tidegate, "/", &format!("{name}:{password}")).status, 401);
        }
    }
}

#[test]
fn a_changed_file_holds_at_once_and_a_wrong_one_changes_nothing() {
    let (files, server) = (Files::new(), Server::named("app"));
    let tidegate = files.start(ASKS, &[("APP", &server)]);
    let generation =
        |wanted: u64| until_shown(&tidegate, "/api/status", |shown| shown["config"]["generation"] == wanted);
    assert_eq!(ask(&tidegate, "/", "ann:sesame").status, 200);
    files.0.replace("people", "ann:$apr1$saltsalt$FVazyyazGsnnYsZQiB1oO.\n");
    generation(2);
    assert_eq!(ask(&tidegate, "/", "ann:sesame").status, 401, "what was known of her is of no more use");
    assert_eq!(ask(&tidegate, "/", "ann:bob").status, 200);
    assert_eq!(ask(&tidegate, "/", "bob:bob").status, 401, "he is gone");
    files.0.replace("people", "ann:$apr1$saltsalt$FVazyyazGsnnYsZQiB1oO.\n\nbob:s3cret\n");
    let said = tidegate.message("people:3:1");
    assert!(said.contains("user `bob`: hashes of `crypt` and passwords in plain are not taken here"), "{said}");
    tidegate.message("reload refused (file changed): generation 2 stays in force");
    assert_eq!(ask(&tidegate, "/", "ann:bob").status, 200);
    files.0.replace("people", "");
    generation(3);
    assert_eq!(ask(&tidegate, "/", "ann:bob").status, 401, "nobody is left");
    assert!(!tidegate.messages().contains("s3cret"));
}

#[test]
pub(crate) fn sites_and_routes_ask_for_themselves_and_in_addition() {
    let (files, server) = (Files::new(), Server::named("app"));
    files.0.write("others", "dan:{SHA}2PRZAyDhNDqRW2OUFwZQqPNdaSY=\nann:{SHA}2PRZAyDhNDqRW2OUFwZQqPNdaSY=\n");
    let text = "
policies: { people: [{ basic_auth: { users: '@DIR/people', realm: people } }] }
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /open }, to: app }
      - { match: { path: /kept/* }, use: [{ basic_auth: { users: '@DIR/others', realm: others, forward: true } }], to: app }
      - match: { path: /both/* }
        use: [people]
        routes:
          - { match: { path: /both/in }, use: [{ basic_auth: { users: '@DIR/others', realm: others } }], to: app }
          - { respond: { status: 200, body: outer } }
pools: { app: [@APP] }
";
    let tidegate = files.start(text, &[("APP", &server)]);
    assert_eq!(tidegate.client().get("/open").status, 200);
    assert_eq!(server.request().target, "/open");
    assert_eq!(ask(&tidegate, "/open", "x:y").status, 200, "nobody asks");
    assert_eq!(server.request().fields.value("authorization"), Some(&*basic("x:y")));
    assert_eq!(ask(&tidegate, "/kept/", "bob:bob").status, 401);
    assert_eq!(ask(&tidegate, "/kept/", "dan:sha").status, 200);
    assert_eq!(server.request().fields.value("authorization"), Some(&*basic("dan:sha")));
    let outer = tidegate.client().get("/both/x");
    assert_eq!(
        (outer.status, outer.fields.value("www-authenticate")),
        (401, Some("Basic realm=\"people\", charset=\"UTF-8\""))
    );
    assert_eq!(ask(&tidegate, "/both/x", "bob:bob").text(), "outer");
    let inner = ask(&tidegate, "/both/in", "bob:bob");
    assert_eq!(
        (inner.status, inner.fields.value("www-authenticate")),
        (401, Some("Basic realm=\"others\", charset=\"UTF-8\""))
    );
    assert_eq!(ask(&tidegate, "/both/in", "ann:sha").status, 401, "that is her password to the inner one alone");
}

#[test]
fn a_queue_of_guesses_ends_and_says_so() {
    let (files, server) = (Files::new(), Server::named("app"));
    let tidegate = files.start(ASKS, &[("APP", &server)]);
    let mut clients: Vec<_> = (0..40).map(|_| tidegate.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get("/", &format!("Authorization: {}\r\n", basic(&format!("slow:guess {number}")))));
    }
    let statuses: Vec<u16> = clients.iter_mut().map(|client| client.response().status).collect();
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(401) + count(503), 40, "{statuses:?}");
    assert!(count(401) >= 16 && count(503) > 0, "one client has a part of the queue alone: {statuses:?}");
    assert_eq!(ask(&tidegate, "/", "slow:slow").status, 200);
}
