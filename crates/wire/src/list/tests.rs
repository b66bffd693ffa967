//! What each form says, line by line.

use super::*;

/// What a list says: `+` is itself, `*` what is below, then the host and the effect if it is not to be blocked; and what its lines are.
fn said(format: Format, text: &str) -> (Vec<String>, Vec<Line>) {
    let (mut rules, mut reader) = (Vec::new(), Reader::new(format));
    let mut tell = |rule: Rule<'_>| {
        let mut text = String::new();
        text.extend(rule.itself.then_some('+'));
        text.extend(rule.below.then_some('*'));
        text += rule.host;
        match rule.effect {
            Effect::Block => {}
            other => text += &format!(" {other:?}"),
        }
        text.extend(rule.revokes.then_some(" revoked").into_iter().flat_map(str::chars));
        rules.push(text);
    };
    let lines = text.split('\n').map(|line| reader.line(line.as_bytes(), &mut tell)).collect();
    (rules, lines)
}

fn rules(format: Format, text: &str) -> Vec<String> {
    said(format, text).0
}

fn line(format: Format, text: &str) -> Line {
    let lines = said(format, text).1;
    *lines.last().expect("a line")
}

#[test]
fn a_file_of_hosts_names_hosts_themselves() {
    let text = "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n0.0.0.0 0.0.0.0\n\n# why\n\
        0.0.0.0 Ads.Example tracker.example. # both\n:: six.example\nfe80::1%lo0 localhost\n";
    assert_eq!(rules(Format::Hosts, text), ["+ads.example", "+tracker.example", "+six.example"]);
    assert!(said(Format::Hosts, text).1.iter().all(|line| matches!(line, Line::Blank | Line::Hosts)));
    for wrong in ["ads.example", "0.0.0.0", "0.0.0.0 a..b", "0.0.0.0 <html>", "256.0.0.1 a", "0.0.0.0 *.a"] {
        assert_eq!(line(Format::Hosts, wrong), Line::Wrong, "{wrong}");
    }
}

#[test]
fn a_domain_is_itself_and_all_below() {
    let text = "a.example\n.b.example\n*.C.example.\n # c\n!x\n;y\n192.0.2.1\n2001:db8:0::1\n::ffff:192.0.2.2\n_x.d";
    assert_eq!(
        rules(Format::Domains, text),
        ["+*a.example", "+*b.example", "+*c.example", "+192.0.2.1", "+[2001:db8::1]", "+192.0.2.2", "+*_x.d"]
    );
    for wrong in ["a b", "http://a/", "a.*.b", "*", ".", "..a", "caf\u{e9}.example", "a/b", &"a.".repeat(200)] {
        assert_eq!(line(Format::Domains, wrong), Line::Wrong, "{wrong}");
    }
}

#[test]
fn rules_of_ad_blockers_about_a_host_are_told_apart() {
    let text = "[Adblock Plus 2.0]\n! title\n||ads.example^\n||Ads2.example^|\n@@||ok.example^\n||hard.example^$important\n\
        ||all.example^$all\n||bad.example^$badfilter\n@@||ok2.example^$badfilter\n||192.0.2.1^";
    assert_eq!(
        rules(Format::Adblock, text),
        [
            "+*ads.example",
            "+*ads2.example",
            "+*ok.example Except",
            "+*hard.example Important",
            "+*all.example",
            "+*bad.example revoked",
            "+*ok2.example Except revoked",
            "+192.0.2.1",
        ]
    );
    for pattern in [
        "||ads.example^$third-party",
        "||ads.example",
        "||ads.example/banner",
        "||ads.*^",
        "/banner/*",
        "@@||a.example^$document",
        "@@||a.example^$important",
        "@@||a.example^$all",
        "|http://a.example^",
        "example.com",
        "||ads.example^*",
    ] {
        assert_eq!(said(Format::Adblock, pattern), (vec![], vec![Line::Pattern]), "{pattern}");
    }
    for foreign in ["##.ad", "a.example##.ad", "a.example#@#.ad", "a#?#x:has(y)", "a$$script", "a#$#body { }"] {
        assert_eq!(line(Format::Adblock, foreign), Line::Foreign, "{foreign}");
    }
    for blank in ["", "  ", "! x", "[Adblock]", "# x", "#"] {
        assert_eq!(line(Format::Adblock, blank), Line::Blank, "{blank}");
    }
}

