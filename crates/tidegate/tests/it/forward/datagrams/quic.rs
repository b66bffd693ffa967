//! Over HTTP/3: in capsules of the stream, and in datagrams of QUIC beside it (RFC 9297).

use testkit::datagram::Answering;
use testkit::h3::{Quic, Stream, frame, head};
use testkit::{Server, Tidegate, tools};

use super::{capsule, path};
use crate::forward::{OPEN, port};
use crate::tls::Desk;

fn proxy(desk: &Desk) -> Tidegate {
    let certificates = "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }";
    let text = OPEN.replace("@MORE", "http: [h1, h2, h3]\n    tls: main\n    to: origin");
    desk.start(&format!("{certificates}{text}"), &[])
}

/// Opens a flow to a server; more is said with the request.
fn open(quic: &Quic, server: &Answering, more: &[u8]) -> Stream {
    let path = path("127.0.0.1", server);
    let asks = [
        (":method", "CONNECT"),
        (":protocol", "connect-udp"),
        (":scheme", "https"),
        (":authority", "proxy.test"),
        (":path", &path),
        ("capsule-protocol", "?1"),
    ];
    quic.open(&[&head(&asks)[..], more].concat(), false).expect("a stream")
}

/// Waits for the head of the answer.
fn agreed(quic: &Quic, stream: &mut Stream) {
    let answer = quic.hear(stream, 2).expect("a frame of a head");
    assert_eq!(answer[0], 1);
    let answer = quic.hear(stream, usize::from(answer[1])).expect("a head");
    assert_eq!(&answer[..3], &[0, 0, 0xd9], "200");
}

const REVERSE: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, http: [h1, h2, h3], tls: main, to: app } }
pools: { app: [@APP] }
";

/// The control stream of a client that takes datagrams, as it says.
const CONTROL: &[u8] = &[0, 4, 2, 0x33, 1];

#[test]
fn a_client_asks_by_extended_connect_and_speaks_in_capsules() {
    let (desk, server) = (Desk::new(), Answering::named("udp"));
    let tidegate = proxy(&desk);
    // It could take datagrams of QUIC, and does not say that those may be of HTTP.
    let quic = Quic::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
    let mut stream = open(&quic, &server, &frame(0, &capsule(b"one")));
    agreed(&quic, &mut stream);
    quic.meanwhile(|| server.until_seen(1));
    let wanted = [&[0, 10][..], &capsule(b"udp one")].concat();
    assert_eq!(quic.hear(&mut stream, wanted.len()).expect("a datagram"), wanted);
}

#[test]
fn datagrams_go_beside_the_stream_where_both_sides_take_them() {
    let desk = Desk::new();
    let servers = [Answering::named("first"), Answering::named("other")];
    let tidegate = proxy(&desk);
    let quic = Quic::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
    let settings = quic.hear_one_way(16).expect("a control stream");
    assert!(settings.windows(2).any(|pair| pair == [0x33, 1]), "{settings:x?}");
    let _control = quic.open_one_way(CONTROL).expect("a stream");
    let mut flows = servers.each_ref().map(|server| open(&quic, server, b""));
    for flow in &mut flows {
        agreed(&quic, flow);
    }
    // Streams 0 and 4: a quarter of that stands first, then the context of UDP. Other contexts, and streams that are none, mean nothing.
    for datagram in [&[0, 0, b'a'][..], &[0, 2, b'b'], &[9, 0, b'c'], &[0x40, 1, 0, b'd'], &[0, 0]] {
        quic.send_datagram(datagram);
    }
    let mut heard: Vec<_> = (0..3).map(|_| quic.datagram().expect("a datagram").to_vec()).collect();
    heard.sort();
    assert_eq!(heard, [&b"\0\0first "[..], b"\0\0first a", b"\x01\0other d"]);
    // What comes in a capsule goes on as well.
    quic.say(&mut flows[0], &frame(0, &capsule(b"e"))).expect("room");
    assert_eq!(quic.datagram().expect("a datagram"), &b"\0\0first e"[..]);
    for flow in &mut flows {
        flow.send.finish().expect("an end");
        assert_eq!(quic.rest(flow).expect("an end"), b"", "nothing went in capsules");
    }
    let line = tidegate.log_line("a flow", |line| line["datagrams_in"] == 3);
    assert_eq!((&line["datagrams_out"], &line["bytes_in"], &line["bytes_out"]), (&3.into(), &2.into(), &20.into()));
    // A flow that is over hears nothing more, and the connection is as good as before.
    quic.send_datagram(b"\0\0f");
    agreed(&quic, &mut open(&quic, &servers[1], b""));
    assert_eq!(servers[0].seen().len(), 3);
}

