//! QPACK (RFC 9204) without a dynamic table: field sections as indices into the static one, and literals.

pub mod decode;
pub mod encode;
mod table;

pub use decode::Decoder;
