use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::*;

/// A socket of an address of this machine, as a worker has it, and where it is.
fn open(address: &str) -> (Socket, SocketAddr) {
    let (actual, mut bound) = bind(address.parse().expect("an address"), Terms::default(), 1).expect("bound");
    (bound.remove(0).attach().expect("a socket"), actual)
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
    socket
}

fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut room = vec![0; LONGEST];
    let (length, from) = socket.recv_from(&mut room).expect("a datagram");
    room.truncate(length);
    (room, from)
}

const LONGEST: usize = 65_507;

#[tokio::test]
async fn answers_come_from_the_address_that_was_asked() {
    let (socket, at) = open("0.0.0.0:0");
    let (mut batch, mut outgoing, peer) = (Batch::new(4), Outgoing::new(), peer());
    for host in [1, 2, 3] {
        let asked = SocketAddr::from(([127, 0, 0, host], at.port()));
        peer.send_to(&[host], asked).expect("sent");
        poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.expect("read");
        let arrival = batch.arrival(usize::from(host) - 1);
        assert_eq!((arrival.bytes, arrival.to), (&[host][..], Some(Ipv4Addr::new(127, 0, 0, host).into())));
        outgoing.push(usize::from(host) - 1, arrival.from, arrival.to);
    }
    assert_eq!(outgoing.flush(&socket, &batch), 0);
    for host in [1, 2, 3] {
        assert_eq!(heard(&peer), (vec![host], SocketAddr::from(([127, 0, 0, host], at.port()))));
    }
}

#[tokio::test]
async fn whatever_its_length_a_datagram_comes_and_goes_whole() {
    for address in ["127.0.0.1:0", "[::]:0"] {
        let (socket, at) = open(address);
        let (mut batch, mut outgoing, peer) = (Batch::new(2), Outgoing::new(), peer());
        for length in [0, 1, 1472, 1473, 9000, LONGEST] {
            let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            peer.send_to(&sent, ("127.0.0.1", at.port())).expect("sent");
            batch.clear();
            poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.expect("read");
            let arrival = batch.arrival(0);
            assert_eq!(arrival.datagrams().collect::<Vec<_>>(), [&sent[..]]);
            outgoing.push(0, arrival.from, arrival.to);
            assert_eq!(outgoing.flush(&socket, &batch), 0);
            assert!(heard(&peer).0 == sent, "{length} bytes");
        }
    }
}

#[tokio::test]
async fn what_comes_joined_goes_on_joined_and_arrives_apart() {
    let (socket, at) = open("127.0.0.1:0");
    let lines = Lines::new(&socket).expect("a set");
    let (mut batch, mut outgoing, client, server) = (Batch::new(4), Outgoing::new(), peer(), peer());
    // It is of another socket: those of the client and the server are to hear what comes as it comes.
    let state = quinn_udp::UdpSocketState::new((&peer()).into()).expect("a state");
    if state.max_gso_segments() < 10 || state.gro_segments() < 10 {
        println!("skipped: the kernel joins nothing");
        return;
    }
    let sent: Vec<u8> = (0..950_usize).map(|at| (at / 100) as u8).collect();
    let transmit = quinn_udp::Transmit {
        destination: at,
        ecn: Some(quinn_udp::EcnCodepoint::Ect0),
        contents: &sent,
        segment_size: Some(100),
        src_ip: None,
    };
    state.try_send((&client).into(), &transmit).expect("sent");
    poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.expect("read");
    let arrival = batch.arrival(0);
    assert_eq!((arrival.count(), arrival.each, arrival.ecn), (10, 100, Some(quinn_udp::EcnCodepoint::Ect0)));
    let line = lines.open(server.local_addr().expect("an address"), LineId(1)).expect("a line");
    line.send(&lines, &arrival).expect("sent");
    outgoing.push(0, arrival.from, None);
    assert_eq!(outgoing.flush(&socket, &batch), 0);
    for part in sent.chunks(100) {
        assert_eq!(heard(&server).0, part);
        assert_eq!(heard(&client).0, part);
    }
    // A line that joins hears them as one again, with what the way has said of its load.
    line.join().expect("joined");
    state
        .try_send(
            (&server).into(),
            &quinn_udp::Transmit { destination: heard_from(&line, &server, &lines, &arrival), ..transmit },
        )
        .expect("sent");
    batch.clear();
    let places = line.receive(&lines, &mut batch, 2).expect("read");
    assert_eq!((places.len(), batch.arrival(0).count()), (1, 10));
    assert_eq!(batch.arrival(0).ecn, Some(quinn_udp::EcnCodepoint::Ect0));
}

