//! A connection, whatever its transport.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::tls::Alpn;
use crate::tls::secured::{Agreed, DetachedSecured, Secured};

/// A connected stream that is registered with the worker's runtime.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// TLS over one of the others.
    Secured(Box<Secured>),
}

/// A connected stream that belongs to no runtime: how connections travel from worker to worker.
#[derive(Debug)]
pub enum Detached {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A Unix stream socket.
    Unix(std::os::unix::net::UnixStream),
    /// TLS over one of the others.
    Secured(Box<DetachedSecured>),
}

/// How much of a stream is best written at once, with room for framing or records beside it. A packet holds less than 64 KiB on its way
/// through the kernel: a write of a little more is two, the second of a few bytes, and wakes its receiver twice. Writes of 64 KiB
/// have cost twice as much as those of 60 (docs/performance.md).
pub const PACKET: usize = 60 * 1024;

impl Stream {
    /// A stream on which nothing ever comes, and its other end, which must live as long: the client of a request that no
    /// client has sent.
    ///
    /// # Errors
    /// There are no descriptors.
    pub fn silent() -> io::Result<(Stream, OwnedFd)> {
        let (here, there) = std::os::unix::net::UnixStream::pair()?;
        here.set_nonblocking(true)?;
        Ok((Stream::Unix(UnixStream::from_std(here)?), there.into()))
    }

    /// Two ends of one.
    ///
    /// # Errors
    /// There are no descriptors.
    pub fn pair() -> io::Result<(Stream, Stream)> {
        UnixStream::pair().map(|(here, there)| (Stream::Unix(here), Stream::Unix(there)))
    }

