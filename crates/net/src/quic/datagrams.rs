//! Datagrams that a connection carries beside its streams (RFC 9221): what is lost of them is not sent again.

use bytes::Bytes;
use quinn_proto::SendDatagramError;

use super::Connection;

/// A datagram that has come.
#[derive(Debug)]
pub struct Datagram(Bytes);

/// Why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// One of the two takes none.
    Unwanted,
    /// It is longer than the path carries, now.
    TooLong,
}

impl Connection {
    /// The next datagram that has come; the owner is woken when there is one.
    pub fn datagram(&self) -> Option<Datagram> {
        self.0.state.borrow_mut().proto.datagrams().recv().map(Datagram)
    }

    /// Whether the peer takes datagrams.
    pub fn takes_datagrams(&self) -> bool {
        self.0.state.borrow_mut().proto.datagrams().max_size().is_some()
    }

    /// Sends a datagram, as soon as the path has room: older ones that wait for it may be lost.
    ///
    /// # Errors
    /// See [`Unsent`].
    pub fn send_datagram(&self, datagram: Vec<u8>) -> Result<(), Unsent> {
        let sent = self.0.state.borrow_mut().proto.datagrams().send(datagram.into(), true);
        match sent {
            Ok(()) => {
                self.0.mark();
                Ok(())
            }
            Err(SendDatagramError::TooLarge) => Err(Unsent::TooLong),
            // That it waits for room was not asked for.
            Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled | SendDatagramError::Blocked(_)) => {
                Err(Unsent::Unwanted)
            }
        }
    }
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
