//! Lists of sites: what they block, what people are told, and how they change.

mod changes;
mod faults;
pub(crate) mod pages;
mod tunnels;

use std::path::Path;

use serde_json::Value;
use testkit::{Folder, Start, Tidegate};

use super::{OPEN, ask};
use crate::support::{BINARY, config};

/// A proxy whose lists are these files, each with its form, and whose first route denies what is on any of them.
fn listed(folder: &Folder, lists: &[(&str, &str, &str)]) -> Tidegate {
    Start::of(BINARY).file(&folder.write("t.yaml", &text(folder.path(), lists)))
}

fn text(folder: &Path, lists: &[(&str, &str, &str)]) -> String {
    let names: Vec<&str> = lists.iter().map(|(name, ..)| *name).collect();
    let routes = format!(
        "routes: [{{ match: {{ url: {{ list: [{}] }} }}, deny: {{ status: 403, reason: 'not <here>' }} }}, {{ to: origin }}]",
        names.join(", ")
    );
    let mut text = config(&OPEN.replace("@MORE", &routes), &[]) + "lists:\n";
    for (name, form, content) in lists {
        std::fs::write(folder.join(format!("{name}.txt")), content).expect("a written list");
        text += &format!("  {name}: {{ file: {name}.txt, format: {form} }}\n");
    }
    text
}

/// What the API says of lists.
fn shown(tidegate: &Tidegate) -> Value {
    serde_json::from_slice(&tidegate.admin("/api/lists").body).expect("JSON")
}

fn status(tidegate: &Tidegate, target: &str) -> u16 {
    ask(tidegate, target).status
}
