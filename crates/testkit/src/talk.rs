//! A conversation in lines or in bytes, either side, on which TLS may begin at any word.

use std::io::{self, Read as _, Write as _};

use crate::server::Peer;
use crate::socket::Socket;
use crate::tls::{Agreed, ClientTls, ServerTls};

/// One end of a conversation.
#[derive(Debug)]
pub struct Talk {
    socket: Option<Socket>,
    heard: Vec<u8>,
}

impl Talk {
    /// With whoever listens there.
    ///
    /// # Panics
    /// Nobody does.
    pub fn with(address: &str) -> Talk {
        Talk { socket: Some(Socket::connect(address).expect("a connection")), heard: Vec::new() }
    }

    /// With the client of a scripted server, from its first byte.
    ///
    /// # Panics
    /// We are out of descriptors.
    pub fn of(peer: &Peer) -> Talk {
        Talk { socket: Some(peer.reader.socket.try_clone().expect("another handle")), heard: Vec::new() }
    }

    /// Says this; that nobody listens any more shows when an answer is waited for.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Talk {
        let _ = self.socket().write_all(bytes.as_ref());
        self
    }

    /// The next line, without its end; what there is of it if there is no end.
    pub fn line(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                break end + 1;
            }
            // Byte by byte: behind a line TLS may begin.
            if self.more(1) == 0 {
                break self.heard.len();
            }
        };
        let line: Vec<u8> = self.heard.drain(..end).collect();
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// So many bytes; fewer if there is an end before them.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.heard.len() < count && self.more(count - self.heard.len()) > 0 {}
        self.heard.drain(..count.min(self.heard.len())).collect()
    }

    /// Everything up to the end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more(4096) > 0 {}
        std::mem::take(&mut self.heard)
    }

    /// Begins TLS as a client.
    ///
    /// # Errors
    /// The two did not agree.
    ///
    /// # Panics
    /// Something was said that was not heard.
    pub fn begin(&mut self, tls: &ClientTls) -> io::Result<&mut Talk> {
        assert!(self.heard.is_empty(), "said before TLS: {:?}", self.heard);
        self.socket = Some(self.socket.take().expect("a socket").secure(tls)?);
        Ok(self)
    }

    /// Begins TLS as a server.
    ///
    /// # Errors
    /// The two did not agree.
    ///
    /// # Panics
    /// Something was said that was not heard.
    pub fn begun(&mut self, tls: &ServerTls) -> io::Result<&mut Talk> {
        assert!(self.heard.is_empty(), "said before TLS: {:?}", self.heard);
        self.socket = Some(self.socket.take().expect("a socket").secured(tls));
        self.socket().handshake()?;
        Ok(self)
    }

    /// What TLS has agreed on.
    pub fn agreed(&mut self) -> Agreed {
        self.socket().agreed()
    }

    /// Says that nothing more will be said.
    pub fn finish(&mut self) {
        self.socket().finish();
    }

    fn socket(&mut self) -> &mut Socket {
        self.socket.as_mut().expect("a socket")
    }

    /// Reads once, at most so much; nothing if it has ended, or was reset. A side that says nothing panics in the end.
    fn more(&mut self, most: usize) -> usize {
        let mut block = vec![0; most];
        let count = loop {
            match self.socket().read(&mut block) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing was said in time")
                }
                Err(_) => break 0,
            }
        };
        self.heard.extend_from_slice(&block[..count]);
        count
    }
}
