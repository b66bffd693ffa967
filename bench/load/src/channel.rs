//! A connection's bytes, plain or through TLS.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::{ClientConnection, HandshakeKind};

pub struct Channel {
    socket: OwnedFd,
    secured: Option<Box<Secured>>,
}

struct Secured {
    session: ClientConnection,
    /// What was to be sent is encrypted, or waits for the handshake to end.
    pledged: bool,
}

impl Channel {
    pub fn new(socket: OwnedFd, session: Option<ClientConnection>) -> Self {
        let mut channel = Self { socket, secured: None };
        if let Some(session) = session {
            channel.secure(session);
        }
        channel
    }

    /// From here on everything goes through TLS.
    pub fn secure(&mut self, session: ClientConnection) {
        self.secured = Some(Box::new(Secured { session, pledged: false }));
    }

    /// Sends a request; `AGAIN` if it must come again when the socket has room.
    pub fn send(&mut self, request: &[u8]) -> Result<usize, Errno> {
        let Some(secured) = &mut self.secured else {
            return send(&self.socket, request, SendFlags::NOSIGNAL);
        };
        if !secured.pledged {
            secured.session.writer().write_all(request).map_err(|_| Errno::IO)?;
            secured.pledged = true;
        }
        secured.flush(&self.socket)?;
        secured.pledged = false;
        Ok(request.len())
    }

    /// Takes what has come, `AGAIN` if that is nothing of a response yet; 0 is the end. Where the bytes themselves are not wanted
    /// a plain socket drops them in the kernel instead of copying them here.
    pub fn receive(&mut self, block: &mut [u8], wanted: bool) -> Result<usize, Errno> {
        match &mut self.secured {
            Some(secured) => secured.receive(&self.socket, block),
            None => {
                let flags = if wanted { RecvFlags::empty() } else { RecvFlags::TRUNC };
                Ok(recv(&self.socket, block, flags)?.1)
            }
        }
    }
}

impl Secured {
    fn flush(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        while self.session.wants_write() {
            self.session.write_tls(&mut Socket(socket)).map_err(|fault| errno(&fault))?;
        }
        Ok(())
    }

    /// Ciphertext is received in large pieces, so that the kernel is asked once for what rustls takes in many.
    fn receive(&mut self, socket: &OwnedFd, block: &mut [u8]) -> Result<usize, Errno> {
        let mut ciphertext = [0; 64 * 1024];
        let (_, length) = recv(socket, &mut ciphertext, RecvFlags::empty())?;
        if length == 0 {
            return Ok(0);
        }
        let (mut left, mut read) = (&ciphertext[..length], 0);
        while !left.is_empty() {
            self.session.read_tls(&mut left).map_err(|fault| errno(&fault))?;
            self.session.process_new_packets().map_err(|_| Errno::PROTO)?;
            // A block is longer than what can be in so much ciphertext, and in what was left of a record before.
            loop {
                match self.session.reader().read(&mut block[read..]) {
                    // The closing alert may have come behind an answer.
                    Ok(0) => return Ok(read),
                    Ok(more) => read += more,
                    Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                    Err(fault) => return Err(errno(&fault)),
                }
            }
        }
        if self.session.handshake_kind() == Some(HandshakeKind::Resumed) {
            return Err(Errno::PROTO);
        }
        self.flush(socket)?;
        if read == 0 { Err(Errno::AGAIN) } else { Ok(read) }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket that is written to as rustls does.
pub struct Socket<'a>(pub &'a OwnedFd);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn errno(fault: &std::io::Error) -> Errno {
    Errno::from_io_error(fault).unwrap_or(Errno::IO)
}
