//! Many sessions on one thread: who has something to read, and whose time has come.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use super::session::{Answered, Session};
use crate::poll::{Interest, Poll};
use crate::quic::{Quic, Room};

pub struct Fleet {
    quic: Quic,
    to: SocketAddr,
    poll: Poll,
    room: Room,
    /// By the number of the socket.
    berths: Vec<Option<Berth>>,
    ready: Vec<usize>,
    ended: Vec<Answered>,
}

struct Berth {
    session: Session,
    due: Option<Instant>,
}

/// What somebody does with their sessions. Everything that they let a session say is sent afterwards.
pub trait Crew {
    /// The handshake may be over, requests may have ended, or more may be allowed; says whether the session is to stay.
    fn turn(&mut self, session: &mut Session, ended: &[Answered], now: Instant) -> bool;
}

impl Fleet {
    pub fn new(to: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            quic: Quic::new(b"h3"),
            to,
            poll: Poll::new()?,
            room: Room::new(),
            berths: Vec::new(),
            ready: Vec::new(),
            ended: Vec::new(),
        })
    }

    /// Begins a session.
    pub fn open(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut session = Session::new(self.quic.connect(self.to)?, now);
        session.flush(now, &mut self.room);
        self.poll.add(&session, Interest::IN)?;
        let number = session.as_fd().as_raw_fd() as usize;
        if self.berths.len() <= number {
            self.berths.resize_with(number + 1, || None);
        }
        let due = session.due();
        self.berths[number] = Some(Berth { session, due });
        Ok(())
    }

    /// Waits at most until `until`, and gives everybody who has news their turn. Says how many sessions are gone.
    pub fn turn(&mut self, crew: &mut impl Crew, until: Instant) -> io::Result<usize> {
        let next = self.berths.iter().flatten().filter_map(|berth| berth.due).min();
        let until = next.map_or(until, |next| next.min(until));
        self.poll.wait(&mut self.ready, Some(until.saturating_duration_since(Instant::now())))?;
        let now = Instant::now();
        let mut gone = 0;
        for at in 0..self.ready.len() {
            gone += usize::from(!self.visit(crew, self.ready[at], now, true));
        }
        if next.is_some_and(|next| next <= now) {
            for number in 0..self.berths.len() {
                if self.berths[number].as_ref().and_then(|berth| berth.due).is_some_and(|due| due <= now) {
                    gone += usize::from(!self.visit(crew, number, now, false));
                }
            }
        }
        Ok(gone)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.berths.iter().flatten().count()
    }

    /// Ends all sessions with a word.
    pub fn close(mut self) {
        let now = Instant::now();
        for berth in self.berths.iter_mut().flatten() {
            berth.session.close(now, &mut self.room);
        }
    }

    /// One session's turn; says whether it stays.
    fn visit(&mut self, crew: &mut impl Crew, number: usize, now: Instant, readable: bool) -> bool {
        let Some(Some(berth)) = self.berths.get_mut(number) else { return true };
        self.ended.clear();
        berth.session.hear(now, readable, &mut self.room, &mut self.ended);
        let stays = crew.turn(&mut berth.session, &self.ended, now);
        if stays && !berth.session.is_lost() {
            berth.session.flush(now, &mut self.room);
            berth.due = berth.session.due();
            return true;
        }
        berth.session.close(now, &mut self.room);
        self.berths[number] = None;
        false
    }
}