/// From where a line speaks.
fn heard_from(line: &Line, server: &UdpSocket, lines: &Lines, arrival: &Arrival<'_>) -> SocketAddr {
    line.send(lines, arrival).expect("sent");
    let places: Vec<SocketAddr> = (0..arrival.count()).map(|_| heard(server).1).collect();
    *places.last().expect("a datagram")
}

#[tokio::test]
async fn one_client_that_cannot_be_sent_to_takes_nothing_from_others() {
    let (socket, at) = open("127.0.0.1:0");
    let (mut batch, mut outgoing, peer) = (Batch::new(1), Outgoing::new(), peer());
    peer.send_to(b"hello", at).expect("sent");
    poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.expect("read");
    // Nobody is at port 0.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let me = peer.local_addr().expect("an address");
    [nobody, me, nobody, me].into_iter().for_each(|to| outgoing.push(0, to, None));
    assert_eq!(outgoing.flush(&socket, &batch), 2);
    assert_eq!([heard(&peer).0, heard(&peer).0], [b"hello", b"hello"]);
}

#[tokio::test]
async fn lines_are_told_apart_and_hear_of_servers_that_are_not_there() {
    let (socket, at) = open("127.0.0.1:0");
    let mut lines = Lines::new(&socket).expect("a set");
    let (mut batch, client, servers) = (Batch::new(8), peer(), [peer(), peer()]);
    client.send_to(b"hello", at).expect("sent");
    poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.expect("read");
    let line = |number: usize| {
        let to = servers[number].local_addr().expect("an address");
        let line = lines.open(to, LineId(number as u64)).expect("a line");
        line.join().expect("joined");
        line.send(&lines, &batch.arrival(0)).expect("sent");
        line
    };
    let opened = [line(0), line(1)];
    for (number, server) in servers.iter().enumerate() {
        let (text, from) = heard(server);
        assert_eq!(text, b"hello");
        assert!((0..5).all(|_| server.send_to(&[number as u8], from).is_ok()));
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        poll_fn(|cx| lines.poll_told(cx, &mut told)).await.expect("news");
    }
    told.sort_unstable_by_key(|id| id.0);
    assert_eq!(told, [LineId(0), LineId(1)]);
    for (number, line) in opened.iter().enumerate() {
        batch.clear();
        let places = line.receive(&lines, &mut batch, 8).expect("read");
        let bytes: Vec<u8> = places.flat_map(|place| batch.arrival(place).bytes.to_vec()).collect();
        assert_eq!(bytes, [number as u8; 5]);
        assert!(line.receive(&lines, &mut batch, 2).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    }
    drop(servers);
    batch.clear();
    client.send_to(b"hello", at).expect("sent");
    poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.expect("read");
    opened[0].send(&lines, &batch.arrival(0)).expect("sent to nobody");
    told.clear();
    poll_fn(|cx| lines.poll_told(cx, &mut told)).await.expect("news");
    assert_eq!(told, [LineId(0)]);
    assert!(opened[0].receive(&lines, &mut batch, 2).is_err_and(|error| is_verdict(&error)));
}

#[test]
fn an_address_of_another_is_not_shared() {
    let other = peer();
    assert!(probe(other.local_addr().expect("an address"), Terms::default()).is_err());
    let (at, bound) = bind("127.0.0.1:0".parse().expect("an address"), Terms::default(), 3).expect("bound");
    assert!(bound.len() == 3 && bound.iter().all(|one| one.0.local_addr().is_ok_and(|is| is == at)));
}
