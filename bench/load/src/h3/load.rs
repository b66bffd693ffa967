//! A fixed number of sessions with a fixed number of requests under way on each.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fleet::{Crew, Fleet};
use super::session::{Answered, Session};
use super::wire;
use crate::report::Report;
use crate::request::Fields;

pub struct Plan {
    pub to: SocketAddr,
    /// The length that every response's body must have.
    pub body: usize,
    pub connections: usize,
    /// Requests under way on each.
    pub streams: usize,
    pub seconds: f64,
    pub fields: Fields,
    pub routes: usize,
    /// A connection's requests are its last: with one stream, a connection per request.
    pub close: bool,
}

pub fn run(plan: &Plan) -> io::Result<Report> {
    let requests = (0..plan.routes).map(|route| wire::request(route, plan.fields)).collect();
    let mut client = Client { plan, requests, next: 0, report: Report::new() };
    let mut fleet = Fleet::new(plan.to)?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(plan.seconds);
    for _ in 0..plan.connections {
        fleet.open()?;
    }
    while Instant::now() < end {
        let gone = fleet.turn(&mut client, end)?;
        for _ in 0..gone {
            fleet.open()?;
        }
    }
    let report = client.report.end(start.elapsed());
    fleet.close();
    Ok(report)
}

struct Client<'a> {
    plan: &'a Plan,
    requests: Vec<Bytes>,
    /// The request that goes out next.
    next: usize,
    report: Report,
}

impl Crew for Client<'_> {
    fn turn(&mut self, session: &mut Session, ended: &[Answered], now: Instant) -> bool {
        for answered in ended {
            let began = if self.plan.close { session.begun() } else { answered.asked };
            match answered.body {
                Some(body) if body == self.plan.body as u64 => {
                    self.report.requests += 1;
                    self.report.bytes += body;
                    self.report.latency.record(now - began);
                }
                _ => self.report.errors += 1,
            }
        }
        if session.is_lost() {
            // One that had nothing to lose was never to be had: a failed handshake.
            self.report.errors += u64::from(ended.is_empty());
            return false;
        }
        if self.plan.close && !session.is_new() {
            return ended.is_empty() || session.open() > 0;
        }
        while session.open() < self.plan.streams && session.ask(&self.requests[self.next], now) {
            self.next = (self.next + 1) % self.requests.len();
        }
        true
    }
}
