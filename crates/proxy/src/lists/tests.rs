//! What lists say, one by one and together, and the table against a plain scan of its rules.

use proptest::prelude::*;
use proptest::sample::select;
use wire::Head;
use wire::list::{Effect, Line, Reader, Rule};

use super::*;
use crate::route::{Body, Kind};

/// Lists of these forms and lines.
fn lists(all: &[(Format, &str)]) -> Lists {
    let (mut hosts, mut made) = (Set::new(7), Vec::new());
    for (number, (format, text)) in all.iter().enumerate() {
        let (mut reader, mut patterns) = (Reader::new(*format), String::new());
        for line in text.lines() {
            if reader.line(line.as_bytes(), &mut |rule| hosts.add(number as u8, &rule)) == Line::Pattern {
                patterns += line;
                patterns.push('\n');
            }
        }
        made.push(Arc::new(List {
            name: format!("l{number}").into(),
            format: *format,
            patterns: Patterns::of(&patterns).0,
            words: None,
            content: Content::default(),
            loaded: SystemTime::UNIX_EPOCH,
            hits: Arc::new(Hits::new(1)),
        }));
    }
    Lists { hosts, all: made }
}

/// A list of words.
pub(crate) fn of_words(name: &str, lines: &[&str]) -> Arc<List> {
    let phrases = lines.iter().filter_map(|line| wire::list::phrase(line));
    Arc::new(List {
        name: name.into(),
        format: Format::Words,
        patterns: None,
        words: Words::of(phrases).ok().map(|(words, _)| words),
        content: Content::default(),
        loaded: SystemTime::UNIX_EPOCH,
        hits: Arc::new(Hits::new(1)),
    })
}

/// A request as tests write it: a URL, or `host:port` for a tunnel.
struct Asked {
    head: Head,
    host: Vec<u8>,
    path: Vec<u8>,
    secure: bool,
    kind: Kind,
}

fn asked(target: &str, fields: &[(&str, &str)]) -> Asked {
    let mut head = Head::default();
    let (secure, rest) = match target.split_once("://") {
        Some((scheme, rest)) => (scheme == "https", rest),
        None => (false, target),
    };
    let is_tunnel = !target.contains("://");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let method: &[u8] = if is_tunnel { b"CONNECT" } else { b"GET" };
    head.start_request(method, authority.as_bytes(), path.as_bytes(), query.map(str::as_bytes));
    fields.iter().for_each(|(name, value)| head.add(name.as_bytes(), value.as_bytes()));
    Asked {
        host: wire::uri::host(authority.as_bytes()).into_owned(),
        path: path.as_bytes().to_vec(),
        head,
        secure,
        kind: if is_tunnel { Kind::Tunnel } else { Kind::Http },
    }
}

impl Asked {
    fn facts(&self) -> Facts<'_> {
        Facts {
            head: &self.head,
            host: &self.host,
            path: &self.path,
            client: [192, 0, 2, 1].into(),
            port: 80,
            secure: self.secure,
            kind: self.kind,
            sni: b"",
            alpn: &[],
            fingerprint: None,
            said: None,
            user: None,
            now: 0,
            body: Body::Unread,
        }
    }
}

/// The list and the rule by which a request is found, if it is.
fn found(lists: &Arc<Lists>, target: &str, fields: &[(&str, &str)]) -> Option<String> {
    let wanted = Wanted::of(0..lists.all.len() as u8);
    let listed = Listed { lists: Arc::clone(lists), wanted, of: Of::Url };
    let hit = listed.hit(&asked(target, fields).facts())?;
    Some(format!("{} {}", hit.name, hit.rule))
}

fn holds(lists: &Arc<Lists>, target: &str) -> Option<bool> {
    let wanted = Wanted::of(0..lists.all.len() as u8);
    Listed { lists: Arc::clone(lists), wanted, of: Of::Url }.holds(&asked(target, &[]).facts())
}

