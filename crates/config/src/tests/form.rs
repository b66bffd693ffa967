//! LANGUAGE, "Form": scalars, short forms, sources, defaults.

use std::time::Duration;

use super::{load, mistake, ok, said};
use crate::spec::{BindAddress, Ending, LogFormat, LogSink, RetryIf, ServerAddress, Serves};

#[test]
fn a_fields_type_decides_what_its_text_means() {
    let spec = ok(
        "listeners: {on: {bind: ':1', routes: [{name: 0123, match: {header: {a: [1, on, null]}}, respond: {body: 007}}]}}",
    );
    let Serves::Routes(routes) = &spec.listeners[0].serves else { panic!("routes") };
    assert_eq!(routes[0].name.as_deref(), Some("0123"));
    assert!(matches!(&routes[0].ending, Ending::Respond(respond) if respond.body == "007" && respond.status == 200));
    let said = mistake("listeners: {a: {bind: ':1', respond: 0404}}");
    assert_eq!(
        said,
        "`status` of `respond` of listener `a`: `0404` has a leading zero, write the number without it (t.yaml:1:38)"
    );
    assert!(mistake("listeners: {a: {bind: ':1', deny: 403, use: }}").starts_with("`use` of listener `a` is empty"));
    assert!(
        mistake("listeners: {a: {bind: ':1', deny: 403, use: []}}")
            .starts_with("`use` of listener `a` is an empty list")
    );
    assert!(
        mistake("listeners: {a: {bind: ':1', deny: 403, timeouts: {response: 5}}}")
            .contains("`5` has no unit, write `5s`")
    );
    assert!(
        mistake("listeners: {a: {bind: ':1', deny: {status: [1]}}}").contains("is a list, it must be a whole number")
    );
    assert!(mistake("[a]").starts_with("the configuration is a list, it must be a map"));
}

#[test]
fn short_forms_stand_for_one_key() {
    let short = "
access_log: stderr
admin: 127.0.0.1:9
listeners:
  a: {bind: ':1', forwarding: elite, deny: 404}
  b: {bind: ':2', redirect: /x}
  c: {bind: ':3', respond: 204}
  d: {bind: ':4', routes: {to: p}}
pools: {p: ['h:1', 'h:2'], q: 'h:3'}
";
    let long = "
access_log: {to: stderr, format: json}
admin: {bind: 127.0.0.1:9}
listeners:
  a: {bind: [{address: ':1'}], forwarding: {client: none, via: false}, deny: {status: 404}}
  b: {bind: [':2'], redirect: {location: /x, status: 308}}
  c: {bind: ':3', respond: {status: 204}}
  d: {bind: ':4', routes: [{to: p}]}
pools: {p: {servers: [{address: 'h:1'}, {address: 'h:2', weight: 1}]}, q: {servers: {address: 'h:3'}}}
";
    assert_eq!(super::placeless(&ok(short)), super::placeless(&ok(long)));
}

#[test]
fn sources_are_replaced_in_values() {
    let spec = ok("listeners: {a: {bind: '${env.NO:-:7}', respond: {body: 'x${env.SET}$${y}'}}}");
    assert_eq!(spec.listeners[0].binds[0].address, BindAddress::AnyFamily(7));
    let Serves::Routes(routes) = &spec.listeners[0].serves else { panic!("routes") };
    assert!(matches!(&routes[0].ending, Ending::Respond(respond) if respond.body == "xs3cret${y}"));
    assert!(
        mistake("listeners: {a: {bind: '${env.NO}', deny: 403}}").contains("the environment variable `NO` is not set")
    );
    let said = mistake("listeners: {a: {bind: ':1', respond: {body: '${host}'}}}");
    assert!(said.contains("belongs to a live request") && said.contains("`$${host}`"), "{said}");
}

#[test]
fn secrets_are_not_in_messages() {
    for text in [
        "listeners: {a: {bind: ':1', deny: '${env.SET}'}}",
        "listeners: {a: {bind: ':1', deny: 403, timeouts: {total: '${env.SET}'}}}",
        "listeners: {a: {bind: ':1', deny: 403, http: '${env.SET}'}}",
        "listeners: {a: {bind: ':1', deny: 403, forwarding: {via: '${env.SET}'}}}",
        "listeners: {a: {bind: ':1', to: '${env.SET}'}}",
        "listeners: {a: {bind: ':1', to: 'x/${env.SET}:80'}}",
        "listeners: {a: {bind: '${env.SET}', deny: 403}}",
        "listeners: {a: {bind: ':1', routes: [{match: {host: '${env.SET}:80'}, deny: 403}]}}",
    ] {
        let said = mistake(text);
        assert!(!said.contains("s3cret") && said.contains("${env.SET}"), "{said}");
    }
}

