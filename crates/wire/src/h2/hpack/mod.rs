//! HPACK (RFC 7541): heads as blocks of indices and literals.
//!
//! - [`table`]: the static table, and the dynamic one of a decoder
//! - [`huffman`]: the code that strings may be in
//! - [`decode`]: blocks to field lines, with all of the format
//! - [`encode`]: field lines to blocks, with the part of it that needs no memory
//!
//! We encode by the static table and literals alone: blocks can then be made in any order, no peer can make us keep a
//! table, and nothing that one stream sends can be guessed from the length of another's (RFC 7541 section 7.1).

pub mod decode;
pub mod encode;
pub mod huffman;
pub mod table;
