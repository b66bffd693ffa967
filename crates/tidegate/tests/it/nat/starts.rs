//! What the kernel lacks, and what happens then.

use testkit::Reloaded;

use super::lab::{CAPABILITIES, Datagrams, Lab};
use super::{TWO, WEB, both, one, shown};

/// The program's refusal of a configuration, after which nobody answers.
fn refusal(lab: &Lab, start: testkit::Start<'_>, config: &str) -> String {
    let said = lab.refused(start, config);
    assert!(!lab.answers(WEB), "{said}");
    said
}

#[test]
fn a_start_says_exactly_what_is_missing() {
    let Some(lab) = Lab::new() else { return };
    let first = "packets of listener `vip` cannot be rewritten inside the kernel: ";
    let said = refusal(&lab, lab.start().without(CAPABILITIES), TWO);
    assert!(said.contains(first) && said.contains("CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"), "{said}");
    assert!(said.contains("tidegate.yaml:6:3"), "{said}");
    let said = refusal(&lab, lab.start(), &TWO.replace("[lb0, lb1]", "[lb0, lb7]"));
    assert!(said.contains(first) && said.contains("no interface of this name, see `ip link`: lb7"), "{said}");
    lab.balancer.sysctl("net.ipv4.ip_forward", "0");
    let said = refusal(&lab, lab.start(), TWO);
    assert!(said.contains(first) && said.contains("run `sysctl -w net.ipv4.ip_forward=1`"), "{said}");
    // A start that has failed leaves nothing behind.
    let left = std::fs::read_dir(lab.pins.path().join("tidegate")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[test]
fn three_capabilities_are_enough() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.start().with_only("bpf,net_admin,perfmon").text(&lab.whole(TWO));
    let mut kept = lab.keep(WEB, 40);
    assert!(both(&kept.by_server()));
    assert_eq!(tidegate.reload(&lab.whole(&one())), Reloaded::Yes);
    kept.are_all_where_they_were();
    drop(tidegate);
    let _tidegate = lab.start().with_only("bpf,net_admin,perfmon").text(&lab.whole(TWO));
    kept.are_all_where_they_were();
}

#[test]
fn a_reload_that_cannot_be_leaves_all_as_it_was() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 20);
    for wrong in [
        one().replace("[lb0, lb1]", "[lb0, lb1, lb7]"),
        one().replace("listeners:", "listeners:\n  web: { bind: '192.0.2.7:1', respond: 200 }"),
    ] {
        let Reloaded::No(_) = tidegate.reload(&lab.whole(&wrong)) else { panic!("{wrong}") };
        kept.are_all_where_they_were();
        assert!(both(&lab.spread(WEB, 40)));
    }
    // At one interface less, then at both again.
    lab.balancer.run("ip link add lb2 type veth peer name lb3");
    assert_eq!(tidegate.reload(&lab.whole(&TWO.replace("[lb0, lb1]", "[lb0, lb1, lb2]"))), Reloaded::Yes);
    kept.are_all_where_they_were();
    assert_eq!(tidegate.reload(&lab.whole(TWO)), Reloaded::Yes);
    kept.are_all_where_they_were();
    assert_eq!(shown(&tidegate, |_| true)["interfaces"], serde_json::json!(["lb0", "lb1"]));
}

#[test]
fn a_proxy_stands_in_where_it_may() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let auto = TWO.replace("source:", "engine: auto, source:");
    let tidegate = lab.start().without(CAPABILITIES).text(&lab.whole(&auto));
    tidegate
        .message("listener `vip` is served by this process as a proxy, not inside the kernel: NAT in the kernel needs");
    // The proxy hashes the client's address, which is one here.
    assert_eq!(lab.spread(WEB, 10).len(), 1);
    let nat = shown(&tidegate, |_| true);
    let listener = &nat["listeners"][0];
    assert_eq!(listener["engine"], "proxy");
    assert!(listener["reason"].as_str().is_some_and(|why| why.contains("CAP_BPF")), "{nat:#}");
    assert_eq!(tidegate.metric("tidegate_nat_in_kernel", &["listener=\"vip\""]), [0.0]);
    let listeners = tidegate.admin("/api/listeners").text();
    assert!(listeners.contains("10.77.0.1:80"), "{listeners}");
    let line = tidegate.log_line("a flow", |line| line["listener"] == "vip");
    assert_eq!(line["pool"], "web");
    drop(tidegate);
    // What the kernel can do is the kernel's.
    let tidegate = lab.run(&auto);
    assert!(both(&lab.spread(WEB, 40)));
    assert_eq!(shown(&tidegate, |_| true)["listeners"][0]["engine"], "kernel");
    // Without a way for packets the kernel refuses later, when it is told the services: what the last process has left there must
    // not keep packets from the proxy.
    drop(tidegate);
    lab.balancer.sysctl("net.ipv4.ip_forward", "0");
    let tidegate = lab.run(&auto);
    tidegate.message("not inside the kernel: packets that arrive are not forwarded");
    assert_eq!(lab.spread(WEB, 10).len(), 1);
}