    /// Reads what is there, without waiting for more. Zero bytes are the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Stream::Secured(stream) = self {
            return stream.poll_read(cx, into);
        }
        loop {
            ready!(self.poll_read_ready(cx))?;
            match self.receive(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Stream::Secured(stream) = self {
            return stream.poll_write(cx, bytes);
        }
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Receives what is there for the socket itself.
    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len();
        self.pass(Interest::READABLE, most, || Ok(recv(self.as_fd(), &mut *into, RecvFlags::empty())?.0))
    }

    /// Gives the socket itself as much as it takes.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.pass(Interest::WRITABLE, bytes.len(), || send(self.as_fd(), bytes, SendFlags::NOSIGNAL))
    }

    /// Moves bytes, `most` of them if it can be. Whatever was less has emptied the socket's buffer, or filled it: its readiness is
    /// taken back without asking the kernel once more. The call is made without the C library, which would have each be a point at which
    /// threads can be cancelled.
    fn pass(
        &self,
        interest: Interest,
        most: usize,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        let mut passed = 0;
        let done = self.try_io(interest, || {
            passed = retry_on_intr(&mut call)?;
            if (1..most).contains(&passed) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(passed) }
        });
        if passed > 0 { Ok(passed) } else { done }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            written += poll_fn(|cx| self.poll_write(cx, &bytes[written..])).await?;
        }
        Ok(())
    }

    /// Ready when something is to be read: bytes, the end, or an error. Costs no system call.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_read_ready(cx),
            Stream::Unix(stream) => stream.poll_read_ready(cx),
            Stream::Secured(stream) => stream.socket().poll_read_ready(cx),
        }
    }

    /// Ready when the socket takes bytes.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
            Stream::Secured(stream) => stream.socket().poll_write_ready(cx),
        }
    }

    /// Runs a system call on the socket; a `WouldBlock` takes its readiness back.
    ///
    /// # Errors
    /// What the call says.
    pub fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Stream::Tcp(stream) => stream.try_io(interest, call),
            Stream::Unix(stream) => stream.try_io(interest, call),
            Stream::Secured(stream) => stream.socket().try_io(interest, call),
        }
    }

    /// What a read would find; pending while the connection is open and silent.
    ///
    /// The runtime may remember bytes that are read already (what goes through a pipe leaves it so): the socket itself is
    /// asked then, and what is remembered put right. A task that has used up its turn is told so all the same: to the
    /// runtime's fairness everything is pending, and a connection that has ended would look silent.
    pub fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<Peek> {
        if let Stream::Secured(stream) = self {
            return pin!(tokio::task::unconstrained(poll_fn(|cx| stream.poll_peek(cx)))).poll(cx);
        }
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        loop {
            let told = pin!(tokio::task::unconstrained(poll_fn(|cx| self.poll_read_ready(cx)))).poll(cx);
            if ready!(told).is_err() {
                return Poll::Ready(Peek::Broken);
            }
            match self.try_io(Interest::READABLE, || Ok(recv(self.as_fd(), &mut byte[..], flags)?)) {
                Ok((0, _)) => return Poll::Ready(Peek::End),
                Ok(_) => return Poll::Ready(Peek::Bytes),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Poll::Ready(Peek::Broken),
            }
        }
    }

    /// Our end of it, if it has an address.
    pub fn local(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(self.as_fd()).ok().and_then(|address| SocketAddr::try_from(address).ok())
    }

    /// Where its client has opened it to, if the system's own rules for packets have written another address in its place.
    pub fn opened_to(&self) -> Option<SocketAddr> {
        match self.local()?.ip().to_canonical() {
            IpAddr::V4(_) => ip_original_dst(self.as_fd()).ok().map(SocketAddr::V4),
            IpAddr::V6(_) => ipv6_original_dst(self.as_fd()).ok().map(SocketAddr::V6),
        }
    }

    /// Reads what was looked at; answers whether it was there, as it should be.
    pub fn take(&mut self, cx: &mut Context<'_>, mut into: &mut [u8]) -> bool {
        while !into.is_empty() {
            match self.poll_read(cx, into) {
                Poll::Ready(Ok(count @ 1..)) => into = &mut into[count..],
                _ => return false,
            }
        }
        true
    }

    /// Looks at what waits to be read, without reading it: ready when it is more than `beyond` bytes, or when no more will come.
    /// Streams that are secured show nothing.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_look(&self, cx: &mut Context<'_>, into: &mut [u8], beyond: usize) -> Poll<io::Result<usize>> {
        if !self.is_plain() {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut seen = 0;
        for again in [false, true] {
            ready!(self.poll_read_ready(cx))?;
            let looked = self.try_io(Interest::READABLE, || {
                seen = recv(self.as_fd(), &mut *into, flags)?.0;
                if seen > beyond || seen == into.len() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            match looked {
                Ok(()) => break,
                // Readiness was taken back, and is there all the same: it is that of an end.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && again => break,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(seen))
    }

    /// Whether bytes go to the socket as they are, so that they may go through a pipe.
    pub fn is_plain(&self) -> bool {
        !matches!(self, Stream::Secured(_))
    }

    /// What TLS has agreed on, if there is any.
    pub fn agreed(&self) -> Option<Agreed> {
        match self {
            Stream::Secured(stream) => Some(stream.agreed()),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// The protocol that was agreed on with TLS, if there is any.
    pub fn alpn(&self) -> Option<Alpn> {
        match self {
            Stream::Secured(stream) => stream.alpn(),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// Says that the connection ends here, where a protocol wants that said; ready when the socket has it.
    pub fn poll_farewell(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Secured(stream) => stream.poll_farewell(cx),
            Stream::Tcp(_) | Stream::Unix(_) => Poll::Ready(()),
        }
    }

    /// Says that nothing more will be written.
    pub fn shutdown_write(&self) {
        if let Stream::Secured(stream) = self {
            return stream.shutdown_write();
        }
        // The peer may have reset the connection already: then there is nothing left to say.
        let _ = rustix::net::shutdown(self.as_fd(), rustix::net::Shutdown::Write);
    }

    /// Makes the coming close a reset, so that the peer cannot take what it has for the whole.
    pub fn reset_on_close(&self) {
        if let Stream::Secured(stream) = self {
            return stream.reset_on_close();
        }
        if let Stream::Tcp(stream) = self {
            // On failure the close is a plain one, which the framing still shows to be early.
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Takes the stream out of this worker's runtime.
    ///
    /// # Errors
    /// The runtime could not deregister it.
    pub fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Stream::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Detached::Unix(stream.into_std()?),
            Stream::Secured(stream) => Detached::Secured(Box::new(stream.detach()?)),
        })
    }
}

impl Detached {
    /// Registers the stream with the runtime of the thread that calls.
    ///
    /// # Errors
    /// The runtime could not register it.
    pub fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            Detached::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Detached::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
            Detached::Secured(stream) => Stream::Secured(Box::new(stream.attach()?)),
        })
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Secured(stream) => stream.socket().as_fd(),
        }
    }
}

/// What a read would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// At least one byte.
    Bytes,
    /// The peer has finished.
    End,
    /// The connection is broken.
    Broken,
}
