//! Who a client is, and how it shows that.

use super::NamedFile;

/// By a name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The file of users.
    pub users: NamedFile,
    /// What clients are told that it is for.
    pub realm: String,
    /// Who belongs to which group.
    pub groups: Groups,
    /// Whether servers see the credentials, too.
    pub forward: bool,
}

/// Who belongs to which group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// Nobody to any.
    #[default]
    None,
    /// As this file says.
    File(NamedFile),
    /// These users to these groups.
    Said(Vec<(String, Vec<String>)>),
}
