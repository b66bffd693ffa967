//! One process at a time has packets rewritten: what another one is told, and when it may.

use std::fs;

use testkit::{Folder, Reloaded, Start, Tidegate};

use super::lab::{CAPABILITIES, Lab};
use super::{TWO, WEB, both, one, shown};

const NONE: &str = "listeners: { web: { bind: 127.0.0.1:0, respond: 200 } }\n";

/// A second process beside one that lives: it has no operator's address, since that is taken.
fn beside(config: &str) -> String {
    format!("workers: 1\n{config}")
}

fn refused(start: Start<'_>, config: &str) -> String {
    let folder = Folder::new();
    let file = folder.write("tidegate.yaml", &beside(config));
    let (code, said) = start.refused(&["run", &file.display().to_string()]);
    assert_eq!(code, Some(2), "{said}");
    said
}

/// What whoever comes second is told.
fn names(said: &str, owner: &Tidegate) -> bool {
    said.contains(
        "a process that runs has `/sys/fs/bpf/tidegate`, by which one at a time has packets rewritten, stop it",
    ) && said.contains(&format!(": process {} (`tidegate`)", owner.pid()))
}

fn take_away(lab: &Lab) {
    fs::remove_dir_all(lab.pins.path().join("tidegate")).expect("pins can be removed");
}

#[test]
fn a_second_process_takes_nothing_over_while_the_first_one_lives() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 20);
    let auto = one().replace("source:", "engine: auto, source:");
    let elsewhere = one().replace("10.77.0.1:80", "10.77.0.7:80");
    let starts = [
        (lab.start(), one()),
        (lab.start(), elsewhere),
        // Its proxy would get nothing.
        (lab.start(), auto.clone()),
        (lab.start().without(CAPABILITIES), auto),
    ];
    for (start, config) in starts {
        let said = refused(start, &config);
        assert!(said.contains("cannot be rewritten inside the kernel: a process") && names(&said, &tidegate), "{said}");
        kept.are_all_where_they_were();
        assert!(both(&lab.spread(WEB, 40)), "{said}");
    }
    // One without packets may live beside it, and has nothing to warn of.
    let other = lab.start().text(&beside(NONE));
    assert!(!other.messages().contains("an earlier process"), "{}", other.messages());
    // Nor may it come to them by a reload.
    let Reloaded::No(said) = other.reload(&beside(&one())) else { panic!("it took them over") };
    assert!(names(&said, &tidegate), "{said}");
    assert!(both(&lab.spread(WEB, 40)));
    // However the first one ends, the next one has what it has left.
    tidegate.kill();
    assert_eq!(other.reload(&beside(TWO)), Reloaded::Yes);
    other.message("as an earlier process has left it");
    kept.are_all_where_they_were();
}

#[test]
fn whoever_has_no_packets_any_more_gives_them_up() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let first = lab.run(TWO);
    assert_eq!(first.reload(&lab.whole(NONE)), Reloaded::Yes);
    let second = lab.start().text(&beside(TWO));
    assert!(both(&lab.spread(WEB, 40)));
    let Reloaded::No(said) = first.reload(&lab.whole(TWO)) else { panic!("it took them over") };
    assert!(names(&said, &second), "{said}");
    assert_eq!(first.reload(&lab.whole(NONE)), Reloaded::Yes);
    assert!(both(&lab.spread(WEB, 40)));
}

#[test]
fn nobody_releases_what_a_process_has_that_lives() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let mut tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 10);
    let (code, said) = lab.start().refused(&["nat", "release"]);
    assert!(code == Some(1) && names(&said, &tidegate), "{said}");
    assert!(said.contains("packets are still rewritten inside the kernel: a process"), "{said}");
    kept.are_all_where_they_were();
    assert_eq!(tidegate.metric("tidegate_nat_in_kernel", &["listener=\"vip\""]), [1.0]);
    tidegate.terminate();
    assert!(tidegate.wait().success());
    assert!(tidegate.messages().contains("packets are still rewritten inside the kernel, for the next process"));
    kept.are_all_where_they_were();
    assert_eq!(lab.start().refused(&["nat", "release"]).0, Some(0));
    lab.until_silent(WEB);
}

/// Whoever owns the pins may remove them by hand, and nothing keeps them from it.
#[test]
fn what_somebody_has_taken_away_is_told_of_everywhere() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let mut tidegate = lab.run(TWO);
    take_away(&lab);
    tidegate.message("somebody has taken that away; a reload begins anew");
    assert_eq!(tidegate.metric("tidegate_nat_in_kernel", &["listener=\"vip\""]), [0.0]);
    let listener = shown(&tidegate, |_| true)["listeners"][0].clone();
    assert!(listener["engine"] == "none", "{listener:#}");
    assert!(listener["reason"].as_str().is_some_and(|why| why.contains("a reload begins anew")), "{listener:#}");
    tidegate.terminate();
    assert!(tidegate.wait().success());
    assert!(!tidegate.messages().contains("for the next process"), "{}", tidegate.messages());
}

#[test]
fn whoever_has_lost_the_pins_leaves_those_of_the_next_one() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let mut first = lab.run(TWO);
    take_away(&lab);
    let second = lab.start().text(&beside(TWO));
    let mut kept = lab.keep(WEB, 10);
    first.message("somebody has taken that away; a reload begins anew");
    assert_eq!(first.metric("tidegate_nat_in_kernel", &["listener=\"vip\""]), [0.0]);
    let Reloaded::No(said) = first.reload(&lab.whole(&one())) else { panic!("it took them over") };
    assert!(names(&said, &second), "{said}");
    assert_eq!(first.reload(&lab.whole(NONE)), Reloaded::Yes);
    kept.are_all_where_they_were();
    first.terminate();
    assert!(first.wait().success());
    kept.are_all_where_they_were();
    assert!(both(&lab.spread(WEB, 40)));
}
