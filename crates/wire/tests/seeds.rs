//! The seeds of the fuzz targets, run as plain tests: the same functions, without libFuzzer.

use std::path::Path;

#[allow(dead_code, reason = "each test binary uses its part of what is shared")]
mod shared;

use shared::{first, h2, h3, invariants, list, peer, translated, web};

#[test]
fn seeds_hold() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 29] = [
        ("request", invariants::request),
        ("response", invariants::response),
        ("chunked", invariants::chunked_body),
        ("path", invariants::path),
        ("path", invariants::authority),
        ("forwarded", invariants::forwarding),
        ("h2_blocks", h2::blocks),
        ("h2_frames", h2::frames),
        ("h2_conversation", h2::conversation),
        ("h3_streams", h3::streams),
        ("grpc_web", web::transformed),
        ("h2_translated", translated::request),
        ("h2_peer_blocks", peer::blocks::blocks),
        ("h2_peer_blocks", peer::blocks::written),
        ("h2_peer_faults", peer::faults::broken_frames),
        ("h2_peer_talk", peer::talk::conversation),
        ("proxy_header", first::header),
        ("socks", first::socks),
        ("client_hello", first::hello),
        ("opening", first::opening),
        ("quic_header", first::quic_header),
        ("postgres_startup", first::startup),
        ("list_lines", list::lines),
        ("folded_text", list::text),
        ("mqtt_connect", first::connect),
        ("starttls", first::starttls),
        ("capsules", first::capsules),
        ("parent", first::parent),
        ("credentials", first::credentials),
    ];
    for (name, target) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
        let seeds: Vec<_> = std::fs::read_dir(folder).expect("a folder of seeds").collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            target(&std::fs::read(seed.expect("a seed").path()).expect("a seed that can be read"));
        }
    }
}