#[test]
fn a_zone_of_policies_is_about_names_that_are_asked_for() {
    let text = "$TTL 30\n@ IN SOA localhost. root.localhost. (\n 1 ; serial\n 2 3 4 5 )\n NS localhost.\n\
        ads.example CNAME . ; why\n*.ads.example 300 IN CNAME .\nnodata.example IN 60 CNAME *.\ndrop.example CNAME rpz-drop.\n\
        ok.example CNAME rpz-passthru.\n*.ok.example CNAME rpz-passthru.\nold.example CNAME old.example.\n\
        garden.example A 192.0.2.1\n AAAA 2001:db8::1\ngarden2.example CNAME walled.example.\n";
    assert_eq!(
        rules(Format::Rpz, text),
        [
            "+ads.example",
            "*ads.example",
            "+nodata.example",
            "+drop.example",
            "+ok.example Except",
            "*ok.example Except",
            "+old.example Except",
            "+garden.example",
            "+garden.example",
            "+garden2.example",
        ]
    );
    assert!(said(Format::Rpz, text).1.iter().all(|line| matches!(line, Line::Blank | Line::Hosts)));
    let zoned = "$ORIGIN rpz.corp.example.\n@ SOA a. b. 1 2 3 4 5\nads.example CNAME .\nold.example CNAME old.example.\n*.old.example CNAME *.old.example.\nfull.example.rpz.corp.example. CNAME .\n\
        $ORIGIN sub.rpz.corp.example.\nx CNAME .\n@ TXT \"a;b\"\n";
    assert_eq!(
        rules(Format::Rpz, zoned),
        ["+ads.example", "+old.example Except", "*old.example Except", "+full.example", "+x.sub"]
    );
    let named_late = "@ IN SOA a. b. 1 2 3 4 5\n IN NS a.\n$ORIGIN rpz.example.\nads.example CNAME .\n\
        notrpz.example. CNAME .\n$ORIGIN sub.rpz.example.\nx CNAME .\n";
    assert_eq!(rules(Format::Rpz, named_late), ["+ads.example", "+notrpz.example", "+x.sub"]);
    for (text, what) in [
        ("32.1.2.0.192.rpz-ip CNAME .", Line::Foreign),
        ("ns.example.rpz-nsdname CNAME .", Line::Foreign),
        ("10.0.0.1 CNAME .", Line::Hosts),
        ("*.10.0.0.1 CNAME .", Line::Wrong),
        ("a.example CNAME rpz-tcp-only.", Line::Foreign),
        ("a.example CNAME", Line::Wrong),
        ("a.example", Line::Wrong),
        ("<html> CNAME .", Line::Wrong),
        ("$INCLUDE x", Line::Wrong),
        ("a\\.b CNAME .", Line::Wrong),
        ("a.example HINFO x", Line::Wrong),
    ] {
        assert_eq!(line(Format::Rpz, text), what, "{text}");
    }
}

#[test]
fn what_is_no_text_or_has_no_end_is_no_rule() {
    for format in [Format::Hosts, Format::Domains, Format::Adblock, Format::Rpz] {
        let mut reader = Reader::new(format);
        assert_eq!(reader.line(b"\xff\xfe a", &mut |_| panic!("no rule")), Line::Wrong);
        assert_eq!(reader.line(&vec![b'a'; LONGEST_LINE + 1], &mut |_| panic!("no rule")), Line::Wrong);
        assert_eq!(reader.line("\u{feff}".as_bytes(), &mut |_| panic!("no rule")), Line::Blank);
    }
}
