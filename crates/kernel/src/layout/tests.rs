use proptest::prelude::*;

use super::*;
use crate::Server;

fn some_service(servers: usize) -> Service {
    Service {
        name: "web".into(),
        address: "198.18.0.1:80".parse().expect("an address"),
        transport: Transport::Udp,
        mode: Mode::Full,
        sources: vec!["198.18.1.1".parse().expect("an address"), "198.18.1.2".parse().expect("an address")],
        servers: (0..servers)
            .map(|number| Server {
                name: number.to_string().into(),
                address: SocketAddr::from(([198, 18, 2, 1], 1000 + number as u16)),
                weight: 1,
            })
            .collect(),
        idle: Duration::from_secs(60),
    }
}

/// The numbers that `bpf/layout.h` says.
#[test]
fn the_program_has_the_same_bounds() {
    let header = include_str!("../../../../bpf/layout.h");
    let says = |name: &str| -> usize {
        let line = header.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
        line.and_then(|line| line.trim_end_matches(',').parse().ok()).unwrap_or_else(|| panic!("no number: {name}"))
    };
    assert_eq!(
        ["PLACES", "MOST_SOURCES", "MOST_SERVICES", "MOST_BACKENDS", "MOST_STRAYS"].map(says),
        [PLACES, Service::SOURCES, Service::MOST, Service::SERVERS, Service::PAIRS]
    );
    let (_, reasons) = header.split_once("enum drop {").expect("the reasons");
    let reasons: Vec<String> = reasons
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        .map(str::to_ascii_lowercase)
        .collect();
    let mut wanted: Vec<&str> = crate::Dropped::REASONS.to_vec();
    wanted.push("drops");
    assert_eq!(reasons, wanted);
}

/// Tables that are pinned outlive the program that made them: one with another layout must look for them elsewhere. Whoever changes
/// the header counts [`VERSION`] up, and then notes the header's new hash here.
#[test]
fn another_layout_has_another_number() {
    let header = include_str!("../../../../bpf/layout.h");
    // Comments and blanks are no part of it.
    let mut code = String::new();
    for piece in header.split("/*") {
        code.extend(piece.split_once("*/").map_or(piece, |(_, code)| code).split_whitespace());
    }
    assert_eq!((VERSION, base::xxh64::hash(0, code.as_bytes())), ("v1", 14_831_984_504_073_534_666));
}

#[test]
fn a_service_stands_where_the_program_looks() {
    let service = some_service(2);
    let range = Range { first: 1024, count: 31_744, is_shared: false };
    let mut value = super::service(&service, range, &[0, 1, 1], &[300, 65_535]);
    assert_eq!(value[..4], [0; 4]);
    set_generation(&mut value, 7);
    assert_eq!(value.len(), 131_360);
    assert_eq!(value[..24], {
        let words: Vec<u8> = [7_u32, 60, 0, 2].into_iter().flat_map(u32::to_ne_bytes).collect();
        [words, 1024_u16.to_ne_bytes().to_vec(), 31_744_u16.to_ne_bytes().to_vec(), vec![0; 4]].concat()
    });
    assert_eq!(value[24..40], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 18, 1, 1]);
    assert_eq!(value[40..56], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 18, 1, 2]);
    assert!(value[56..280].iter().all(|byte| *byte == 0));
    // The number 65,535 stands for nobody, and so does every place that is left.
    let cells = value[280..280 + 2 * PLACES].as_chunks::<2>().0;
    assert_eq!(cells[0], 300_u16.to_ne_bytes());
    assert!(cells[1..].iter().all(|cell| *cell == NOBODY.to_ne_bytes()));
}

proptest! {
    #[test]
    fn a_backend_reads_as_it_was_written(v6 in any::<bool>(), bits in any::<u128>(), port in 1..=u16::MAX, tcp in any::<bool>()) {
        let ip = if v6 { IpAddr::from(bits.to_be_bytes()) } else { IpAddr::from((bits as u32).to_be_bytes()) };
        let server = SocketAddr::new(ip.to_canonical(), port);
        let key = service_key(server, if tcp { Transport::Tcp } else { Transport::Udp });
        prop_assert_eq!(read_backend(&backend(&key, server, tcp)), Some((key, server)));
        prop_assert_eq!(read_backend(&[0; 40]), None);
    }

    /// Whatever the table holds is read without a panic, and nothing outlives its service's bound.
    #[test]
    fn any_entry_can_be_judged(key in prop::collection::vec(any::<u8>(), 40), value in prop::collection::vec(any::<u8>(), 64)) {
        let (key, value): (FlowKey, FlowValue) = (key.try_into().expect("forty"), value.try_into().expect("sixty-four"));
        let flow = Flow::read(&key, &value);
        prop_assert!(!flow.is_over(flow.seen));
        prop_assert!(flow.is_over(flow.seen + flow.idle + Duration::from_nanos(1)));
    }
}
