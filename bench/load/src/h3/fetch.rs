//! One request, and what is answered.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fleet::{Crew, Fleet};
use super::session::{Answered, Session};
use super::wire;
use crate::request::Fields;

const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a 200.
pub fn get(to: SocketAddr, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut reader = Reader { request: wire::get(host, path, Fields::Browser), outcome: None };
    let mut fleet = Fleet::new(to)?;
    fleet.open()?;
    let until = Instant::now() + PATIENCE;
    while reader.outcome.is_none() && Instant::now() < until {
        fleet.turn(&mut reader, until)?;
    }
    fleet.close();
    match reader.outcome {
        Some(Ok(body)) => Ok(body),
        Some(Err(why)) => Err(io::Error::other(why)),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

struct Reader {
    request: Bytes,
    outcome: Option<Result<Vec<u8>, &'static str>>,
}

impl Crew for Reader {
    fn turn(&mut self, session: &mut Session, ended: &[Answered], now: Instant) -> bool {
        if let Some(answered) = ended.first() {
            let body = session.kept.take().unwrap_or_default();
            self.outcome = Some(if answered.body.is_some() { Ok(body) } else { Err("no whole answer of status 200") });
        } else if session.is_lost() {
            self.outcome = Some(Err("no connection"));
        } else if session.is_new() {
            session.kept = Some(Vec::new());
            session.ask(&self.request, now);
        }
        self.outcome.is_none()
    }
}