#[test]
fn what_is_too_long_for_the_path_goes_in_a_capsule_if_quic_inside_counts_on_it() {
    let (desk, server) = (Desk::new(), Answering::start(|asked| vec![vec![7; asked.len() * 100]]));
    let tidegate = proxy(&desk);
    let quic = Quic::connect_taking(700, &tidegate.address("web"), &desk.tls()).expect("a connection");
    let _control = quic.open_one_way(CONTROL).expect("a stream");
    let mut flow = open(&quic, &server, b"");
    agreed(&quic, &mut flow);
    quic.send_datagram(&[0, 0, 1, 1, 1, 1]);
    assert_eq!(quic.datagram().expect("a datagram").len(), 402);
    // 1,300 bytes are lost, 1,200 are not.
    quic.send_datagram(&[[0; 2].as_slice(), &[1; 13]].concat());
    quic.send_datagram(&[[0; 2].as_slice(), &[1; 12]].concat());
    let front = quic.hear(&mut flow, 7).expect("a frame");
    // A frame of 1,204 bytes, and in it a capsule of 1,201.
    assert_eq!(front, [0, 0x44, 0xb4, 0, 0x44, 0xb1, 0]);
    assert_eq!(quic.hear(&mut flow, 1200).expect("a datagram"), vec![7; 1200]);
}

#[test]
fn what_breaks_the_rules_of_datagrams_ends_the_connection() {
    const DATAGRAM_ERROR: u64 = 0x33;
    const SETTINGS_ERROR: u64 = 0x109;
    let desk = Desk::new();
    let tidegate = proxy(&desk);
    for bad in [&[][..], &[0x40], &[0xff; 9]] {
        let quic = Quic::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
        quic.send_datagram(bad);
        assert_eq!(quic.closed().0, Some(DATAGRAM_ERROR), "{bad:x?}");
    }
    // It says that it takes what it cannot.
    let quic = Quic::connect_taking(0, &tidegate.address("web"), &desk.tls()).expect("a connection");
    let _control = quic.open_one_way(CONTROL).expect("a stream");
    assert_eq!(quic.closed().0, Some(SETTINGS_ERROR));
    // Where they lead nowhere nobody offers them.
    let server = Server::named("app");
    let reverse = desk.start(REVERSE, &[("APP", &server)]);
    let quic = Quic::connect(&reverse.address("web"), &desk.tls()).expect("a connection");
    assert!(!quic.takes_datagrams());
    let settings = quic.hear_one_way(10).expect("a control stream");
    assert!(!settings.contains(&0x33), "{settings:x?}");
}

#[test]
fn aioquic_speaks_to_a_server_of_udp() {
    let Some(mut python) = tools::python("aioquic") else { return };
    let (desk, server) = (Desk::new(), Answering::named("udp"));
    let tidegate = proxy(&desk);
    let script = desk.folder.write("client.py", include_str!("aioquic.py"));
    let address = tidegate.address("web");
    let at = address.rsplit(':').next().expect("a port");
    python.arg(script).args([at, port(&server)]).arg(desk.folder.path().join("ca.pem"));
    let output = python.output().expect("a client that runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "agreed\n100 answers\n");
}
