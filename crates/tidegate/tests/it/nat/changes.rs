//! Starts and reloads that fail, and engines: nothing that is open may notice.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use testkit::{Reloaded, Tidegate};

use super::lab::{CAPABILITIES, Lab};
use super::{TWO, WEB, both, shown};

const AUTO: (&str, &str) = ("source:", "engine: auto, source:");
/// A listener that cannot be bound.
const UNBOUND: (&str, &str) = ("listeners:", "listeners:\n  web: { bind: '192.0.2.7:1', respond: 200 }");

fn changed(config: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(config.to_owned(), |config, (from, to)| config.replace(from, to))
}

/// The folders of layouts, and the interfaces at which the program of each of them is.
fn pinned(lab: &Lab) -> Vec<(String, Vec<String>)> {
    let names = |folder: &std::path::Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let root = lab.pins.path().join("tidegate");
    let links = |layout: String| {
        let pins = names(&root.join(&layout)).into_iter();
        let links = pins.filter_map(|name| Some(name.strip_prefix("link-")?.to_owned())).collect();
        (layout, links)
    };
    names(&root).into_iter().map(links).collect()
}

#[test]
fn a_start_that_fails_takes_nothing_away() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 10);
    tidegate.kill();
    drop(tidegate);
    let as_it_was = pinned(&lab);
    assert!(as_it_was.len() == 1 && as_it_was[0].1 == ["lb0", "lb1"], "{as_it_was:?}");
    lab.refused(lab.start(), &changed(TWO, &[("[lb0, lb1]", "lb0"), UNBOUND]));
    assert_eq!(pinned(&lab), as_it_was);
    kept.are_all_where_they_were();
    // As another version has left it, it goes on until this one is in force.
    let root = lab.pins.path().join("tidegate");
    fs::rename(root.join(&as_it_was[0].0), root.join("v0")).expect("it is moved");
    lab.refused(lab.start(), &changed(TWO, &[UNBOUND]));
    assert_eq!(pinned(&lab), [("v0".to_owned(), vec!["lb0".to_owned(), "lb1".to_owned()])]);
    kept.are_all_where_they_were();
    let _tidegate = lab.run(TWO);
    assert_eq!(pinned(&lab), as_it_was);
    kept.are_all_where_they_were();
    assert!(both(&lab.spread(WEB, 40)));
}

#[test]
fn a_reload_that_fails_neither_leaves_an_interface_nor_takes_one() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    lab.balancer.run("ip link add lb2 type veth peer name lb3");
    let mut kept = lab.keep(WEB, 10);
    let as_it_was = pinned(&lab);
    let links = fs::metadata(lab.pins.path().join("tidegate").join(&as_it_was[0].0).join("link-lb1")).expect("a pin");
    for interfaces in ["lb0", "[lb0, lb2]", "[lb0, lb1, lb2]"] {
        let wrong = changed(TWO, &[("[lb0, lb1]", interfaces), UNBOUND]);
        let Reloaded::No(_) = tidegate.reload(&lab.whole(&wrong)) else { panic!("{wrong}") };
        assert_eq!(pinned(&lab), as_it_was, "{interfaces}");
        kept.are_all_where_they_were();
    }
    // It is the same pin throughout, so there was no moment without the program.
    let now = fs::metadata(lab.pins.path().join("tidegate").join(&as_it_was[0].0).join("link-lb1")).expect("a pin");
    assert_eq!(now.ino(), links.ino());
    // One that succeeds does both.
    assert_eq!(tidegate.reload(&lab.whole(&changed(TWO, &[("[lb0, lb1]", "[lb1, lb2]")]))), Reloaded::Yes);
    assert_eq!(pinned(&lab)[0].1, ["lb1", "lb2"]);
}

#[test]
fn a_proxy_stands_in_beside_other_listeners() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    lab.balancer.sysctl("net.ipv4.ip_forward", "0");
    let other = ("listeners:", "listeners:\n  other: { bind: '10.77.0.1:8081', respond: 200 }");
    let tidegate = lab.run(&changed(TWO, &[AUTO, other]));
    tidegate.message("not inside the kernel: packets that arrive are not forwarded");
    assert_eq!(lab.spread(WEB, 10).len(), 1);
    assert_eq!(lab.connect("10.77.0.1:8081").get("/").status, 200);
    assert_eq!(pinned(&lab), []);
}

/// Servers that do not fit into the tables are refused at the last moment, when all sockets are bound.
#[test]
fn a_late_refusal_finds_the_addresses_free() {
    let Some(lab) = Lab::new() else { return };
    let servers: Vec<String> = (0..4097).map(|number| format!("'10.78.0.11:{}'", 10_000 + number)).collect();
    let other = ("listeners:", "listeners:\n  other: { bind: '10.77.0.1:8081', respond: 200 }");
    let many = format!("[{}]", servers.join(", "));
    let config = changed(TWO, &[AUTO, other, ("{ a: 10.78.0.11:8080, b: 10.78.0.12:8080 }", &many)]);
    let tidegate = lab.run(&config);
    tidegate.message("not inside the kernel: too many servers for the kernel's tables");
    assert_eq!(lab.connect("10.77.0.1:8081").get("/").status, 200);
}

