//! Floods from many addresses: whoever is answered keeps what it has, and whoever comes next is served.

use testkit::datagram::{Answering, Asking};
use testkit::{Folder, Netns, Start, Tidegate, netns};

use super::{PLAIN, choosy};
use crate::support::{BINARY, config};

/// Outside of the hundred ports.
const SERVER: &str = "127.0.0.1:5300";

/// A machine with a hundred ports to give, and one that clients are at.
struct Lab {
    balancer: Netns,
    clients: Netns,
    /// For the operator's address, which is reached from any machine.
    folder: Folder,
}

impl Lab {
    fn new() -> Option<Lab> {
        if !netns::possible() {
            return None;
        }
        let (balancer, clients) = (Netns::new("balancer"), Netns::new("clients"));
        balancer.wire("in0", &clients, "eth0");
        balancer.address("in0", "198.18.7.1/24");
        clients.address("eth0", "198.18.7.2/24");
        balancer.sysctl("net.ipv4.ip_local_port_range", "40000 40099");
        Some(Lab { balancer, clients, folder: Folder::new() })
    }

    fn start(&self, listener: &str) -> Tidegate {
        let text = PLAIN.replace("127.0.0.1:0", "198.18.7.1:53").replace("@APP", SERVER);
        let text = text.replace("to: app", &format!("to: app{listener}"));
        let admin = self.folder.path().join("admin.sock");
        let text = format!("admin: unix:{}\nworkers: 1\n{text}", admin.display());
        Start::of(BINARY).inside(&self.balancer).text(&config(&text, &[]))
    }

    fn client(&self) -> Asking {
        self.clients.enter(|| Asking::from([198, 18, 7, 2].into(), "198.18.7.1:53"))
    }

    /// So many clients come whom nobody answers.
    fn flood(&self, server: &Answering, count: usize) {
        let before = server.seen().len();
        for number in 1..=count {
            self.client().say("mute");
            server.until_seen(before + number);
        }
    }
}

fn flows(tidegate: &Tidegate) -> f64 {
    tidegate.metric("tidegate_connections", &["listener=\"web\""]).iter().sum()
}

#[test]
fn where_ports_run_out_who_is_not_answered_goes_first() {
    let Some(lab) = Lab::new() else { return };
    let server = lab.balancer.enter(|| choosy(SERVER));
    let tidegate = lab.start(", limits: { connections: 10000 }");
    let early = lab.client();
    assert_eq!(early.ask("x"), "x");
    lab.flood(&server, 150);
    let late: Vec<_> = (0..20).map(|_| lab.client()).collect();
    assert!(late.iter().all(|client| client.ask("y") == "y"));
    assert_eq!(early.ask("z"), "z");
    let line = tidegate.log_line("a flow that made room", |line| line["cut"] == true);
    assert_eq!((&line["fault"], &line["side"]), (&"overload".into(), &"proxy".into()));
    assert!(tidegate.message("listener `web`: no descriptor or port is left").contains("another flow"));
    assert_eq!(flows(&tidegate), 100.0, "as many as there are ports");
}

#[test]
fn half_of_the_ports_are_left_to_others_where_nothing_is_said() {
    let Some(lab) = Lab::new() else { return };
    let server = lab.balancer.enter(|| choosy(SERVER));
    let tidegate = lab.start("");
    lab.flood(&server, 150);
    assert_eq!(flows(&tidegate), 50.0);
    let other = lab.balancer.enter(|| Asking::to(SERVER));
    assert_eq!(other.ask("x"), "x", "another program of the host");
    assert_eq!(lab.client().ask("y"), "y");
}

#[test]
fn where_descriptors_run_out_who_is_not_answered_goes_first() {
    let server = choosy("127.0.0.1:0");
    let text = PLAIN.replace("to: app", "to: app, limits: { connections: 10000 }");
    let text = config(&format!("workers: 1\n{text}"), &[("APP", &server)]);
    let tidegate = Start::of(BINARY).descriptors(100).text(&text);
    let address = tidegate.address("web");
    let mutes: Vec<_> = (0..150).map(|_| Asking::to(&address)).collect();
    for (number, mute) in mutes.iter().enumerate() {
        mute.say("mute");
        server.until_seen(number + 1);
    }
    assert_eq!(Asking::to(&address).ask("x"), "x");
    assert_eq!(tidegate.log_line("a flow that made room", |line| line["cut"] == true)["fault"], "overload");
}
