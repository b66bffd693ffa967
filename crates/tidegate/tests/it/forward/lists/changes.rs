//! Lists that change: while requests are under way, in part, and for the worse.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::{Folder, Server, Tidegate, until};

use super::{listed, shown, status, text};
use crate::forward::port;

/// Replaces a list's file and waits until it is looked into.
fn change(tidegate: &Tidegate, folder: &Folder, name: &str, content: &str, holds: impl Fn() -> bool) {
    folder.replace(&format!("{name}.txt"), content);
    until("the list has changed", holds);
    assert_eq!(tidegate.metric("tidegate_config_generation", &[]), [1.0], "it takes no reload");
}

#[test]
fn a_list_that_changes_is_looked_into_without_a_reload_and_others_stay() {
    let (server, folder) = (Server::named("one"), Folder::new());
    let tidegate =
        listed(&folder, &[("one", "domains", "a.test\n"), ("two", "adblock", "||far.test^\n://b.test:*/x\n")]);
    let at = |host: &str| status(&tidegate, &format!("http://{host}:{}/x", port(&server)));
    assert_eq!((at("a.test"), at("b.test"), at("far.test")), (403, 403, 403));
    change(&tidegate, &folder, "one", "other.test\n", || at("a.test") == 200);
    assert_eq!((at("b.test"), at("far.test")), (403, 403), "the other list is as it was");
    change(&tidegate, &folder, "two", "||a.test^\n", || at("b.test") == 200);
    assert_eq!((at("a.test"), at("other.test")), (403, 403));
    let lists = shown(&tidegate);
    assert_eq!((&lists[1]["rules"]["hosts"], &lists[1]["rules"]["patterns"]), (&1.into(), &0.into()));
}

#[test]
fn no_request_fails_while_lists_change() {
    let (server, folder) = (Server::named("one"), Folder::new());
    let many: String = (0..20_000).map(|number| format!("host{number}.many.test\n")).collect();
    let tidegate = listed(&folder, &[("many", "domains", &many), ("ads", "adblock", "||a.test^\n/banner/\n")]);
    let free = format!("http://b.test:{}/", port(&server));
    let (done, tidegate) = (AtomicBool::new(false), &tidegate);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = tidegate.client();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.ask(super::super::asked(&free)).status, 200);
                    assert_eq!(client.ask(super::super::asked("http://host7.many.test/")).status, 403);
                    assert_eq!(client.ask(super::super::asked("http://b.test/banner/")).status, 403);
                }
            });
        }
        for turn in 0..3 {
            let content = format!("||a.test^\n/banner/\n||turn{turn}.test^\n");
            let holds = || status(tidegate, &format!("http://turn{turn}.test/")) == 403;
            change(tidegate, &folder, "ads", &content, holds);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_list_that_has_gone_bad_leaves_what_was_there() {
    let (server, folder) = (Server::named("one"), Folder::new());
    let tidegate = listed(&folder, &[("one", "domains", "a.test\n"), ("two", "domains", "b.test\n")]);
    let at = |host: &str| status(&tidegate, &format!("http://{host}:{}/", port(&server)));
    folder.replace("one.txt", "<html>\n<body>not found</body>\n");
    let said = tidegate.message("list `one` stays as it was");
    assert!(said.contains("nothing in it is a rule of `format: domains`"), "{said}");
    assert_eq!(at("a.test"), 403);
    until("the API says so", || !shown(&tidegate)[0]["error"].is_null());
    assert_eq!(tidegate.metric("tidegate_list_current", &["list=\"one\""]), [0.0]);
    // Another list is changed all the same, and one that is gone is no list that is empty.
    std::fs::remove_file(folder.path().join("one.txt")).expect("the list");
    change(&tidegate, &folder, "two", "far.test\n", || at("b.test") == 200);
    assert_eq!((at("a.test"), at("far.test")), (403, 403));
    change(&tidegate, &folder, "one", "c.test\n", || at("a.test") == 200);
    assert_eq!(tidegate.metric("tidegate_list_current", &["list=\"one\""]), [1.0]);
}

/// As a file is for a moment that is written anew in its place.
#[test]
fn a_list_that_is_emptied_stays_until_a_reload() {
    let (server, folder) = (Server::named("one"), Folder::new());
    let tidegate = listed(&folder, &[("one", "hosts", "0.0.0.0 a.test\n")]);
    let at = |host: &str| status(&tidegate, &format!("http://{host}:{}/", port(&server)));
    folder.replace("one.txt", "");
    let said = tidegate.message("list `one` stays as it was");
    assert!(said.contains("nothing is in it any more; if that is meant, reload"), "{said}");
    assert_eq!(at("a.test"), 403);
    folder.replace("t.yaml", &(text(folder.path(), &[("one", "hosts", "")]) + "# again\n"));
    until("whoever reloads means it", || at("a.test") == 200);
}

#[test]
fn a_reload_takes_lists_away_and_brings_others_and_is_refused_whole() {
    let (server, folder) = (Server::named("one"), Folder::new());
    let tidegate = listed(&folder, &[("one", "domains", "a.test\n"), ("two", "domains", "b.test\n")]);
    let at = |host: &str| status(&tidegate, &format!("http://{host}:{}/", port(&server)));
    let broken = text(folder.path(), &[("two", "domains", "b.test\n"), ("three", "domains", "far.test\n")]);
    std::fs::remove_file(folder.path().join("three.txt")).expect("the list");
    folder.replace("t.yaml", &broken);
    let said = tidegate.message("cannot read list `three`");
    assert!(said.contains("t.yaml:"), "{said}");
    assert_eq!((at("a.test"), at("b.test")), (403, 403), "what was in force stays so");
    folder.write("three.txt", "far.test\n");
    folder.replace("t.yaml", &(broken + "# again\n"));
    until("another configuration", || at("a.test") == 200);
    assert_eq!((at("b.test"), at("far.test")), (403, 403));
    let lists = shown(&tidegate);
    assert_eq!((&lists[0]["name"], &lists[1]["name"]), (&"two".into(), &"three".into()));
    assert!(lists[0]["hits"].as_u64() >= Some(1), "what is counted goes on");
}
