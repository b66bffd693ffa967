//! A server to which a firewall or a router on the way lets nobody: that is said in other words than that nobody listens there.

use testkit::datagram::{Answering, Asking};
use testkit::netns::{Netns, possible};
use testkit::{Start, tool};

use super::PLAIN;
use crate::support::{BINARY, config};

#[test]
fn who_is_forbidden_is_left_for_another_by_either_family() {
    if tool("ip").is_none() || !possible() {
        return;
    }
    let (edge, router) = (Netns::new("edge"), Netns::new("router"));
    edge.cable(&router, 1500, ("out4", "198.18.0.1/24"), ("in4", "198.18.0.2/24"));
    edge.cable(&router, 1500, ("out6", "2001:2::1/64"), ("in6", "2001:2::2/64"));
    router.sysctl("net.ipv4.ip_forward", "1");
    router.sysctl("net.ipv6.conf.all.forwarding", "1");
    router.run("ip route add prohibit 198.18.9.0/24");
    router.run("ip -6 route add prohibit 2001:2:0:9::/64");
    edge.run("ip route add 198.18.9.0/24 via 198.18.0.2");
    edge.run("ip -6 route add 2001:2:0:9::/64 via 2001:2::2");
    let server = edge.enter(|| Answering::named("b"));
    for forbidden in ["198.18.9.5:5300", "[2001:2:0:9::5]:5300"] {
        let pool =
            format!("{{ servers: {{ a: {{ address: '{forbidden}' }}, b: {{ address: @APP }} }}, balance: first }}");
        let text = PLAIN.replace("[@APP]", &pool).replace("127.0.0.1:0", "127.0.0.1:53");
        let text = text.replace("to: app", "to: app, timeouts: { flow: 300ms }");
        let tidegate = Start::of(BINARY).inside(&edge).text(&config(&text, &[("APP", &server)]));
        let client = edge.enter(|| Asking::to("127.0.0.1:53"));
        assert_eq!(client.ask("x"), "b x", "{forbidden}");
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!((&line["tries"], &line["server"]), (&2.into(), &"b".into()), "{forbidden}");
    }
}
