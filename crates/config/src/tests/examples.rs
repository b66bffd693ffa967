//! The examples are the contract.

use super::{examples, said};
use crate::{LoadOptions, Loaded, Mistakes, load};

fn example(name: &str) -> Result<Loaded, Mistakes> {
    load(&LoadOptions { file: examples().join(name), sets: Vec::new(), env: &|_| None })
}

/// What is wrong with an example, with the file's name alone.
fn wrong(name: &str) -> Vec<String> {
    let said = said(example(name));
    said.iter().map(|message| message.replace(&format!("{}/", examples().display()), "")).collect()
}

#[test]
fn what_works_loads() {
    for name in ["basic.yaml", "canary.yaml", "reverse.yaml", "sites.yaml", "l4.yaml", "nat.yaml"] {
        assert_eq!(wrong(name), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn all_others_only_answer_planned() {
    for entry in std::fs::read_dir(examples()).expect("the examples") {
        let name = entry.expect("an example").file_name().into_string().expect("a name");
        for message in wrong(&name) {
            assert!(message.contains("is planned and does not work yet in this version"), "{name}: {message}");
        }
    }
}