#[test]
fn each_form_blocks_what_it_means() {
    let lists = Arc::new(lists(&[
        (Format::Hosts, "0.0.0.0 hosts.test"),
        (Format::Domains, "domains.test\n192.0.2.7"),
        (Format::Rpz, "*.zone.test CNAME ."),
        (Format::Adblock, "||ads.test^\n||urls.test/banner/"),
    ]));
    let is = |target: &str, said: &str| assert_eq!(found(&lists, target, &[]).as_deref(), Some(said), "{target}");
    let is_none = |target: &str| assert_eq!(found(&lists, target, &[]), None, "{target}");
    is("http://hosts.test/", "l0 hosts.test");
    is_none("http://www.hosts.test/");
    is("http://domains.test/x", "l1 domains.test");
    is("https://a.b.DOMAINS.test./x", "l1 domains.test");
    is_none("http://notdomains.test/");
    is("http://192.0.2.7/", "l1 192.0.2.7");
    is_none("http://1.192.0.2.7/");
    is("http://a.zone.test/", "l2 *.zone.test");
    is_none("http://zone.test/");
    is("http://x.ads.test:8080/", "l3 ||ads.test^");
    is("http://urls.test/banner/1.gif", "l3 ||urls.test/banner/");
    is_none("http://urls.test/page");
    is("ads.test:443", "l3 ||ads.test^");
    is_none("urls.test:443");
    for nobody in ["http://test/", "http://com/", "http://[::1]/", "http://ds.test/", "http://sads.test/"] {
        is_none(nobody);
    }
}

#[test]
fn exceptions_of_any_list_win_and_important_rules_win_over_them() {
    let ours = "@@||good.ads.test^\n@@||cdn.test/lib/$script\n@@||hard.test^";
    let theirs = "||ads.test^\n||cdn.test^\n||hard.test^$important\n/tracker/$important\n/pixel.\n@@||pixel.test^";
    let lists = Arc::new(lists(&[(Format::Adblock, theirs), (Format::Adblock, ours), (Format::Hosts, "0 x")]));
    let is = |target: &str, fields: &[(&str, &str)], said: Option<&str>| {
        assert_eq!(found(&lists, target, fields).as_deref(), said, "{target}");
    };
    is("http://ads.test/", &[], Some("l0 ||ads.test^"));
    is("http://good.ads.test/", &[], None);
    is("http://a.good.ads.test/", &[], None);
    is("good.ads.test:443", &[], None);
    is("http://cdn.test/lib/a.js", &[("Sec-Fetch-Dest", "script")], None);
    is("http://cdn.test/lib/a.js", &[("Sec-Fetch-Dest", "image")], Some("l0 ||cdn.test^"));
    is("cdn.test:443", &[], Some("l0 ||cdn.test^"));
    is("http://hard.test/", &[], Some("l0 ||hard.test^$important"));
    is("hard.test:443", &[], Some("l0 ||hard.test^$important"));
    is("http://good.ads.test/tracker/x", &[], Some("l0 /tracker/$important"));
    is("http://a.test/pixel.gif", &[], Some("l0 /pixel."));
    is("http://pixel.test/pixel.gif", &[], None);
    // Alone, a list knows no exceptions of others.
    let alone = Listed { lists: Arc::clone(&lists), wanted: Wanted::of([0]), of: Of::Url };
    assert!(alone.hit(&asked("http://good.ads.test/", &[]).facts()).is_some());
}

#[test]
fn a_rule_that_somebody_revokes_does_not_count() {
    let lists = Arc::new(lists(&[
        (Format::Adblock, "||a.test^\n||b.test^$important\n@@||c.test^\n||c.test^\n||d.test/x"),
        (Format::Adblock, "||a.test^$badfilter\n||b.test^$important,badfilter\n@@||c.test^$badfilter"),
    ]));
    assert_eq!(found(&lists, "http://a.test/", &[]), None);
    assert_eq!(found(&lists, "http://b.test/", &[]), None);
    assert_eq!(found(&lists, "http://c.test/", &[]).as_deref(), Some("l0 ||c.test^"));
}