#[test]
fn a_proxy_needs_packets_that_end_here() {
    let Some(lab) = Lab::new() else { return };
    let auto = TWO.replace("source:", "engine: auto, source:");
    let elsewhere = auto.replace("10.77.0.1:80", "10.77.0.7:80");
    let said = refusal(&lab, lab.start().without(CAPABILITIES), &elsewhere);
    let way = "run `ip address add 10.77.0.7/32 dev lb0` or `ip route add local 10.77.0.7/32 dev lo`";
    assert!(said.contains("CAP_BPF") && said.contains(way), "{said}");
    lab.balancer.run("ip route add local 10.77.0.7/32 dev lo");
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    lab.client.run("ip route add 10.77.0.7/32 via 10.77.0.1");
    let _tidegate = lab.start().without(CAPABILITIES).text(&lab.whole(&elsewhere));
    assert_eq!(lab.spread("10.77.0.7:80", 10).len(), 1);
}

#[test]
fn a_proxy_stands_in_for_datagrams_too() {
    let Some(lab) = Lab::new() else { return };
    let _web = lab.serve("10.78.0.11:8080", "a");
    let _dns = Datagrams::serve(&lab, "10.78.0.11:8080", "a");
    let both = one()
        .replace("10.77.0.1:80/tcp", "[10.77.0.1:80/tcp, 10.77.0.1:80/udp]")
        .replace("source:", "engine: auto, timeouts: { flow: 1s }, source:");
    let tidegate = lab.start().without(CAPABILITIES).text(&lab.whole(&both));
    assert_eq!(lab.spread(WEB, 3).len(), 1);
    let answer = Datagrams::ask(&lab, WEB, "hello");
    assert_eq!(answer, "a heard hello of 10.78.0.2", "the kernel chooses the source, and has one there");
    // A flow that is silent for as long as the listener says is over.
    let line = tidegate.log_line("the flow of datagrams", |line| line["listener"] == "vip/udp");
    assert_eq!(line["pool"], "web");
    let only = both.replace("10.77.0.1:80/tcp, ", "");
    assert_eq!(tidegate.reload(&lab.whole(&only)), Reloaded::Yes);
    lab.until_silent(WEB);
    assert_eq!(Datagrams::ask(&lab, WEB, "again"), "a heard again of 10.78.0.2");
}

#[test]
fn interfaces_may_go_and_come_back() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 10);
    lab.balancer.run("ip link delete lb0");
    lab.connect_client();
    tidegate.message("interfaces have come back, and packets are rewritten there again: `lb0`");
    assert!(both(&lab.spread(WEB, 40)));
    kept.are_all_where_they_were();
}

#[test]
fn what_an_operator_should_know_is_said_once() {
    let Some(lab) = Lab::new() else { return };
    let folder = testkit::Folder::new();
    let list = folder.write("list.yaml", "- { address: '10.78.0.11:8080', max_connections: 7 }\n");
    let config = TWO
        .replace("10.78.0.2", "10.78.0.9")
        .replace("{ a: 10.78.0.11:8080, b: 10.78.0.12:8080 }", &format!("['file:{}']", list.display()));
    let tidegate = lab.run(&config);
    tidegate.message("`source` of listener `vip` is no address of this host");
    tidegate.message(
        "`max_connections` of server `10.78.0.11:8080` in pool `web` does nothing for the packets of listener `vip`",
    );
    assert_eq!(tidegate.reload(&lab.whole(&config)), Reloaded::Yes);
    assert_eq!(tidegate.messages().matches("no address of this host").count(), 1, "{}", tidegate.messages());
}

