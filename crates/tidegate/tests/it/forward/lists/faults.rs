//! Lists that cannot be had, that are others' rubbish, and that are long.

use std::time::Instant;

use testkit::Folder;

use super::{listed, shown, status, text};
use crate::support::BINARY;

/// How a start with this list ends.
fn refused(form: &str, content: &str, spoil: impl Fn(&Folder)) -> String {
    let folder = Folder::new();
    let file = folder.write("t.yaml", &text(folder.path(), &[("l", form, content)]));
    spoil(&folder);
    let output = testkit::output_of(BINARY, &["run", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_list_that_cannot_be_had_is_an_error_at_the_start_with_its_place() {
    let gone = refused("hosts", "", |folder| std::fs::remove_file(folder.path().join("l.txt")).expect("the list"));
    assert!(gone.contains("cannot read list `l`") && gone.contains("t.yaml:"), "{gone}");
    let large = refused("hosts", "", |folder| {
        let file = std::fs::File::options().write(true).open(folder.path().join("l.txt")).expect("the list");
        file.set_len((128 << 20) + 1).expect("a large file without content");
    });
    assert!(large.contains("larger than"), "{large}");
    let other = refused("hosts", "<html>\n<p>moved\n", |_| {});
    assert!(other.contains("nothing in it is a rule of `format: hosts`, beginning with line 1: `<html>`"), "{other}");
    let folder = refused("hosts", "", |folder| {
        std::fs::remove_file(folder.path().join("l.txt")).expect("the list");
        std::fs::create_dir(folder.path().join("l.txt")).expect("a folder");
    });
    assert!(folder.contains("not a regular file"), "{folder}");
}

#[test]
fn lines_that_are_no_rules_are_counted_and_said_once() {
    let folder = Folder::new();
    let rubbish = format!("a.test\nhttp://x/\n\u{1}\u{2}\n{}\n{}\nb.test\n", "x".repeat(100_000), "y ".repeat(50));
    let tidegate = listed(&folder, &[("l", "domains", &rubbish)]);
    tidegate.message("list `l`: 4 lines are no rule of `format: domains`");
    let messages = tidegate.messages();
    let path = folder.path().join("l.txt");
    let places = [2, 3, 4].map(|line| format!("{}:{line}", path.display())).join(", ");
    assert!(messages.contains(&format!(": {places} and others")), "{messages}");
    assert_eq!((status(&tidegate, "http://a.test/"), status(&tidegate, "http://b.test/")), (403, 403));
    let lists = shown(&tidegate);
    assert_eq!((&lists[0]["rules"]["hosts"], &lists[0]["passed_over"]["wrong"]), (&2.into(), &4.into()));
}

#[test]
fn rules_that_no_engine_understands_are_named_by_their_lines() {
    let folder = Folder::new();
    let tidegate = listed(&folder, &[("l", "adblock", "! title\n||a.test/x\n||b.test/x$nonsense\n||c.test^\n/(d/\n")]);
    let path = folder.path().join("l.txt");
    tidegate.message(&format!("list `l`: 2 lines are no rule of `format: adblock`: {0}:3, {0}:5", path.display()));
}

#[test]
fn expressions_that_every_request_pays_for_are_said() {
    let folder = Folder::new();
    let lines = |rule: &str| (0..501).map(|number| rule.replace('N', &number.to_string())).collect::<String>();
    let lists = [("l", "adblock", lines("/adN/\n")), ("m", "adblock", lines("/adN/*\n"))];
    let tidegate = listed(&folder, &lists.each_ref().map(|(name, form, text)| (*name, *form, text.as_str())));
    tidegate.message("list `l`: every request is tried on 501 regular expressions");
    assert!(!tidegate.messages().contains("list `m`: every request"));
    assert_eq!((status(&tidegate, "http://b.test/x/ad500"), status(&tidegate, "http://b.test/ad500/x")), (403, 403));
}

#[test]
fn a_million_domains_are_read_in_bounded_time_and_memory_away_from_workers() {
    let folder = Folder::new();
    let million: String = (0..1_000_000).map(|number| format!("host{number}.many{}.test\n", number % 1000)).collect();
    let tidegate = listed(&folder, &[("many", "domains", "one.test\n")]);
    let before = tidegate.rss();
    let began = Instant::now();
    folder.replace("many.txt", &million);
    testkit::until("the million is here", || status(&tidegate, "http://host999999.many999.test/") == 403);
    let (took, grown) = (began.elapsed(), tidegate.rss() - before);
    assert!(took.as_secs() < 60, "{took:?}");
    assert!(grown < 150 << 20, "{grown} bytes more");
    assert_eq!(shown(&tidegate)[0]["rules"]["hosts"], 1_000_000);
    assert_eq!(status(&tidegate, "http://host1000000.many0.test/"), 502);
    assert_eq!(status(&tidegate, "http://x.host5.many5.test/"), 403);
}
