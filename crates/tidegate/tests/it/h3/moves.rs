//! Clients whose address changes while they are connected: four workers share one UDP port, and the kernel chooses anew.

use std::collections::HashSet;

use testkit::h3::{Method, request};
use testkit::{Server, ok};

use super::{EDGE, client};
use crate::tls::Desk;

fn four_workers() -> String {
    format!("workers: 4\n{}", EDGE.replace("@MORE", ""))
}

#[test]
fn a_client_that_moves_goes_on() {
    let (desk, server) = (Desk::new(), Server::http(|request| ok(&request.target)));
    let tidegate = desk.start(&four_workers(), &[("APP", &server)]);
    let mut client = client(&desk, &tidegate);
    // Another port each time: three in four come to a worker that knows nothing of the connection.
    for number in 0..12 {
        let path = format!("/{number}");
        let whole = client.get("example.com", &path, &[]).expect("an answer");
        assert_eq!((whole.status, &whole.body[..]), (200, path.as_bytes()));
        client.quic().rebind();
    }
    let peers: HashSet<String> =
        (0..12).map(|n| tidegate.log_of(&format!("/{n}"))["peer"].as_str().expect("a peer").to_owned()).collect();
    assert!(peers.len() > 6, "the log says where it was: {peers:?}");
    let sum = |family: &str| tidegate.metric(family, &["listener=\"web\""]).iter().sum::<f64>();
    assert_eq!(sum("tidegate_connections_total"), 1.0);
    assert!(sum("tidegate_quic_moves_total") > 6.0, "{}", sum("tidegate_quic_moves_total"));
    assert!(
        sum("tidegate_quic_datagrams_handed_over_total") > 6.0,
        "three in four came to a worker that was not theirs"
    );
    assert_eq!((sum("tidegate_quic_datagrams_handed_over_lost_total"), sum("tidegate_quic_retries_total")), (0.0, 0.0));
}

#[test]
fn a_request_under_way_goes_on_when_its_client_moves() {
    let server = Server::http(|request| ok(vec![b'x'; request.body.len()]));
    let desk = Desk::new();
    let tidegate = desk.start(&four_workers(), &[("APP", &server)]);
    let mut client = client(&desk, &tidegate);
    let mut exchange = client.begin(request(Method::POST, "example.com", "/up", &[])).expect("a stream");
    let piece = vec![b'y'; 300_000];
    for _ in 0..8 {
        client.send(&mut exchange, &piece).expect("sent");
        client.quic().rebind();
    }
    client.finish(&mut exchange).expect("sent");
    let whole = client.whole(exchange).expect("an answer");
    assert_eq!((whole.status, whole.body.len()), (200, 2_400_000));
}

#[test]
fn connections_spread_over_the_workers() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = desk.start(&four_workers(), &[("APP", &server)]);
    let mut clients: Vec<_> = (0..24).map(|_| client(&desk, &tidegate)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.get("example.com", &format!("/{number}"), &[]).expect("an answer").status, 200);
    }
    // Each worker writes when it is its time.
    (0..clients.len()).for_each(|number| drop(tidegate.log_of(&format!("/{number}"))));
    // An id begins with what its worker has drawn.
    let workers: HashSet<String> =
        tidegate.log().iter().map(|line| line["id"].as_str().expect("an id")[..16].to_owned()).collect();
    assert!(workers.len() >= 3, "{workers:?}");
}
