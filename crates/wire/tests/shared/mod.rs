//! What the attack table, the property tests and the fuzz targets share: the invariants of every room of this crate,
//! and a second reader of HTTP/1 to disagree with.

pub(crate) mod first;
pub(crate) mod h2;
pub(crate) mod h3;
pub(crate) mod invariants;
pub(crate) mod list;
pub(crate) mod peer;
pub(crate) mod reference;
pub(crate) mod translated;
pub(crate) mod web;
