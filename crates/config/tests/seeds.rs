//! The seeds of the fuzz target and the examples, run as plain tests: the same function, without libFuzzer.

use std::path::Path;

mod shared;

#[test]
fn seeds_hold() {
    for folder in ["fuzz/seeds/config", "examples"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let seeds: Vec<_> = std::fs::read_dir(&folder).expect("a folder of seeds").collect();
        assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
        for seed in seeds {
            shared::document(&std::fs::read(seed.expect("a seed").path()).expect("a seed that can be read"));
        }
    }
}
