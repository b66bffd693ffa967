//! The examples are the contract.

use super::{examples, said};
use crate::{LoadOptions, Loaded, Mistakes, load};

fn example(name: &str) -> Result<Loaded, Mistakes> {
    load(&LoadOptions { file: examples().join(name), sets: Vec::new(), env: &|_| None })
}

fn places(name: &str) -> Vec<String> {
    let said = said(example(name));
    said.iter().map(|message| message.replace(&format!("{}/", examples().display()), "")).collect()
}

#[test]
fn what_works_loads() {
    for name in ["basic.yaml", "sites.yaml"] {
        assert_eq!(places(name), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn all_others_answer_planned() {
    for entry in std::fs::read_dir(examples()).expect("the examples") {
        let name = entry.expect("an example").file_name().into_string().expect("a name");
        println!("{name}");
        for message in places(&name) {
            println!("   {message}");
            assert!(message.contains("planned"), "{name}: {message}");
        }
    }
}
