//! Who the client is, and what servers are told of it (RFC 7239 and its older `X-Forwarded-*` kin).
