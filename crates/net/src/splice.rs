//! Bytes from socket to socket through a pipe, that never enter user space (`splice(2)`).
//!
//! A worker keeps a bounded number of pipes. A pipe goes back only when it is empty.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;

use crate::stream::{PACKET, Stream};

/// What a pipe should hold. The kernel may refuse (`pipe-user-pages-soft`); then its default has to do.
const PIPE_BYTES: usize = 256 * 1024;
/// What goes through it at once: whole packets. All that it holds would be four of them and a few bytes, which become one of their own and cost as
/// much as a large one.
const AT_ONCE: usize = 4 * PACKET;
/// Pipes that a worker keeps for later.
const KEPT: usize = 64;
/// Pipes that a worker may have at once: more flows than that copy.
const MOST: usize = 512;

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Ends>,
    lent: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

/// A pipe on loan, and how many bytes are in it.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<Ends>,
    filled: usize,
    home: Rc<Pipes>,
}

impl Pipes {
    /// Lends a pipe, unless too many are out or the kernel refuses one.
    pub fn lend(self: &Rc<Pipes>) -> Option<Pipe> {
        let mut state = self.state.borrow_mut();
        if state.lent >= MOST {
            return None;
        }
        let ends = match state.idle.pop() {
            Some(ends) => ends,
            None => open().ok()?,
        };
        state.lent += 1;
        Some(Pipe { ends: Some(ends), filled: 0, home: Rc::clone(self) })
    }
}

fn open() -> io::Result<Ends> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let capacity = match rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES) {
        Ok(capacity) => capacity,
        Err(_) => rustix::pipe::fcntl_getpipe_size(&write)?,
    };
    Ok(Ends { read, write, capacity })
}

impl Pipe {
    /// Bytes in the pipe.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Whether the pipe takes no more for now.
    pub fn is_full(&self) -> bool {
        self.ends.as_ref().is_none_or(|ends| self.filled >= ends.capacity.min(AT_ONCE))
    }

    /// Moves up to `most` bytes from the socket into the pipe, which is not [full](Pipe::is_full). Zero bytes are the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, from: &Stream, most: usize) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else { return Poll::Ready(Ok(0)) };
        let most = most.min(AT_ONCE.saturating_sub(self.filled));
        loop {
            ready!(from.poll_read_ready(cx))?;
            // A pipe's slots can be full before its bytes are. That says nothing of the socket, whose readiness must not be taken back
            // for it: nobody would be told of what is there already.
            let filled = self.filled;
            let moved = from.try_io(Interest::READABLE, || match splice(from.as_fd(), &ends.write, most) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled > 0 => Ok(None),
                moved => moved.map(Some),
            });
            match moved {
                Ok(Some(count)) => {
                    self.filled += count;
                    return Poll::Ready(Ok(count));
                }
                // It has something to give then: the caller drains.
                Ok(None) => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves what is in the pipe to the socket, as far as it takes it.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, to: &Stream) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || splice(&ends.read, to.as_fd(), self.filled)) {
                Ok(count) => {
                    self.filled -= count;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = self.home.state.borrow_mut();
        state.lent -= 1;
        if self.filled == 0 && state.idle.len() < KEPT {
            state.idle.extend(self.ends.take());
        }
    }
}

fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(rustix::pipe::splice(from, None, to, None, most, flags)?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection: one that blocks, and one of ours.
    async fn pair() -> (std::net::TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let ours = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (theirs, _) = listener.accept().await.expect("a connection");
        let theirs = theirs.into_std().expect("a socket");
        theirs.set_nonblocking(false).expect("a socket");
        (theirs, Stream::Tcp(ours))
    }

    /// Its slots are full before its bytes are; all that comes is here before the first of it is moved, and nothing follows.
    #[tokio::test]
    async fn a_full_pipe_says_nothing_of_its_socket() {
        const ALL: usize = 50_000;
        let (mut source, from) = pair().await;
        let (_sink, to) = pair().await;
        source.write_all(&[7; ALL]).expect("sent");
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&write, 4096).expect("one slot");
        let home = Rc::new(Pipes::default());
        home.state.borrow_mut().lent = 1;
        let mut pipe = Pipe { ends: Some(Ends { read, write, capacity: PIPE_BYTES }), filled: 0, home };
        let mut moved = 0;
        while moved < ALL {
            moved += poll_fn(|cx| pipe.poll_fill(cx, &from, ALL)).await.expect("filled");
            let more = poll_fn(|cx| Poll::Ready(pipe.poll_fill(cx, &from, ALL))).await;
            if let Poll::Ready(more) = more {
                moved += more.expect("filled");
            }
            while pipe.filled() > 0 {
                poll_fn(|cx| pipe.poll_drain(cx, &to)).await.expect("drained");
            }
        }
        assert_eq!(moved, ALL);
    }
}
