//! Random tables and requests: the compiled table says what trying every rule in turn says.

use std::sync::Arc;
use std::time::SystemTime;

use net::tls::Alpn;
use proptest::prelude::*;
use proptest::sample::select;
use wire::forwarded::Net;
use wire::postgres::Startup;

use wire::list::{Effect, Format, Rule as ListRule};

use super::super::judge::Truth;
use super::super::{BodyCondition, Captures, Found, Schedule, Zone};
use super::*;
use crate::lists::{Content, Hits, List, Listed, Lists, Of, Patterns, Set, Wanted};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_table_finds_what_a_scan_finds(
        rules in prop::collection::vec(prop::collection::vec(condition(), 0..4), 0..24),
        requests in prop::collection::vec(request(), 1..12),
        from in 0..4_usize,
    ) {
        let rules: Vec<Rule> = rules.into_iter().map(|conditions| Rule { conditions }).collect();
        let table = Table::compile(rules.clone());
        for request in &requests {
            prop_assert_eq!(table.find(&request.facts(), from), scan(&rules, &request.facts(), from), "{:?}", request);
        }
    }
}

fn scan(rules: &[Rule], facts: &Facts<'_>, from: usize) -> Finding {
    for (ordinal, rule) in rules.iter().enumerate().skip(from) {
        let truths: Vec<Truth> = rule.conditions.iter().map(|condition| condition.judge(facts)).collect();
        if truths.iter().any(|truth| matches!(truth, Truth::False | Truth::Unknown)) {
            continue;
        }
        match truths.into_iter().fold(Truth::True, Truth::and) {
            Truth::Undecided(limit) => return Finding::NeedsBody { ordinal, limit },
            Truth::TooLarge => return Finding::TooLarge { ordinal },
            _ => return Finding::Rule(Found { ordinal, captures: captures(rule, facts) }),
        }
    }
    Finding::None
}

fn captures(rule: &Rule, facts: &Facts<'_>) -> Captures {
    rule.conditions.iter().rev().find_map(|condition| condition.captures(facts)).unwrap_or_default()
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        4 => prop::collection::vec(host_pattern(), 0..3).prop_map(Condition::Host),
        4 => prop::collection::vec(any_path_pattern(), 0..3).prop_map(Condition::Path),
        1 => prop::collection::vec(select(vec!["GET", "POST"]).prop_map(Text::exact), 1..3).prop_map(Condition::Method),
        1 => text().prop_map(|text| header("x", text)),
        1 => text().prop_map(|text| Condition::Cookie { name: "x".into(), values: vec![text] }),
        1 => text().prop_map(|text| Condition::Query { name: "x".into(), values: vec![text] }),
        1 => (0..2_u16).prop_map(|port| Condition::Port(vec![port])),
        1 => select(vec![Kind::Http, Kind::Websocket, Kind::Grpc, Kind::Tunnel, Kind::Socks]).prop_map(|kind| Condition::Kind(vec![kind])),
        1 => text().prop_map(|text| Condition::GrpcService(vec![text])),
        1 => text().prop_map(|text| Condition::GrpcMethod(vec![text])),
        1 => (0..33_u8).prop_map(|prefix| Condition::Client(vec![Net { address: [192, 0, 2, 2].into(), prefix }])),
        1 => prop::collection::vec(host_pattern(), 0..3).prop_map(Condition::Sni),
        1 => select(vec![Alpn::H1, Alpn::H2]).prop_map(|alpn| Condition::Alpn(vec![alpn])),
        1 => any::<bool>().prop_map(Condition::ClientCert),
        1 => (0..2_u8).prop_map(|byte| Condition::Fingerprint(vec![[byte; 32]])),
        1 => text().prop_map(|text| Condition::PostgresUser(vec![text])),
        1 => text().prop_map(|text| Condition::PostgresDatabase(vec![text])),
        1 => text().prop_map(|text| Condition::MqttClient(vec![text])),
        1 => text().prop_map(|text| Condition::User(vec![text])),
        1 => text().prop_map(|text| Condition::Group(vec![text])),
        1 => (0..128_u8, 0..1440_u16, 0..1440_u16).prop_map(|(days, from, to)| {
            let zone = Zone::fixed(i32::from(from) * 10).expect("less than a day");
            Condition::Time(vec![Schedule { days, hours: [(from, to)].into(), zone }])
        }),
        1 => listed(),
        1 => body(),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner, 0..3);
        prop_oneof![prop::collection::vec(list.clone(), 0..3).prop_map(Condition::Any), list.prop_map(Condition::Not),]
    })
}

