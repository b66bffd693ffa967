//! A request by HTTP/2 (RFC 9113), to servers whose pool speaks it.

use std::time::Instant;

use wire::Head;
use wire::h2::{Connection, Event, Limits, Role};

use super::http::{MOST_BODY, Script};
use super::{Step, failed};

/// One request.
#[derive(Debug)]
pub(in crate::health) struct Talk<'a> {
    script: &'a Script,
    first: Vec<u8>,
    connection: Connection,
    head: Head,
    content: Vec<u8>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(script: &'a Script, secure: bool) -> Talk<'a> {
        let limits = Limits { head: 32 * 1024, fields: 200, secure, ..Limits::default() };
        let mut connection = Connection::new(Role::Client, &limits);
        // Nobody else asks on this connection, so there is a stream.
        if let Ok(id) = connection.open(&script.head) {
            connection.finish(id, None);
        }
        let first = connection.out().to_vec();
        connection.written(first.len());
        Talk { script, first, connection, head: Head::default(), content: Vec::new() }
    }

    pub(super) fn open(&self, said: &mut Vec<u8>) {
        said.extend_from_slice(&self.first);
    }

    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
        let step = self.listen(heard);
        said.extend_from_slice(self.connection.out());
        self.connection.written(self.connection.out().len());
        step
    }

    fn listen(&mut self, heard: &mut Vec<u8>) -> Step {
        let mut used = 0;
        let step = loop {
            let step = match self.connection.step(&heard[used..], Instant::now(), &mut self.head) {
                Ok(step) => step,
                Err(broken) => return failed(format!("no valid answer: {}", broken.reason)),
            };
            used += step.used;
            match step.event {
                None if step.used == 0 => break Step::More,
                Some(Event::Head { end, .. }) if self.head.status() >= 200 => {
                    match self.script.of_status(self.head.status()) {
                        Some(outcome) => break Step::Done(outcome),
                        None if end => break Step::Done(self.script.judge(&[])),
                        None => {}
                    }
                }
                Some(Event::Data { content, end, .. }) => {
                    self.content.extend_from_slice(content);
                    if end || self.content.len() >= MOST_BODY {
                        self.content.truncate(MOST_BODY);
                        break Step::Done(self.script.judge(&self.content));
                    }
                }
                Some(Event::Trailers { .. }) => break Step::Done(self.script.judge(&self.content)),
                Some(Event::Reset { .. } | Event::GoAway { .. }) => break failed("the server has reset the request"),
                _ => {}
            }
        };
        heard.drain(..used);
        step
    }
}
