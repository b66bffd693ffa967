//! Datagrams that are longer than the packets of a network: they come in pieces and go on in one, or the other way round.

use std::io::{BufReader, Lines};
use std::process::{ChildStdout, Stdio};

use testkit::datagram::{Answering, Asking};
use testkit::netns::{Netns, possible};
use testkit::{PATIENCE, Process, Start, tool};

use super::PLAIN;
use crate::support::{BINARY, config};

/// What is seen of one kind of datagrams on a cable.
struct Capture {
    _process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Capture {
    fn begin(machine: &Netns, device: &str, filter: &str) -> Capture {
        let mut command = machine.command("timeout");
        // Whoever waits for packets that do not come sees an end then.
        command.args([&PATIENCE.as_secs().to_string(), "tcpdump"]);
        command.args(["-i", device, "-n", "-v", "-l", "--immediate-mode", filter]);
        let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        // It says so when it begins.
        assert!(process.err().any(|line| line.expect("a line").contains("listening on")));
        let lines = process.out();
        Capture { _process: process, lines }
    }

    /// The flags, the place in its datagram and the length of the next so many packets.
    fn packets(&mut self, count: usize) -> Vec<(String, u32, u32)> {
        let headers = self.lines.by_ref().map(|line| line.expect("a line")).filter(|line| line.contains("proto UDP"));
        let between = |line: &str, before: &str, after: &str| -> String {
            let rest = line.split_once(before).expect("a header").1;
            rest.split_once(after).expect("a header").0.to_owned()
        };
        let packet = |line: String| {
            let number = |before, after| between(&line, before, after).parse().expect("a number");
            (between(&line, "flags [", "]"), number("offset ", ","), number("length ", ")"))
        };
        headers.take(count).map(packet).collect()
    }
}

#[test]
fn what_comes_in_pieces_goes_on_in_one_and_may_be_cut_again() {
    if tool("tcpdump").is_none() || !possible() {
        return;
    }
    let [clients, between, servers] = ["clients", "between", "servers"].map(Netns::new);
    clients.cable(&between, 1500, ("narrow", "198.18.0.1/24"), ("front", "198.18.0.2/24"));
    between.cable(&servers, 9000, ("back", "198.18.1.2/24"), ("wide", "198.18.1.1/24"));
    let server = servers.enter(|| Answering::at("198.18.1.1:5300", |bytes| vec![bytes.to_vec()]));
    let text = config(&PLAIN.replace("127.0.0.1:0", "198.18.0.2:5300"), &[("APP", &server)]);
    let tidegate = Start::of(BINARY).inside(&between).text(&text);
    let client = clients.enter(|| Asking::from([198, 18, 0, 1].into(), "198.18.0.2:5300"));
    let sent: Vec<u8> = (0..4096).map(|at| (at % 253) as u8).collect();
    let whole = ("none".to_owned(), 0, 4096 + 28);
    let pieces = [("+".to_owned(), 0, 1500), ("+".to_owned(), 1480, 1500), ("none".to_owned(), 2960, 1164)];
    let mut come = Capture::begin(
        &between,
        "front",
        "udp and dst host 198.18.0.2 or ip[6:2] & 0x1fff != 0 and dst host 198.18.0.2",
    );
    let mut gone = Capture::begin(&servers, "wide", "udp and dst host 198.18.1.1");
    let mut back = Capture::begin(
        &clients,
        "narrow",
        "udp and dst host 198.18.0.1 or ip[6:2] & 0x1fff != 0 and dst host 198.18.0.1",
    );
    client.say(&sent);
    assert!(client.hear() == sent);
    assert_eq!(come.packets(3), pieces, "it comes in three");
    assert_eq!(gone.packets(1), [whole], "it goes on as one, which others may cut");
    assert_eq!(back.packets(3), pieces, "the answer goes in three");
    assert_eq!(server.seen().len(), 1);
    // What fits goes as it is, and may be cut as well: nobody has asked us to find out how long packets may be.
    client.say([7; 1000]);
    assert_eq!(client.hear(), [7; 1000]);
    assert_eq!(gone.packets(1), [("none".to_owned(), 0, 1028)]);
    drop(tidegate);
}
