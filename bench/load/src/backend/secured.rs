//! TLS in front of the backend's connections: for proxies that read what goes through tunnels, and speak TLS with servers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustls::{ServerConfig, ServerConnection};

use super::Closed;
use crate::channel::{Socket, errno};
use crate::tls;

/// What connections begin with.
pub struct Secret(Arc<ServerConfig>);

pub struct Secured(Box<ServerConnection>);

impl Secret {
    /// By the certificate and the key in a folder.
    pub fn of(folder: &Path) -> Result<Secret, Box<dyn std::error::Error>> {
        tls::terminating(folder).map(|config| Secret(Arc::new(config)))
    }

    pub fn begin(&self) -> Result<Secured, rustls::Error> {
        let mut session = ServerConnection::new(Arc::clone(&self.0))?;
        // Whole answers are handed over, however slowly they are taken.
        session.set_buffer_limit(None);
        Ok(Secured(Box::new(session)))
    }
}

impl Secured {
    /// What these bytes say.
    pub fn open(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Closed> {
        let mut said = Vec::new();
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).map_err(|_| Closed)?;
            self.0.process_new_packets().map_err(|_| Closed)?;
            match self.0.reader().read_to_end(&mut said) {
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => {}
                // The end, in good order or not: nothing is said by this client that an answer would be owed for.
                _ => return Err(Closed),
            }
        }
        Ok(said)
    }

    pub fn say(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.0.writer().write_all(bytes).map_err(|_| Closed)
    }

    /// Sends what waits; false if the socket is full.
    pub fn flush(&mut self, socket: &OwnedFd) -> Result<bool, Closed> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut Socket(socket)).map_err(|fault| errno(&fault)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => return Err(Closed),
            }
        }
        Ok(true)
    }
}
