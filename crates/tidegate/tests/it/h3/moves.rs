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
fn a_client_that_moves_is_found_by_the_kernel() {
    let (moves, handed_over) = moving(true);
    assert!(moves > 6.0, "{moves}");
    assert_eq!(handed_over, 0.0, "each came to its worker");
}

#[test]
fn a_client_that_moves_is_handed_over_where_the_kernel_does_not_know_it() {
    let (moves, handed_over) = moving(false);
    assert!(moves > 6.0, "{moves}");
    assert!(handed_over > 6.0, "three in four came to a worker that was not theirs: {handed_over}");
}

/// How often a client has moved that did it after each request, and how many of its datagrams came to workers that were not theirs.
fn moving(steered: bool) -> (f64, f64) {
    let (desk, server) = (Desk::new(), Server::http(|request| ok(&request.target)));
    let tidegate = desk.start(&four_workers(), &[("APP", &server)]);
    if !steered {
        testkit::unsteered::unsteer(tidegate.address("web").parse().expect("an address"));
    }
    let mut client = client(&desk, &tidegate);
    // Another port each time.
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
    assert_eq!((sum("tidegate_quic_datagrams_handed_over_lost_total"), sum("tidegate_quic_retries_total")), (0.0, 0.0));
    (sum("tidegate_quic_moves_total"), sum("tidegate_quic_datagrams_handed_over_total"))
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
