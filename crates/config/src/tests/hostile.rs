//! Whatever stands in a file, loading it ends, and without a panic.

use proptest::prelude::*;

use super::{load, said};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends(text in "\\PC{0,200}") {
        let _ = said(load(&text));
    }

    #[test]
    fn any_yaml_ends(text in "[a-z:\\-\\[\\]{}&*!|>'\"#%@, \n\t~$0-9]{0,200}") {
        let _ = said(load(&text));
    }

    #[test]
    fn any_value_in_any_place_ends(value in "[a-z0-9:/.*~$%{}\\[\\]()-]{0,12}", place in 0..WORDS.len()) {
        let value = serde_json::Value::from(value).to_string();
        let _ = said(load(&WORDS[place].replace("VALUE", &value)));
    }

    #[test]
    fn a_changed_example_ends(at in 0usize..4000, with in "[ -~\n]{0,3}") {
        let mut text: Vec<char> = include_str!("../../../../examples/reverse.yaml").chars().collect();
        let at = at.min(text.len() - 1);
        text.splice(at..at + 1, with.chars());
        let _ = said(load(&text.into_iter().collect::<String>()));
    }
}

const WORDS: [&str; 8] = [
    "listeners: {a: {bind: VALUE, to: VALUE}}",
    "listeners: {a: {bind: ':1', routes: [{match: {path: VALUE, host: VALUE}, to: 'h:1'}]}}",
    "listeners: {a: {bind: ':1', redirect: VALUE}}",
    "listeners: {a: {bind: ':1', use: [{headers: {request: {set: {x: VALUE}}}}], deny: VALUE}}",
    "listeners: {a: {bind: ':1', to: p, timeouts: {total: VALUE}, limits: {request_head: VALUE}}}\npools: {p: VALUE}",
    "listeners: {a: {bind: ':1', routes: [{match: {body: {json: {VALUE: VALUE}}}, split: [{to: p, share: VALUE}]}]}}",
    "sites: {a: {hosts: VALUE, listeners: VALUE}}\nadmin: VALUE\naccess_log: VALUE",
    "dns: {servers: VALUE, hosts: {VALUE: VALUE}}\nshutdown: {drain: VALUE}",
];
