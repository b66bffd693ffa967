//! The algorithms of TLS that are spoken, by their registered names.

/// Which of the algorithms that are known are spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Algorithms {
    /// The cipher suites; absent is all that are known.
    pub suites: Option<Vec<&'static str>>,
    /// Whether the order of the suites counts more than a client's.
    pub prefers: bool,
    /// The groups of the key exchange, the preferred one first; absent is [`GROUPS`].
    pub groups: Option<Vec<&'static str>>,
}

/// A cipher suite: how IANA has it, and how OpenSSL and those who build on it say.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its registered name.
    pub name: &'static str,
    /// OpenSSL's name, where it is another.
    pub openssl: &'static str,
    /// Whether it belongs to TLS 1.3.
    pub is_newest: bool,
}

/// All that are known: with forward secrecy and AEAD.
pub const SUITES: [Suite; 9] = [
    suite("TLS_AES_256_GCM_SHA384", "", true),
    suite("TLS_AES_128_GCM_SHA256", "", true),
    suite("TLS_CHACHA20_POLY1305_SHA256", "", true),
    suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", false),
    suite("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", false),
    suite("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", false),
    suite("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", false),
    suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", false),
    suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", false),
];

/// The groups that are known; the first four are offered where nothing is said.
pub const GROUPS: [&str; 6] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "SecP256r1MLKEM768", "MLKEM1024"];

const fn suite(name: &'static str, openssl: &'static str, is_newest: bool) -> Suite {
    Suite { name, openssl, is_newest }
}