#[test]
fn who_asks_and_what_for_decides_where_a_rule_says_so() {
    let rules = "||third.test^$third-party\n||pics.test/$image\n||by.test/x$domain=news.test\n-banner-$~script\n||socket.test/$websocket\n\
        /^http:\\/\\/[0-9]+x\\.test\\//\n||put.test/$method=post";
    let lists = Arc::new(lists(&[(Format::Adblock, rules)]));
    let hit = |target: &str, fields: &[(&str, &str)]| found(&lists, target, fields).is_some();
    assert!(!hit("http://third.test/", &[]), "nobody else has asked");
    assert!(!hit("http://third.test/", &[("Referer", "http://www.third.test/x")]));
    assert!(hit("http://third.test/", &[("Referer", "http://news.test/")]));
    assert!(hit("http://third.test/", &[("Sec-Fetch-Site", "cross-site")]));
    assert!(hit("http://pics.test/a", &[("Accept", "image/avif,*/*")]));
    assert!(hit("http://pics.test/a.png", &[]));
    assert!(!hit("http://pics.test/a", &[("Accept", "text/css,*/*")]));
    assert!(hit("http://by.test/x", &[("Referer", "http://www.news.test/")]));
    assert!(!hit("http://by.test/x", &[("Referer", "http://old.test/")]));
    assert!(hit("http://a.test/-banner-", &[]));
    assert!(!hit("http://a.test/-banner-", &[("Sec-Fetch-Dest", "script")]));
    assert!(hit("http://12x.test/", &[]));
    assert!(!hit("http://put.test/", &[]), "it is a GET");
}

#[test]
fn what_a_tunnel_hides_is_neither_listed_nor_not() {
    let some = Arc::new(lists(&[(Format::Adblock, "||ads.test^\n||urls.test/x")]));
    assert_eq!(holds(&some, "ads.test:443"), Some(true));
    assert_eq!(holds(&some, "urls.test:443"), None);
    assert_eq!(holds(&some, "http://urls.test/"), Some(false));
    let hosts = Arc::new(lists(&[(Format::Hosts, "0.0.0.0 ads.test")]));
    assert_eq!(holds(&hosts, "other.test:443"), Some(false), "there is nothing else that it could be");
}

#[test]
fn lines_that_no_engine_understands_and_expressions_that_are_large_are_wrong() {
    let lines = "||a.test/x\n||a.test/x$nonsense\n/(a/\n/(x{999}){999}/\n/ok[0-9]/\n@@/ok1/$script\n\
        ||b.test^$removeparam=x\n||b.test^$csp=img-src 'none'\n@@||b.test^$generichide\n";
    let long = format!("||a.test/{}*x^\n||a.test/x$domain={}\n", "y".repeat(3000), "b.test|".repeat(1000) + "c.test");
    let (patterns, left_out) = Patterns::of(&(lines.to_owned() + &long));
    assert_eq!((patterns.expect("some").count(), left_out), (4, LeftOut { wrong: vec![1, 2, 3, 9], foreign: 3 }));
    let everywhere = |lines| Patterns::of(lines).0.expect("some").everywhere();
    assert_eq!(everywhere("/ok[0-9]/\n@@/ok1/$script\n/ads/*\n/ads/$domain=a.test\n||a.test/x\n/ads.\n"), 2);
    assert!(Patterns::of("").0.is_none());
}

#[test]
fn hosts_that_are_hostile_are_looked_for_in_bounded_time() {
    let lists = lists(&[(Format::Domains, "a.test")]);
    let wanted = Wanted::of([0]);
    for host in ["", ".", "..", "a.test.", &"a.".repeat(30_000), &"x".repeat(60_000), "[::", "\u{fffd}.test"] {
        assert!(lists.judge_host(&wanted, host.as_bytes()).is_none(), "{host:.20}");
    }
    assert!(lists.judge_host(&wanted, format!("{}test", "a.".repeat(500)).as_bytes()).is_some());
}

