//! The one way out: every outbound connection of the process is made here.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use crate::Address;
use crate::stream::Stream;

/// Connects to a server. The caller bounds the time.
///
/// # Errors
/// What the kernel says.
pub async fn dial(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
    }
}

/// Whether a connect failed for want of descriptors or ports of ours, which says nothing of the server.
pub fn is_shortage(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EADDRNOTAVAIL))
}
