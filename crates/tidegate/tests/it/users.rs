//! Who clients are: names and passwords, tokens and certificates, in front of servers of ours and of those that clients name.

pub(crate) mod basic;
pub(crate) mod forward;
pub(crate) mod groups;
pub(crate) mod others;
pub(crate) mod times;

use testkit::{Folder, Tidegate};

use crate::support::{Place, start};

/// Users of each form that is taken: `ann` is `sesame`, `bob` is `bob`, `cy` is `sha`, `slow` is `slow`.
pub(crate) const PEOPLE: &str = "\
# people
ann:$2y$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW
bob:$apr1$saltsalt$FVazyyazGsnnYsZQiB1oO.
cy:{SHA}2PRZAyDhNDqRW2OUFwZQqPNdaSY=
slow:$2y$08$abcdefghijklmnopqrstuuDhTyj/ncqnLTTRGGvUpBz0U8HJJSJ8u
";

/// A folder with files of users.
pub(crate) struct Files(pub(crate) Folder);

impl Files {
    pub(crate) fn new() -> Files {
        let folder = Folder::new();
        folder.write("people", PEOPLE);
        folder.write("groups", "staff: ann bob\nadmins: ann\n");
        Files(folder)
    }

    /// Starts the program by a configuration in which `@DIR` is this folder.
    pub(crate) fn start(&self, text: &str, servers: &[(&str, &dyn Place)]) -> Tidegate {
        start(&self.placed(text), servers)
    }

    pub(crate) fn placed(&self, text: &str) -> String {
        text.replace("@DIR", &self.0.path().display().to_string())
    }
}

/// The value of a field that shows this name and password.
pub(crate) fn basic(pair: &str) -> String {
    format!("Basic {}", testkit::base64(pair.as_bytes()))
}