#[test]
fn engines_change_at_a_start_or_when_they_are_asked_to() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let auto = changed(TWO, &[AUTO]);
    let tidegate = lab.run(&auto);
    let mut kept = lab.keep(WEB, 20);
    let forward = |value: &str| lab.balancer.sysctl("net.ipv4.ip_forward", value);
    for (interfaces, forwards) in [("[lb0, lb1, lb7]", "1"), ("[lb0, lb1]", "0")] {
        forward(forwards);
        let answer = tidegate.reload(&lab.whole(&changed(&auto, &[("[lb0, lb1]", interfaces)])));
        forward("1");
        let Reloaded::No(said) = answer else { panic!("{interfaces}") };
        assert!(said.contains("and a proxy takes over at a start alone: "), "{said}");
        kept.are_all_where_they_were();
        assert_eq!(shown(&tidegate, |_| true)["listeners"][0]["engine"], "kernel");
    }
    drop(tidegate);
    forward("0");
    let tidegate = lab.run(&auto);
    let mut kept = lab.keep(WEB, 10);
    forward("1");
    // The kernel could serve now, and connections through the proxy would end.
    for flow in ["1h", "2h"] {
        let later = changed(&auto, &[("source:", &format!("timeouts: {{ flow: {flow} }}, source:"))]);
        assert_eq!(tidegate.reload(&lab.whole(&later)), Reloaded::Yes);
        kept.are_all_where_they_were();
        assert_eq!(shown(&tidegate, |_| true)["listeners"][0]["engine"], "proxy");
    }
    tidegate
        .message("listener `vip` is still served by this process as a proxy: the kernel is asked at the next start");
    assert_eq!(tidegate.reload(&lab.whole(TWO)), Reloaded::Yes);
    assert_eq!(shown(&tidegate, |_| true)["listeners"][0]["engine"], "kernel");
    assert!(both(&lab.spread(WEB, 40)));
}

#[test]
fn what_cannot_be_seen_keeps_a_proxy_back() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    drop(lab.run(TWO));
    // As it commonly is, with somebody who is not its owner.
    fs::set_permissions(lab.pins.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    chown(lab.pins.path(), Some(65_534), None).expect("an owner");
    let nobody = format!("{CAPABILITIES},dac_override,dac_read_search");
    let said = lab.refused(lab.start().without(&nobody), &changed(TWO, &[AUTO]));
    assert!(said.contains("listener `vip` might get no packets: this process may not see"), "{said}");
    assert!(both(&lab.spread(WEB, 40)), "the kernel goes on");
    let (code, said) = lab.start().without(&nobody).refused(&["nat", "release"]);
    assert!(code == Some(1) && said.contains("this process may not see") && !said.contains("still"), "{said}");
}

#[test]
fn what_could_not_be_released_is_by_the_next_reload() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    lab.connect(WEB);
    let mount = |how: &str| lab.balancer.run(&format!("mount -o remount,{how} {}", lab.pins.path().display()));
    let none = lab.whole("listeners: { web: { bind: 127.0.0.1:0, respond: 200 } }\n");
    mount("ro");
    assert_eq!(tidegate.reload(&none), Reloaded::Yes);
    tidegate.message("packets are still rewritten inside the kernel: ");
    assert_ne!(pinned(&lab), []);
    mount("rw");
    assert_eq!(tidegate.reload(&none), Reloaded::Yes);
    tidegate.message("packets are no longer rewritten inside the kernel");
    assert_eq!(pinned(&lab), []);
    lab.until_silent(WEB);
}

/// The table may get another size by a reload and by a restart: whoever is connected stays so.
#[test]
pub(crate) fn a_table_of_another_size_has_all_connections() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let sized = |count: u32| format!("nat: {{ connections: {count} }}\n{TWO}");
    let tidegate = lab.run(&sized(2048));
    let mut kept = lab.keep(WEB, 30);
    let most = |tidegate: &Tidegate, count: u32| shown(tidegate, |nat| nat["entries"]["most"] == 2 * count);
    most(&tidegate, 2048);
    assert_eq!(tidegate.reload(&lab.whole(&sized(8192))), Reloaded::Yes);
    tidegate.message("the table of connections has room for 8192 now, 60 entries were copied");
    kept.are_all_where_they_were();
    most(&tidegate, 8192);
    drop(tidegate);
    let tidegate = lab.run(TWO);
    tidegate.message("the table of connections has room for 131072 now");
    kept.are_all_where_they_were();
    most(&tidegate, 131_072);
    assert!(both(&lab.spread(WEB, 40)));
}