#[test]
fn top_level_x_keys_are_ignored_and_hold_anchors() {
    let spec = ok("x-pool: &p {servers: 'h:1', balance: random}\nlisteners: {a: {bind: ':1', to: p}}\npools: {p: *p}");
    assert_eq!(spec.pools[0].servers.len(), 1);
    assert!(
        mistake("listeners: {a: {bind: ':1', deny: 403, x-y: 1}}").starts_with("unknown key `x-y` in listener `a`")
    );
}

#[test]
fn defaults_are_inherited_field_by_field() {
    let spec = ok("
defaults:
  pool: {balance: random, timeouts: {connect: 1s, pooled: 9s}, retries: {extra: 3}}
  listener: {limits: {fields: 7}}
  route: {timeouts: {total: 8s}}
listeners:
  a: {bind: ':1', routes: [{match: {path: /a}, timeouts: {response: 2s}, routes: [{to: q}]}, {to: 'h:9'}]}
pools:
  p: 'h:1'
  q: {servers: 'h:2', balance: round_robin, timeouts: {connect: 4s}}
");
    let seconds = Duration::from_secs;
    assert_eq!(spec.pools[0].timeouts.connect, Some(seconds(1)));
    assert_eq!(spec.pools[1].timeouts.connect, Some(seconds(4)));
    assert_eq!((spec.pools[1].pooled_timeout, spec.pools[1].retries.extra), (seconds(9), Some(3)));
    assert_eq!(
        (spec.pools[0].balance.algorithm, spec.pools[1].balance.algorithm),
        (crate::spec::Algorithm::Random, crate::spec::Algorithm::RoundRobin)
    );
    assert!(spec.pools[2].implicit && spec.pools[2].balance.algorithm == crate::spec::Algorithm::Random);
    assert_eq!(spec.listeners[0].head.fields, 7);
    let Serves::Routes(routes) = &spec.listeners[0].serves else { panic!("routes") };
    assert_eq!((routes[0].timeouts.total, routes[0].timeouts.response), (Some(seconds(8)), Some(seconds(2))));
    let Ending::Routes(inner) = &routes[0].ending else { panic!("nested") };
    assert_eq!(inner[0].timeouts.total, None, "a nested route takes from the route around it");
    assert!(
        mistake("defaults: {pool: {servers: 'h:1'}}\nlisteners: {a: {bind: ':1', deny: 403}}")
            .contains("cannot be inherited")
    );
}

#[test]
fn the_tables_defaults_are_the_models() {
    let spec = ok("listeners: {a: {bind: ':1', to: 'h:1'}, b: {bind: ':1', role: udp, to: 'h:2'}}");
    let listener = &spec.listeners[0];
    let of_udp = spec.listeners[1].timeouts.flow;
    assert_eq!((listener.timeouts, of_udp), (crate::spec::Timeouts::DEFAULT, Some(crate::spec::Transport::Udp.idle())));
    assert_eq!(listener.retries, crate::spec::Retries::standard());
    assert_eq!(listener.limits, crate::spec::Limits::DEFAULT);
    assert_eq!(listener.retries.conditions, Some(vec![RetryIf::Connect]));
    assert_eq!((listener.head.request_head, listener.head.fields), (64 << 10, 100));
    assert_eq!((listener.request_head_timeout.as_secs(), listener.keep_alive_timeout.as_secs()), (10, 75));
    assert_eq!((spec.shutdown.delay.as_secs(), spec.shutdown.drain.as_secs()), (0, 30));
    let log = spec.access_log.expect("a log");
    assert_eq!((log.to, log.format), (LogSink::Stdout, LogFormat::Json));
}

#[test]
fn the_document_may_be_json() {
    let spec = ok(r#"{"workers": 2, "listeners": {"a": {"bind": ":1", "to": "h:1"}}, "dns": {"hosts": {"H": "::1"}}}"#);
    assert_eq!(spec.workers, Some(2));
    assert_eq!(spec.pools[0].servers[0].address, ServerAddress::Name { host: "h".to_owned(), port: 1 });
    assert_eq!(spec.dns.hosts[0].0, "h");
}

#[test]
fn admin_is_only_for_this_machine() {
    let with =
        |bind: &str| said(load(&format!("admin: {{bind: '{bind}'}}\nlisteners: {{a: {{bind: ':1', deny: 403}}}}")));
    for bind in ["127.0.0.1:9", "[::1]:9", "localhost:9", "unix:a.sock", "127.0.0.2:0"] {
        assert_eq!(with(bind), Vec::<String>::new(), "{bind}");
    }
    for bind in ["0.0.0.0:9", ":9", "[::]:9", "10.0.0.1:9"] {
        assert!(with(bind).concat().contains("could be reached from outside"), "{bind}");
    }
    assert!(with("127.0.0.1:1").is_empty() && with("fd:x").concat().contains("planned"));
}
