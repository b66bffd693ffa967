//! Who may know whom, and who may touch the system.

use std::collections::BTreeMap;
use std::fs;

use super::{read, root};

/// What each crate may import of the house. It is the drawing in ARCHITECTURE.md, with its transitive arrows.
const ARROWS: [(&str, &[&str]); 11] = [
    ("base", &[]),
    ("wire", &["base"]),
    ("net", &["base", "wire"]),
    ("http", &["base", "wire", "net"]),
    ("observe", &["base", "wire"]),
    ("proxy", &["base", "wire", "net", "http", "observe"]),
    ("config", &["base", "wire"]),
    ("kernel", &["base"]),
    ("control", &["base", "wire", "net", "http", "observe", "proxy", "config", "kernel"]),
    ("tidegate", &["base", "config", "control"]),
    ("testkit", &[]),
];

/// Packages that only these crates may use.
const KEPT_TO: [(&str, &[&str]); 16] = [
    ("aya", &["kernel"]),
    ("aws-lc-rs", &["net"]),
    ("tokio", &["net", "proxy", "control", "testkit"]),
    ("socket2", &["net"]),
    ("hickory-resolver", &["net"]),
    ("rustls", &["net", "testkit"]),
    ("webpki", &["net"]),
    ("rcgen", &["net", "control", "testkit"]),
    ("x509-parser", &["net"]),
    ("nix", &["net", "testkit"]),
    ("rustix", &["net", "observe", "control", "kernel", "testkit"]),
    ("httparse", &["wire"]),
    ("saphyr-parser", &["config"]),
    ("prometheus", &["observe"]),
    ("clap", &["tidegate"]),
    ("mimalloc", &["tidegate"]),
];

/// The names under one heading of a manifest.
fn names_under(manifest: &str, heading: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| line.trim() != heading).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The dependencies of every crate: not those of its tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let folders = fs::read_dir(root().join("crates")).expect("a folder");
    let names = folders.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names
        .map(|name| (name.clone(), names_under(&read(format!("crates/{name}/Cargo.toml")), "[dependencies]")))
        .collect()
}

#[test]
fn crates_know_only_those_below_them() {
    let known = BTreeMap::from(ARROWS);
    for (name, uses) in dependencies() {
        let allowed = known.get(name.as_str()).unwrap_or_else(|| panic!("crate `{name}` has no place in ARROWS"));
        for used in uses.iter().filter(|used| known.contains_key(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "`{name}` may not import `{used}`: see ARCHITECTURE.md");
        }
    }
}

#[test]
fn dependencies_stand_where_this_test_looks() {
    for name in dependencies().keys() {
        let manifest = read(format!("crates/{name}/Cargo.toml"));
        let headings = manifest.lines().filter(|line| line.starts_with('[') && line.contains("dependencies"));
        let odd: Vec<&str> = headings.filter(|line| !["[dependencies]", "[dev-dependencies]"].contains(line)).collect();
        assert!(odd.is_empty(), "crate `{name}` has dependencies that no test sees: {odd:?}");
    }
}

#[test]
fn what_touches_the_system_stays_where_it_is() {
    let (kept, all) = (BTreeMap::from(KEPT_TO), dependencies());
    for (name, uses) in &all {
        for used in uses {
            if let Some(allowed) = kept.get(used.as_str()) {
                assert!(allowed.contains(&name.as_str()), "`{name}` may not use `{used}`");
            }
        }
    }
    for (package, allowed) in KEPT_TO {
        for name in allowed {
            assert!(
                all[*name].iter().any(|used| used == package),
                "`{name}` no longer uses `{package}`: correct KEPT_TO"
            );
        }
    }
}

#[test]
fn every_crate_lives_by_the_workspaces_lints_and_none_is_unsafe() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for name in dependencies().keys() {
        let lints = names_under(&read(format!("crates/{name}/Cargo.toml")), "[lints]");
        assert_eq!(lints, ["workspace"], "crate `{name}`");
    }
}

#[test]
fn every_dependency_is_explained() {
    let page = read("docs/dependencies.md");
    for name in names_under(&read("Cargo.toml"), "[workspace.dependencies]") {
        let ours = ARROWS.iter().any(|(known, _)| *known == name);
        assert!(ours || page.contains(&format!("**{name}**")), "docs/dependencies.md does not say why `{name}`");
    }
}
