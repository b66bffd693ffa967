//! A connected socket, whatever its family.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};

use crate::tls::{Agreed, ClientTls, Secured, ServerTls};
use crate::wait::PATIENCE;

/// A connected socket whose reads and writes give up in the end.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Secured(Box<RefCell<Secured>>),
}

impl Socket {
    /// Connects to `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(address: &str) -> io::Result<Socket> {
        let socket = match address.strip_prefix("unix:") {
            Some(path) => Socket::Unix(UnixStream::connect(path)?),
            None => Socket::Tcp(TcpStream::connect(address)?),
        };
        socket.prepare()?;
        Ok(socket)
    }

    /// Makes it a secured one, of a client.
    ///
    /// # Errors
    /// The two did not agree.
    pub fn secure(self, tls: &ClientTls) -> io::Result<Socket> {
        match self {
            Socket::Tcp(stream) => Ok(Socket::Secured(Box::new(RefCell::new(tls.connect(stream)?)))),
            Socket::Unix(_) | Socket::Secured(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes it a secured one, of a server. What comes of it shows when it is first used.
    pub fn secured(self, tls: &ServerTls) -> Socket {
        match self {
            Socket::Tcp(stream) => Socket::Secured(Box::new(RefCell::new(tls.accept(stream)))),
            other => other,
        }
    }

    /// What TLS has agreed on.
    ///
    /// # Panics
    /// It is plain, or the handshake is not done.
    pub fn agreed(&self) -> Agreed {
        match self {
            Socket::Secured(secured) => secured.borrow().agreed(),
            Socket::Tcp(_) | Socket::Unix(_) => panic!("a plain socket has agreed on nothing"),
        }
    }

    /// Goes through the handshake now, of a server: else it is gone through when something is first read.
    ///
    /// # Errors
    /// The two did not agree.
    pub fn handshake(&self) -> io::Result<()> {
        match self {
            Socket::Secured(secured) => secured.borrow_mut().handshake(),
            Socket::Tcp(_) | Socket::Unix(_) => Ok(()),
        }
    }

    /// Changes the keys of TLS 1.3.
    ///
    /// # Errors
    /// It is plain, or not that version.
    pub fn refresh_keys(&self) -> io::Result<()> {
        match self {
            Socket::Secured(secured) => secured.borrow_mut().refresh_keys(),
            Socket::Tcp(_) | Socket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_nodelay(true)?,
            Socket::Secured(secured) => secured.borrow().stream.set_nodelay(true)?,
            Socket::Unix(_) => {}
        }
        self.set_patience(PATIENCE)
    }

    /// How long a read or write may stand still.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
            Socket::Secured(secured) => {
                let secured = secured.borrow();
                secured.stream.set_read_timeout(Some(patience))?;
                secured.stream.set_write_timeout(Some(patience))
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
        }
    }

    /// Says that nothing more will be written.
    pub fn finish(&self) {
        // The peer may be gone already, which says the same.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Secured(secured) => {
                secured.borrow_mut().finish();
                Ok(())
            }
        };
    }

    /// Ends both directions, of TLS without a word, so that a thread that reads here wakes.
    pub fn end(&self) {
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
            Socket::Secured(secured) => secured.borrow().stream.shutdown(Shutdown::Both),
        };
    }

    /// Makes the coming close a reset.
    pub fn reset_on_close(&self) {
        let linger = |stream| rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
        match self {
            Socket::Tcp(stream) => linger(stream).expect("linger of an open socket"),
            Socket::Secured(secured) => linger(&secured.borrow().stream).expect("linger of an open socket"),
            Socket::Unix(_) => {}
        }
    }

    /// Makes the kernel keep little for this socket, so that back-pressure comes early.
    pub fn keep_little(&self) {
        self.with_fd(|fd| {
            rustix::net::sockopt::set_socket_recv_buffer_size(fd, 16 * 1024).expect("buffer of an open socket");
            rustix::net::sockopt::set_socket_send_buffer_size(fd, 16 * 1024).expect("buffer of an open socket");
        });
    }

    /// Another handle of the same socket, without its TLS.
    ///
    /// # Errors
    /// We are out of descriptors.
    pub fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
            Socket::Secured(secured) => Socket::Tcp(secured.borrow().stream.try_clone()?),
        })
    }

    /// Whether the peer has closed and everything it sent was read.
    pub fn has_ended(&self) -> bool {
        let mut byte = [0; 1];
        match self.with_fd(|fd| recv(fd, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)) {
            Ok((_, length)) => length == 0,
            Err(error) => error != rustix::io::Errno::AGAIN,
        }
    }

    fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        match self {
            Socket::Tcp(stream) => call(stream.as_fd()),
            Socket::Unix(stream) => call(stream.as_fd()),
            Socket::Secured(secured) => call(secured.borrow().stream.as_fd()),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(into),
            Socket::Unix(stream) => stream.read(into),
            Socket::Secured(secured) => secured.get_mut().read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Secured(secured) => secured.get_mut().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
