//! The one way out: every outbound connection of the process is made here.

use std::future::poll_fn;
use std::io;

use tokio::net::{TcpStream, UnixStream};

use crate::Address;
use crate::quic;
use crate::stream::Stream;
use crate::tls::Originator;

/// TLS on the way to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Security {
    /// Whom we believe.
    pub originator: Originator,
    /// The name that the server's certificate must be for.
    pub name: Box<str>,
}

/// Connects to a server, says what is to be said before anything else, and makes the connection a secured one if that is wanted. The
/// caller bounds the time.
///
/// # Errors
/// What the kernel says; `InvalidData` if it is TLS that failed.
pub async fn dial(address: &Address, prologue: &[u8], security: Option<&Security>) -> io::Result<Stream> {
    let mut stream = match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
        Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix)?,
    };
    let mut said = 0;
    while said < prologue.len() {
        said += poll_fn(|cx| stream.poll_write(cx, &prologue[said..])).await?;
    }
    match security {
        None => Ok(stream),
        // Boxed: most connections are plain, and their futures should stay small.
        Some(security) => Box::pin(security.originator.connect(stream, &security.name)).await,
    }
}

/// The same over QUIC. Whoever gets the connection polls what makes it go, from then on. The caller bounds the time.
///
/// # Errors
/// What the kernel says of the way there; `InvalidData` if it is TLS that failed; `Unsupported` if what is there has no port, or
/// nothing was settled for QUIC.
pub async fn dial_quic(address: &Address, security: Option<&Security>) -> io::Result<(quic::Connection, quic::Driver)> {
    let client = security.and_then(|security| Some((security.originator.quic()?, &security.name)));
    let (Address::Tcp(to), Some((client, name))) = (address, client) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let (connection, mut driver) = client.begin(*to, name)?;
    let mut room = vec![0; quic::LEAST_ROOM];
    poll_fn(|cx| {
        let _ = driver.poll(cx, &mut room);
        connection.poll_established(cx, false)
    })
    .await?;
    Ok((connection, driver))
}

/// Whether a connect failed for want of descriptors or ports of ours, which says nothing of the server.
pub fn is_shortage(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EADDRNOTAVAIL))
}
