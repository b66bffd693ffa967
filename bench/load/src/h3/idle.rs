//! Sessions that are served once and then stay.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fleet::{Crew, Fleet};
use super::session::{Answered, Session};
use super::wire;
use crate::request::Fields;

/// How long one may take to be served.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn hold(to: SocketAddr, body: usize, connections: usize) -> io::Result<()> {
    let request = wire::request(0, Fields::Browser);
    let mut holder = Holder { request, body: body as u64, served: 0, errors: 0 };
    let mut fleet = Fleet::new(to)?;
    for number in 1..=connections {
        fleet.open()?;
        let until = Instant::now() + PATIENCE;
        while holder.served + holder.errors < number && Instant::now() < until {
            fleet.turn(&mut holder, until)?;
        }
    }
    println!(r#"{{"held":{},"errors":{}}}"#, holder.served, connections - holder.served);
    // The server may still want something of one: the size of packets is tried out, ids are handed over.
    static OVER: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        // Whatever ends it, it is over.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        OVER.store(true, Relaxed);
    });
    while !OVER.load(Relaxed) {
        fleet.turn(&mut holder, Instant::now() + Duration::from_millis(50))?;
    }
    println!(r#"{{"still_open":{}}}"#, fleet.len());
    fleet.close();
    Ok(())
}

struct Holder {
    request: Bytes,
    body: u64,
    served: usize,
    errors: usize,
}

impl Crew for Holder {
    fn turn(&mut self, session: &mut Session, ended: &[Answered], now: Instant) -> bool {
        if session.is_lost() {
            self.errors += usize::from(session.is_new() || !ended.is_empty());
            return false;
        }
        for answered in ended {
            if answered.body != Some(self.body) {
                self.errors += 1;
                return false;
            }
            self.served += 1;
        }
        if session.is_new() {
            session.ask(&self.request, now);
        }
        true
    }
}
