//! Listening sockets: one a worker on one address, so that the kernel spreads connections and no lock is shared.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::Address;
use crate::stream::Stream;

/// A listening socket that belongs to no runtime yet.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix stream socket.
    Unix(StdUnixListener),
}

/// A listening socket of a worker.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix stream socket.
    Unix(UnixListener),
}

/// Pending connections that the kernel keeps for one socket.
const BACKLOG: i32 = 4096;

/// Binds `count` sockets to one address. Port 0 becomes one port for all of them; the answer names it.
///
/// # Errors
/// What the kernel says; nothing stays bound then.
pub fn bind(address: &Address, mode: Option<u32>, count: usize) -> io::Result<(Address, Vec<Bound>)> {
    match address {
        Address::Tcp(wanted) => {
            let mut sockets = vec![tcp(*wanted)?];
            let actual = sockets[0].local_addr()?;
            for _ in 1..count {
                sockets.push(tcp(actual)?);
            }
            Ok((Address::Tcp(actual), sockets.into_iter().map(Bound::Tcp).collect()))
        }
        Address::Unix(path) => {
            let first = unix(path, mode)?;
            let mut sockets = Vec::with_capacity(count);
            for _ in 1..count {
                sockets.push(Bound::Unix(first.try_clone()?));
            }
            sockets.push(Bound::Unix(first));
            Ok((address.clone(), sockets))
        }
    }
}

/// Whether nobody listens at an address yet. Our own sockets share an address with one another, and would share it with
/// those of another process as well, which is never what its operator meant.
///
/// # Errors
/// Somebody does, or the address is not ours to bind.
pub fn probe(address: &Address) -> io::Result<()> {
    let Address::Tcp(address) = address else { return Ok(()) };
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.bind(&(*address).into())
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if let SocketAddr::V6(v6) = address {
        // `:PORT` means both families; an address that was written out means itself.
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: one system call fewer for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path, mode: Option<u32>) -> io::Result<StdUnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    // What is left there is a socket that nobody serves; anything else is not ours to remove.
    if fs::symlink_metadata(path).is_ok_and(|there| {
        use std::os::unix::fs::FileTypeExt as _;
        there.file_type().is_socket()
    }) {
        fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Bound {
    /// Registers the socket with the runtime of the thread that calls.
    ///
    /// # Errors
    /// The runtime could not register it.
    pub fn attach(self) -> io::Result<Listening> {
        Ok(match self {
            Bound::Tcp(listener) => Listening::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Listening::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// Another handle of the same socket.
    ///
    /// # Errors
    /// We are out of descriptors.
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(match self {
            Bound::Tcp(listener) => Bound::Tcp(listener.try_clone()?),
            Bound::Unix(listener) => Bound::Unix(listener.try_clone()?),
        })
    }
}

impl Listening {
    /// Accepts one connection; the peer's address is absent for Unix sockets.
    ///
    /// # Errors
    /// What the kernel says, `EMFILE` among it.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Option<SocketAddr>)>> {
        match self {
            Listening::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream::Tcp(stream), Some(peer)))
            }
            Listening::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }
}
