//! The floor: bytes from one connection to another, without reading a word of them. Four system calls a request, and
//! nothing between them but TLS, where clients speak it: no proxy that receives and sends can cost less.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::ServerConnection;

use crate::poll::{Interest, Poll};
use crate::tls;

/// One end of a flow.
struct End {
    socket: TcpStream,
    /// The descriptor of its other end.
    other: usize,
    /// TLS, of a client's end.
    tls: Option<Box<ServerConnection>>,
}

/// Relays each connection to a connection of its own. Small exchanges only: what a socket does not take is an error. With a folder of
/// `tls.pem` and `tls.key` clients speak TLS.
pub fn serve(bind: SocketAddr, to: SocketAddr, certificates: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    let config = certificates.map(tls::terminating).transpose()?.map(Arc::new);
    let listener = TcpListener::bind(bind)?;
    let door = listener.as_raw_fd() as usize;
    let mut poll = Poll::new()?;
    poll.add(&listener, Interest::IN)?;
    let mut ends: HashMap<usize, End> = HashMap::new();
    // Less than a packet holds on its way through the kernel: a little more makes a second one, and costs twice as much.
    let (mut block, mut out, mut ready) = (vec![0; 60 * 1024], Vec::new(), Vec::new());
    loop {
        poll.wait(&mut ready, None)?;
        for &fd in &ready {
            if fd == door {
                let (client, server) = (listener.accept()?.0, TcpStream::connect(to)?);
                let (near, far) = (client.as_raw_fd() as usize, server.as_raw_fd() as usize);
                let secured = config.as_ref().map(|config| ServerConnection::new(Arc::clone(config)).map(Box::new));
                for (socket, own, other, tls) in [(client, near, far, secured.transpose()?), (server, far, near, None)]
                {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    poll.add(&socket, Interest::IN)?;
                    ends.insert(own, End { socket, other, tls });
                }
                continue;
            }
            let Some(other) = ends.get(&fd).map(|end| end.other) else { continue };
            if !pass(&mut ends, fd, other, &mut block, &mut out) {
                ends.remove(&fd);
                ends.remove(&other);
            }
        }
    }
}

/// Passes on what one end says; false when the flow has ended.
fn pass(ends: &mut HashMap<usize, End>, from: usize, to: usize, block: &mut [u8], out: &mut Vec<u8>) -> bool {
    let Some([from, to]) = both(ends, from, to) else { return false };
    let length = match recv(&from.socket, &mut *block, RecvFlags::empty()) {
        Ok((0, _)) => return false,
        Ok((length, _)) => length,
        Err(Errno::AGAIN | Errno::INTR) => return true,
        Err(_) => return false,
    };
    out.clear();
    if let Some(tls) = &mut from.tls {
        let mut came = &block[..length];
        while !came.is_empty() {
            if tls.read_tls(&mut came).is_err() || tls.process_new_packets().is_err() {
                return false;
            }
        }
        // What a handshake wants to say.
        if tls.wants_write() && (tls.write_tls(out).is_err() || !sent(&from.socket, out)) {
            return false;
        }
        let length = match tls.reader().read(block) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(_) => return true,
        };
        return sent(&to.socket, &block[..length]);
    }
    match &mut to.tls {
        None => sent(&to.socket, &block[..length]),
        Some(tls) => {
            tls.writer().write_all(&block[..length]).is_ok()
                && (0..2).all(|_| !tls.wants_write() || tls.write_tls(out).is_ok())
                && sent(&to.socket, out)
        }
    }
}

fn both(ends: &mut HashMap<usize, End>, one: usize, other: usize) -> Option<[&mut End; 2]> {
    let [one, other] = ends.get_disjoint_mut([&one, &other]);
    Some([one?, other?])
}

fn sent(socket: &TcpStream, bytes: &[u8]) -> bool {
    send(socket, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
}