/// On one of two lists: one of hosts alone, and one that asks for more.
fn listed() -> impl Strategy<Value = Condition> {
    let of = select(vec![Of::Url, Of::Host, Of::Sni]);
    (prop::collection::vec(host_name(), 0..4), prop::option::of(Just("||a/x\n@@||b.a/$image\n")), of).prop_map(
        |(names, patterns, of)| {
            let mut hosts = Set::new(1);
            for host in &names {
                let effect = if host.len() > 3 { Effect::Except } else { Effect::Block };
                hosts.add(0, &ListRule { host, itself: true, below: true, effect, revokes: false });
            }
            let list = List {
                words: None,
                name: "l".into(),
                format: Format::Adblock,
                patterns: patterns.and_then(|lines| Patterns::of(lines).0),
                content: Content::default(),
                loaded: SystemTime::UNIX_EPOCH,
                hits: Arc::new(Hits::new(1)),
            };
            let lists = Arc::new(Lists { hosts, all: vec![Arc::new(list)] });
            Condition::Listed(Listed { lists, wanted: Wanted::of([0]), of })
        },
    )
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        4 => host_name().prop_map(HostPattern::Exact),
        4 => host_name().prop_map(HostPattern::Wildcard),
        1 => select(vec!["a$", "^b", "b.*a", ""]).prop_map(|pattern| HostPattern::Regex(regex(pattern))),
        1 => text().prop_map(HostPattern::Text),
    ]
}

fn host_name() -> impl Strategy<Value = String> {
    "([ab]{1,2}\\.){0,3}[ab]?"
}

fn any_path_pattern() -> impl Strategy<Value = PathPattern> {
    let patterns = vec![
        "^/a/",
        "^/a/(b)",
        "b$",
        "^/a/b?|c",
        "^/(a)/(a|b)",
        "^/b/(?:a|(b))",
        "^/a/b*",
        "^/ab/",
        "/(a)",
        "^/a/|b",
        "^/a/b/(.)",
    ];
    prop_oneof![
        4 => path_text().prop_map(PathPattern::Exact),
        4 => path_text().prop_map(PathPattern::Prefix),
        2 => select(patterns).prop_map(|pattern| PathPattern::Regex(regex(pattern))),
        1 => text().prop_map(PathPattern::Text),
    ]
}

fn path_text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "(/[ab]{0,2}){0,4}", 1 => Just("*".to_owned())]
}

fn text() -> impl Strategy<Value = Text> {
    let part = || ("[ab/]{0,2}", any::<bool>());
    prop_oneof![
        part().prop_map(|(text, ignore_case)| Text::Exact { text, ignore_case }),
        part().prop_map(|(text, ignore_case)| Text::Prefix { text, ignore_case }),
        part().prop_map(|(text, ignore_case)| Text::Contains { text, ignore_case }),
        Just(Text::Present),
        Just(Text::Absent),
    ]
}

fn body() -> impl Strategy<Value = Condition> {
    (text(), 1..6_usize, any::<bool>(), any::<bool>()).prop_map(|(test, limit, reject_over_limit, is_form)| {
        let mut body = BodyCondition { limit, reject_over_limit, ..BodyCondition::default() };
        if is_form {
            body.form.push(("x".into(), vec![test]));
        } else {
            body.text.push(test);
        }
        Condition::Body(body)
    })
}

fn said() -> impl Strategy<Value = Said> {
    let startup = |(user, database): (String, String)| Startup {
        user: user.into_bytes().into(),
        database: database.into_bytes().into(),
    };
    prop_oneof![
        ("[ab/]{1,2}", "[ab/]{1,2}").prop_map(startup).prop_map(Said::Postgres),
        "[ab/]{0,2}".prop_map(|id| Said::Mqtt(id.into())),
    ]
}

prop_compose! {
    fn request()(
        host in host_name(),
        path in path_text(),
        method in select(vec!["GET", "POST"]),
        fields in prop::collection::vec((select(vec!["x", "cookie", "content-encoding"]), "(x=)?[abA]{0,2}"), 0..3),
        is_form in any::<bool>(),
        port in 0..2_u16,
        kind in select(vec![Kind::Http, Kind::Websocket, Kind::Grpc, Kind::Tunnel, Kind::Socks]),
        sni in host_name(),
        alpn in prop::option::of(select(vec![Alpn::H1, Alpn::H2])),
        fingerprint in prop::option::of(0..2_u8),
        said in prop::option::of(said()),
        user in prop::option::of(("[ab/]{1,2}", prop::collection::vec("[ab/]{1,2}", 0..3))),
        now in 0..2_000_000_000_u64,
        framing in select(vec![Framing::None, Framing::Unknown, Framing::Length(3)]),
        body in prop::option::of(("(x=)?[ab]{0,4}", any::<bool>())),
    ) -> Request {
        let mut request = Request::of(&format!("{method} /?x=a"));
        (request.host, request.path, request.port, request.kind) = (host, path, port, kind);
        (request.sni, request.alpn, request.fingerprint) = (sni, alpn, fingerprint.map(|byte| [byte; 32]));
        request.said = said;
        request.now = now;
        request.user = user.map(|(name, groups)| User { name: name.into(), groups: groups.into_iter().map(Into::into).collect(), of: "".into() });
        for (name, value) in &fields {
            request = request.with(name, value);
        }
        if is_form {
            request = request.with("content-type", "application/x-www-form-urlencoded");
        }
        request.head.set_framing(framing);
        request.body = body.map(|(bytes, complete)| (bytes.into_bytes(), complete));
        request
    }
}
