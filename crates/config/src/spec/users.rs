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

/// By a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerAuth {
    /// The file of tokens.
    pub tokens: NamedFile,
    /// What clients are told that it is for.
    pub realm: String,
    /// Who belongs to which group.
    pub groups: Groups,
    /// Whether servers see the token, too.
    pub forward: bool,
}

/// By a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertAuth {
    /// What of it is the name of the user.
    pub name: CertName,
    /// Who belongs to which group.
    pub groups: Groups,
}

/// What of a certificate is the name of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertName {
    /// The common name of its subject.
    CommonName,
    /// The first of its DNS names.
    Dns,
    /// The first of its addresses of mail.
    Email,
    /// The first of its URIs.
    Uri,
}

/// Whether a text can be a group's name: several stand in one text with commas between them.
pub fn is_group(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control())
}
