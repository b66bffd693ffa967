//! The floor: bytes from one connection to another, without reading a word of them. Four system calls a request, and
//! nothing between them: no proxy that receives and sends can cost less.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::poll::{Interest, Poll};

/// Relays each connection to a connection of its own. Small exchanges only: what a socket does not take is an error.
pub fn serve(bind: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(bind)?;
    let door = listener.as_raw_fd() as usize;
    let mut poll = Poll::new()?;
    poll.add(&listener, Interest::IN)?;
    let mut sockets: HashMap<usize, (TcpStream, usize)> = HashMap::new();
    let (mut block, mut ready) = (vec![0; 64 * 1024], Vec::new());
    loop {
        poll.wait(&mut ready, None)?;
        for &fd in &ready {
            if fd == door {
                let (client, server) = (listener.accept()?.0, TcpStream::connect(to)?);
                let (near, far) = (client.as_raw_fd() as usize, server.as_raw_fd() as usize);
                for (socket, own, other) in [(client, near, far), (server, far, near)] {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    poll.add(&socket, Interest::IN)?;
                    sockets.insert(own, (socket, other));
                }
                continue;
            }
            let Some((from, other)) = sockets.get(&fd) else { continue };
            let (from, other) = (from, *other);
            let passed = match recv(from, &mut block[..], RecvFlags::empty()) {
                Ok((0, _)) => false,
                Ok((length, _)) => {
                    let to = sockets.get(&other).map(|(socket, _)| socket);
                    to.is_some_and(|to| send(to, &block[..length], SendFlags::NOSIGNAL) == Ok(length))
                }
                Err(Errno::AGAIN | Errno::INTR) => true,
                Err(_) => false,
            };
            if !passed {
                sockets.remove(&fd);
                sockets.remove(&other);
            }
        }
    }
}
