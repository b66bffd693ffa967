//! What a request pays for being looked for in lists, and what a million names take. Run it with `cargo bench -p tidegate-proxy`.
//!
//! The rules of an ad blocker are made up, or those of the file that `RULES` names.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tidegate_proxy::lists::{Content, Hits, List, Listed, Lists, Of, Patterns, Set, Wanted};
use tidegate_proxy::route::{Body, Condition, Facts, Finding, Kind, Rule, Table};
use wire::Head;
use wire::list::{Format, Line, Reader};

const MILLION: usize = 1_000_000;

fn main() {
    let names: Vec<String> = (0..MILLION).map(|number| name(number, "blocked")).collect();
    let before = resident();
    let begin = Instant::now();
    let mut hosts = Set::new(fastrand::u64(..));
    let mut reader = Reader::new(Format::Domains);
    for name in &names {
        reader.line(name.as_bytes(), &mut |rule| hosts.add(0, &rule));
    }
    hosts.shrink();
    let took = begin.elapsed();
    println!(
        "a million domains: read in {:.0} ms, {:.1} MiB of table, {:.1} MiB more resident",
        took.as_secs_f64() * 1e3,
        hosts.bytes() as f64 / MIB,
        (resident() - before) as f64 / MIB
    );
    let begin = Instant::now();
    let mut again = Set::new(fastrand::u64(..));
    again.adopt(&hosts, Some);
    println!("made anew with what it had: {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
    drop(again);
    let table = table_of(hosts, None);
    let free: Vec<String> = (0..MILLION).map(|number| name(number, "free")).collect();
    look("a host that is on no list", &table, &free, "/");
    look("a host that is on one", &table, &names, "/");
    drop(table);
    rules();
}

const MIB: f64 = (1 << 20) as f64;

/// Names as lists have them: two to four labels, twenty bytes or so.
fn name(number: usize, of: &str) -> String {
    let hash = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match number % 3 {
        0 => format!("{of}{:08x}.com", hash >> 32),
        1 => format!("ads.{of}{:07x}.net", hash >> 36),
        _ => format!("t{}.cdn.{of}{:06x}.example.org", number % 10, hash >> 40),
    }
}

fn table_of(hosts: Set, patterns: Option<Patterns>) -> Table {
    let list = List {
        words: None,
        name: "all".into(),
        format: Format::Adblock,
        patterns,
        content: Content::default(),
        loaded: SystemTime::now(),
        hits: Arc::new(Hits::new(1)),
    };
    let lists = Arc::new(Lists { hosts, all: vec![Arc::new(list)] });
    let listed = Condition::Listed(Listed { lists, wanted: Wanted::of([0]), of: Of::Url });
    Table::compile(vec![Rule { conditions: vec![listed] }])
}

fn rules() {
    let (path, text) = match std::env::var("RULES") {
        Ok(path) => (path.clone(), std::fs::read_to_string(&path).unwrap_or_default()),
        Err(_) => ("rules of our own".to_owned(), made_up()),
    };
    let before = resident();
    let begin = Instant::now();
    let (mut hosts, mut reader, mut lines) = (Set::new(fastrand::u64(..)), Reader::new(Format::Adblock), String::new());
    for line in text.lines() {
        if reader.line(line.as_bytes(), &mut |rule| hosts.add(0, &rule)) == Line::Pattern {
            lines += line;
            lines.push('\n');
        }
    }
    let (patterns, left_out) = Patterns::of(&lines);
    let (hosts_count, patterns_count) = (hosts.count(), patterns.as_ref().map_or(0, Patterns::count));
    println!(
        "{path}: {hosts_count} hosts, {patterns_count} patterns, {} wrong, in {:.0} ms, {:.1} MiB more resident",
        left_out.wrong.len(),
        begin.elapsed().as_secs_f64() * 1e3,
        (resident() - before) as f64 / MIB
    );
    let table = table_of(hosts, patterns);
    let free: Vec<String> = (0..10_000).map(|number| name(number, "free")).collect();
    look("a page that no rule is about", &table, &free, "/");
    look("a script that no rule is about", &table, &free, "/assets/app/2024/main.bundle.js?v=1f3a9c&lang=en");
    let busy =
        "/ads/widget/track-stats/pixel/sponsor.js?click=1&banner=728x90&promo=teaser&affiliate=overlay&popup=analytics";
    look("one made of the words that rules are made of", &table, &free, busy);
    look("a request that a pattern is about", &table, &free, "/banner/ads/728x90.gif?ad_slot=1");
    look("a request that an exception lets through", &table, &free, "/banner/ads/ours/728x90.gif?ad_slot=1");
}

/// Fifty thousand rules besides those about hosts, of the kinds and in about the shares that large lists for ad blockers have: hosts
/// for third parties, paths of one host, pieces of any path or query, some for pages of some sites, a few with wildcards and regular
/// expressions, an exception for each ten. Pieces share their words with ordinary pages, for that is what costs.
fn made_up() -> String {
    const WORDS: [&str; 16] = [
        "ad",
        "ads",
        "banner",
        "track",
        "pixel",
        "sponsor",
        "promo",
        "widget",
        "analytics",
        "click",
        "popup",
        "beacon",
        "affiliate",
        "stats",
        "teaser",
        "overlay",
    ];
    let mut text = String::new();
    for number in 0..50_000_usize {
        let hash = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let (word, other) = (WORDS[hash as usize % 16], WORDS[(hash >> 4) as usize % 16]);
        let site = number % 3000;
        text += &match number % 20 {
            0..=6 => format!("||{word}{hash:06x}.example^$third-party\n"),
            7..=9 => format!("||cdn{}.example/{word}/{hash:06x}.$script,image\n", number % 500),
            10 | 11 => format!("/{word}-{other}{:03x}/*\n", hash & 0xfff),
            12 => format!("/{word}/{other}_{hash:06x}.\n"),
            13 => format!("-{word}-{}x{}.\n", 60 + hash % 900, 30 + (hash >> 8) % 600),
            14 => format!("&{word}_{:04x}=\n", hash & 0xffff),
            15 => format!("_{word}{:04x}.js$domain=site{site}.example|site{}.example\n", hash & 0xffff, site + 1),
            16 => format!("/{word}.$image,domain=site{site}.example\n"),
            17 if hash.is_multiple_of(50) => format!("/{word}[0-9]{{3}}/{other}{hash:06x}/\n"),
            17 => format!("||{word}{hash:06x}.example/*/{other}/$xmlhttprequest\n"),
            18 => format!("@@||good{hash:06x}.example^$domain=site{site}.example\n"),
            _ => format!("@@/{word}/{other}_{hash:06x}.js$script\n"),
        };
    }
    text + "/banner/ads/*\n@@/banner/ads/ours/*\n"
}

fn look(what: &str, table: &Table, hosts: &[String], path: &str) {
    let mut head = Head::default();
    let (text, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query.as_bytes())));
    head.start_request(b"GET", b"example.com", text.as_bytes(), query);
    head.add(b"Referer", b"http://news.example.net/articles/index.html");
    let mut best = f64::MAX;
    let mut found = 0;
    for _ in 0..5 {
        let begin = Instant::now();
        for host in hosts {
            let facts = Facts {
                head: &head,
                host: host.as_bytes(),
                path: text.as_bytes(),
                client: [192, 0, 2, 1].into(),
                port: 80,
                secure: false,
                kind: Kind::Http,
                sni: b"",
                alpn: &[],
                fingerprint: None,
                said: None,
                user: None,
                now: 0,
                body: Body::Unread,
            };
            found += usize::from(black_box(table.find(black_box(&facts), 0)) != Finding::None);
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / hosts.len() as f64);
    }
    println!("{what}: {best:.0} ns ({:.0} % found)", 20.0 * found as f64 / hosts.len() as f64);
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
