//! An address of QUIC at the mercy of datagrams.

mod shared;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_datagrams_are_survived_and_who_comes_after_is_served(bytes in prop::collection::vec(any::<u8>(), 0..150)) {
        shared::datagrams(&bytes);
    }

    #[test]
    fn an_id_that_was_changed_or_made_up_is_nobodys(
        key in any::<[u8; 16]>(), generation in any::<u32>(), id in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let seal = tidegate_net::quic::ids::Seal::new(&key, generation).expect("a key");
        prop_assert_eq!(seal.open(&id), None);
    }
}

#[test]
fn seeds_hold() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/quic_datagrams");
    for seed in std::fs::read_dir(folder).expect("a folder of seeds") {
        shared::datagrams(&std::fs::read(seed.expect("a seed").path()).expect("a seed that can be read"));
    }
}
