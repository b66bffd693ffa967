//! Signed requests (RFC 7515, as RFC 8555 section 6.2 wants them), and the signatures in them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::alg_id;
use serde_json::Value;

/// A signed request, opened.
pub(super) struct Opened {
    pub(super) protected: Value,
    /// Absent in a POST-as-GET.
    pub(super) payload: Option<Value>,
    text: String,
    signature: Vec<u8>,
}

impl Opened {
    pub(super) fn of(body: &[u8]) -> Opened {
        Opened::from(&serde_json::from_slice(body).expect("JSON"))
    }

    pub(super) fn from(whole: &Value) -> Opened {
        let part = |name: &str| whole[name].as_str().unwrap_or_else(|| panic!("a `{name}`: {whole}"));
        let (protected, payload) = (part("protected"), part("payload"));
        let json = |text: &str| serde_json::from_slice(&decoded(text)).expect("JSON");
        Opened {
            protected: json(protected),
            payload: (!payload.is_empty()).then(|| json(payload)),
            text: format!("{protected}.{payload}"),
            signature: decoded(part("signature")),
        }
    }

    /// Whether the holder of this key has signed it.
    pub(super) fn is_by(&self, jwk: &Value) -> bool {
        assert_eq!(self.protected["alg"], "ES256");
        let point = [vec![4], decoded(jwk["x"].as_str().expect("x")), decoded(jwk["y"].as_str().expect("y"))].concat();
        let (r, s) = self.signature.split_at(32);
        let numbers = [integer(r), integer(s)].concat();
        is_signed(&point, self.text.as_bytes(), &[&[0x30, numbers.len() as u8], &numbers[..]].concat())
    }

    /// Whether somebody who knows this secret has (HS256).
    pub(super) fn is_keyed_by(&self, secret: &[u8]) -> bool {
        assert_eq!(self.protected["alg"], "HS256");
        // RFC 2104.
        let padded =
            |with: u8| -> Vec<u8> { (0..64).map(|at| secret.get(at).copied().unwrap_or_default() ^ with).collect() };
        let inner = sha256(&[padded(0x36), self.text.as_bytes().to_vec()].concat());
        sha256(&[padded(0x5c), inner].concat()) == self.signature
    }
}

/// RFC 7638.
pub(super) fn thumbprint(jwk: &Value) -> String {
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
}

/// Whether an ECDSA signature in DER is right.
pub(super) fn is_signed(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let wanted = algorithms.iter().find(|algorithm| {
        algorithm.public_key_alg_id() == alg_id::ECDSA_P256 && algorithm.signature_alg_id() == alg_id::ECDSA_SHA256
    });
    wanted.expect("ECDSA").verify_signature(point, message, signature).is_ok()
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    // The hash of a suite: rustls lends no other.
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a suite");
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

pub(super) fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url without padding")
}

/// A positive number in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let sign: &[u8] = if bytes[from] >= 0x80 { &[0] } else { &[] };
    let content = [sign, &bytes[from..]].concat();
    [&[0x02, content.len() as u8], &content[..]].concat()
}
