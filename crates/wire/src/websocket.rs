//! The handshake of a WebSocket (RFC 6455 section 4), where one side speaks HTTP/1.1 and the other does not: an extended CONNECT
//! (RFC 8441, RFC 9220) has neither a key nor an answer to it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::head::Head;

/// The field with the key of the client.
pub const KEY: &[u8] = b"Sec-WebSocket-Key";
/// The field with the answer to it.
pub const ACCEPT: &[u8] = b"Sec-WebSocket-Accept";

/// A key out of random bytes.
pub fn key(random: [u8; 16]) -> Vec<u8> {
    STANDARD.encode(random).into_bytes()
}

/// What a server answers to a key: that it has read it (RFC 6455 section 4.2.2).
pub fn accept(key: &[u8]) -> Vec<u8> {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()).into_bytes()
}

/// Whether the response answers the key of the request.
pub fn is_answered(request: &Head, response: &Head) -> bool {
    request.value(KEY).is_some_and(|key| response.value(ACCEPT).is_some_and(|answer| answer == accept(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_holds() {
        // RFC 6455 section 1.3.
        assert_eq!(key(*b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_answer_to_another_key_is_none() {
        let (mut request, mut response) = (Head::default(), Head::default());
        request.start_request(b"GET", b"a", b"/", None);
        response.start_response(101);
        assert!(!is_answered(&request, &response));
        request.add(KEY, b"dGhlIHNhbXBsZSBub25jZQ==");
        response.add(ACCEPT, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_answered(&request, &response));
        request.set(KEY, b"another");
        assert!(!is_answered(&request, &response));
    }
}
