//! One document with many mistakes: all are said at once, in these words.

use super::{load, said};

#[test]
fn every_mistake_is_said_at_once() {
    let said = said(load(include_str!("wrong.yaml"))).join("\n") + "\n";
    assert_eq!(said, include_str!("wrong.txt"), "{said}");
}
