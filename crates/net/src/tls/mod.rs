//! TLS on a stream, by rustls: its sessions, its certificates, its judgement of both. Here stands only how its bytes reach the
//! socket, and which certificate a name is shown.
//!
//! - [`alpn`]: the protocols that are agreed on in a handshake
//! - [`identity`]: a certificate chain with its key
//! - [`authority`]: certificates like those of servers, for clients that trust it
//! - [`spoken`]: versions and algorithms
//! - [`terminate`]: our side of connections from clients
//! - [`originate`]: our side of connections to servers
//! - [`trust`]: whose servers are believed
//! - [`doubt`]: why one side does not believe the other
//! - [`proof`]: certificates that only an authority sees that asks for a proof
//! - [`subject`]: whom a client's certificate is for
//! - [`secured`]: a session on its socket
//! - `engine`: content out of ciphertext and the other way round, by the library or by
//! - `records`: those of TLS 1.3, once hands are shaken

pub mod alpn;
pub mod authority;
mod der;
pub mod doubt;
#[cfg(any(test, fuzzing))]
pub mod ends;
mod engine;
pub mod identity;
pub mod originate;
pub mod proof;
mod records;
pub mod secured;
pub mod spoken;
pub mod subject;
pub mod terminate;
#[cfg(test)]
mod tests;
pub mod trust;
mod validity;

pub use alpn::Alpn;
pub use authority::Authority;
pub use identity::{BadIdentity, Identity};
pub use originate::Originator;
pub use proof::Proofs;
pub use secured::{Agreed, Secured};
pub use spoken::{Oldest, Spoken};
pub use subject::Subject;
pub use terminate::{ClientCert, Terminator, Tickets, Unshaken};
pub use trust::Trust;

pub(crate) use spoken::provider;