/// What comes in by an interface that nobody names passes as if nobody were there, and clients would wait without a word.
#[test]
fn interfaces_that_packets_come_by_and_nobody_names_are_told_of() {
    let Some(lab) = Lab::new() else { return };
    let server =
        "server `a` of pool `web` is reached by an interface that `interfaces` of no listener of packets names";
    let bind =
        "`bind` of listener `vip` has the address of an interface that `interfaces` of no listener of packets names";
    let without_servers = TWO.replace("[lb0, lb1]", "lb0");
    let tidegate = lab.run(&without_servers);
    let said = tidegate.message(server);
    assert!(
        said.contains("clients of listener `vip` wait for them, name it there") && said.ends_with(": `lb1`"),
        "{said}"
    );
    // One stands for all of them, and those of clients are right.
    assert!(!tidegate.messages().contains("server `b`") && !tidegate.messages().contains(bind));
    // At a reload, too.
    assert_eq!(tidegate.reload(&lab.whole(TWO)), Reloaded::Yes);
    assert_eq!(tidegate.messages().matches("is reached by").count(), 1, "{}", tidegate.messages());
    assert_eq!(tidegate.reload(&lab.whole(&TWO.replace("[lb0, lb1]", "lb1"))), Reloaded::Yes);
    let said = tidegate.message(bind);
    assert!(said.contains("comes in there for 10.77.0.1, name it there") && said.ends_with(": `lb0`"), "{said}");
    // Answers under `dsr` do not come here, and a listener's interfaces are every listener's.
    let direct = without_servers
        .replace("source: 10.78.0.2", "nat: dsr")
        .replace("a: 10.78.0.11:8080, b: 10.78.0.12:8080", "a: 10.78.0.11:80");
    assert_eq!(tidegate.reload(&lab.whole(&direct)), Reloaded::Yes);
    let beside =
        "listeners:\n  beside: { role: nat, bind: 10.78.0.2:9/udp, interfaces: lb1, nat: dnat, to: '10.78.0.11:9' }";
    assert_eq!(tidegate.reload(&lab.whole(&without_servers.replace("listeners:", beside))), Reloaded::Yes);
    assert_eq!(tidegate.messages().matches("is reached by").count(), 1, "{}", tidegate.messages());
}

#[test]
fn a_server_that_is_this_host_is_told_of() {
    let Some(lab) = Lab::new() else { return };
    let folder = testkit::Folder::new();
    let list = folder.write("list.yaml", "- 10.78.0.2:8080\n- 127.0.0.1:8080\n- 10.78.0.11:8080\n");
    let listed = TWO.replace("{ a: 10.78.0.11:8080, b: 10.78.0.12:8080 }", &format!("['file:{}']", list.display()));
    let tidegate = lab.run(&listed);
    tidegate.message("server `10.78.0.2:8080` of pool `web` is this host itself, where no rewritten packet arrives");
    // At loopback there is nothing at all to be sent to.
    let nat = shown(&tidegate, |_| true);
    let servers = nat["listeners"][0]["addresses"][0]["servers"].as_array().expect("servers");
    assert!(servers.len() == 2 && servers.iter().all(|one| one["address"] != "127.0.0.1:8080"), "{nat:#}");
}

/// Where all that a configuration names is here, it is checked against the routes; elsewhere nobody knows.
#[test]
fn a_check_knows_the_routes_of_the_host_that_it_is_for() {
    let Some(lab) = Lab::new() else { return };
    let folder = testkit::Folder::new();
    let check = |config: &str| {
        let file = folder.write("tidegate.yaml", config);
        let (code, said) = lab.start().without(CAPABILITIES).refused(&["check", &file.display().to_string()]);
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let wrong = TWO.replace("[lb0, lb1]", "lb0");
    let said = check(&wrong);
    assert!(said.contains("warning: server `a` of pool `web` is reached by an interface"), "{said}");
    assert_eq!(check(TWO), "");
    assert_eq!(check(&wrong.replace("lb0", "eth7")), "");
    assert_eq!(check(&wrong.replace("10.78.0.2", "10.78.0.9")), "");
}

#[test]
fn a_machine_that_is_not_prepared_is_told_how_to_be() {
    let Some(lab) = Lab::new() else { return };
    lab.balancer.run(&format!("umount {}", lab.pins.path().display()));
    let said = refusal(&lab, lab.start(), TWO);
    assert!(said.contains("no BPF file system is mounted there, run `mount -t bpf bpf /sys/fs/bpf`: /sys"), "{said}");
    lab.balancer.run(&format!("mount -t bpf bpf {}", lab.pins.path().display()));
    // Another's file system, and none of the rights that pass by it.
    std::os::unix::fs::chown(lab.pins.path(), Some(65_534), None).expect("an owner");
    std::fs::set_permissions(lab.pins.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let said = refusal(&lab, lab.start().with_only("bpf,net_admin,perfmon"), TWO);
    assert!(
        said.contains("`install -d -o USER -m 700 /sys/fs/bpf/tidegate`") && said.contains("`chmod 711`"),
        "{said}"
    );
}
