//! Servers that are proxies: how they are asked for others, and who we say that we are.

use std::fmt;

use wire::parent;

/// How a proxy is asked for other servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// By HTTP: for answers, and by CONNECT for tunnels.
    Http(Option<Credentials>),
    /// By SOCKS 5, for a connection each.
    Socks5(Option<Credentials>),
}

/// A name and a password, which are shown nowhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    username: Box<str>,
    password: Box<str>,
    basic: Box<[u8]>,
}

impl Credentials {
    /// A name and a password, each of 1 to 255 bytes.
    pub fn new(username: &str, password: &str) -> Credentials {
        let basic = parent::Credentials { username, password }.basic().into();
        Credentials { username: username.into(), password: password.into(), basic }
    }

    /// The value of `Proxy-Authorization`.
    pub fn basic(&self) -> &[u8] {
        &self.basic
    }

    pub(crate) fn said(&self) -> parent::Credentials<'_> {
        parent::Credentials { username: &self.username, password: &self.password }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}
