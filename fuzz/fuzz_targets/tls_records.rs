#![no_main]

use std::sync::OnceLock;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidegate_net::tls::ends;

/// What both ends are by: made once, since a certificate takes longer than a conversation.
static CONFIGS: OnceLock<(ClientConfig, ServerConfig)> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (client, server) = CONFIGS.get_or_init(configs);
    ends::conversation(ends::shaken(client.clone(), server.clone()), bytes);
});

fn configs() -> (ClientConfig, ServerConfig) {
    let issued = rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).expect("a key");
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key);
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("an authority");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (client, server.expect("a certificate with its key"))
}