#[test]
fn a_table_that_is_made_anew_knows_the_lists_that_stay() {
    let old = lists(&[
        (Format::Domains, "a.test"),
        (Format::Domains, "b.test\nboth.test"),
        (Format::Hosts, "0.0.0.0 both.test"),
    ]);
    let mut new = Set::new(99);
    new.adopt(&old.hosts, |place| [None, Some(4), Some(0)][usize::from(place)]);
    let says = |place: u8, host: &str| new.say(host.as_bytes(), &Wanted::of([place])).block.is_some();
    assert!(!says(0, "a.test") && !says(4, "a.test"));
    assert!(says(4, "x.b.test") && says(4, "both.test") && says(0, "both.test") && !says(0, "b.test"));
    assert_eq!(new.count(), 3);
}

proptest! {
    #[test]
    fn the_table_says_what_a_scan_says(
        rules in prop::collection::vec(rule(), 0..200),
        hosts in prop::collection::vec(name(), 1..20),
        wanted in prop::collection::vec(0..4_u8, 0..4),
    ) {
        let mut set = Set::new(3);
        for (list, host, itself, below, effect, revokes) in &rules {
            set.add(*list, &Rule { host, itself: *itself, below: *below, effect: *effect, revokes: *revokes });
        }
        let chosen = Wanted::of(wanted.clone());
        for host in &hosts {
            let said = set.say(host.as_bytes(), &chosen);
            let on = |effect: Effect| scan(&rules, &wanted, host, effect);
            prop_assert_eq!(said.block.is_some(), on(Effect::Block), "{}", host);
            prop_assert_eq!(said.important.is_some(), on(Effect::Important), "{}", host);
            prop_assert_eq!(said.is_exception, on(Effect::Except), "{}", host);
        }
    }

    #[test]
    fn no_request_is_too_odd_for_an_engine(url in "[ -~]{0,60}", referer in "[ -~]{0,40}", host in "[a-z0-9.\\[\\]:%-]{0,20}") {
        let lists = Arc::new(lists(&[(Format::Adblock, "||a.test/x\n/b[0-9]/\n-c-$third-party\n@@||d.test/^")]));
        let _ = found(&lists, &format!("http://{host}/{url}"), &[("Referer", &referer)]);
    }

    #[test]
    fn no_list_is_too_odd_for_a_reader(text in "([@|a-z.^$*/,=#! -]{0,30}\n){0,12}") {
        for format in [Format::Hosts, Format::Domains, Format::Adblock, Format::Rpz] {
            let lists = Arc::new(lists(&[(format, &text)]));
            let _ = found(&lists, "http://a.test/x", &[]);
        }
    }
}

type Written = (u8, String, bool, bool, Effect, bool);

fn rule() -> impl Strategy<Value = Written> {
    let effect = select(vec![Effect::Block, Effect::Block, Effect::Important, Effect::Except]);
    (0..4_u8, name(), any::<bool>(), any::<bool>(), effect, prop::bool::weighted(0.1))
}

fn name() -> impl Strategy<Value = String> {
    "([ab]\\.){0,4}[ab]"
}

/// Of each name that a host ends with: a rule of some list counts, unless one of the same words is revoked by some list.
fn scan(rules: &[Written], wanted: &[u8], host: &str, effect: Effect) -> bool {
    let ends =
        host.char_indices().filter(|(at, _)| *at == 0 || host.as_bytes()[at - 1] == b'.').map(|(at, _)| &host[at..]);
    let mut ends = ends;
    ends.any(|end| {
        let applies = |revoked: bool| {
            rules.iter().any(|(list, name, itself, below, of, revokes)| {
                let reaches = if end == host { *itself } else { *below };
                wanted.contains(list) && name == end && reaches && *of == effect && *revokes == revoked
            })
        };
        applies(false) && !applies(true)
    })
}
