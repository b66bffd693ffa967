//! A request on a connection that could carry many, where a check is no conversation in bytes: by HTTP/3.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::shared::{Driver, Protocol};
use http::{Conn, ReadError};
use net::Address;
use net::dial::{Security, is_shortage};
use net::quic::LEAST_ROOM;
use wire::Head;
use wire::h1::{Asked, Limits, Reject};

use super::probe::{Failure, words};
use super::talk::http::{MOST_BODY, Script};

const HEAD: Limits = Limits { head: 32 * 1024, line: 8 * 1024, fields: 200 };

/// One request.
struct Asking<'a> {
    script: &'a Script,
    driver: Driver,
    conn: Option<Conn>,
    head: Head,
    /// The head of the final response is here.
    answered: bool,
    content: Vec<u8>,
    block: Vec<u8>,
}

/// Asks once.
pub(super) async fn ask(address: &Address, security: Option<&Security>, script: &Script) -> Result<(), Failure> {
    let driver = match Driver::dial(Protocol::H3, address, security).await {
        Ok(driver) => driver,
        Err(error) if is_shortage(&error) => return Err(Failure::Ours(error)),
        Err(error) => return Err(Failure::Server(format!("connect {}", words(&error)))),
    };
    let mut asking = Asking {
        script,
        driver,
        conn: None,
        head: Head::default(),
        answered: false,
        content: Vec::new(),
        block: vec![0; LEAST_ROOM],
    };
    poll_fn(|cx| asking.poll(cx)).await.map_err(Failure::Server)
}

impl Asking<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let driven = self.driver.poll(cx, &mut self.block, Instant::now());
        // An answer may have come with the end of the connection.
        match (self.hear(cx), driven) {
            (Poll::Ready(Err(_)) | Poll::Pending, Poll::Ready(ended)) => {
                let error = ended.err().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
                Poll::Ready(Err(format!("connection {}", words(&error))))
            }
            (heard, _) => heard,
        }
    }

    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            None => {
                let Some(mut conn) = self.driver.lanes().lane() else { return Poll::Pending };
                conn.write_request(&self.script.head, &mut Vec::new());
                conn.finish(None);
                self.conn.insert(conn)
            }
        };
        while !self.answered {
            let read = conn.poll_response(cx, &mut self.block, LEAST_ROOM, Asked::Other, &HEAD, &mut self.head);
            match ready!(read) {
                Ok(_) => self.answered = self.head.status() >= 200,
                Err(error) => return Poll::Ready(Err(of(error))),
            }
        }
        if let Some(outcome) = self.script.of_status(self.head.status()) {
            return Poll::Ready(outcome);
        }
        loop {
            match ready!(conn.poll_read(cx, &mut self.block)) {
                Err(error) => return Poll::Ready(Err(format!("connection {}", words(&error)))),
                Ok(length) => {
                    self.content.extend_from_slice(&self.block[..length]);
                    if length == 0 || self.content.len() >= MOST_BODY {
                        self.content.truncate(MOST_BODY);
                        return Poll::Ready(self.script.judge(&self.content));
                    }
                }
            }
        }
    }
}

/// Why there is no answer, in a word or two.
fn of(error: ReadError) -> String {
    match error {
        ReadError::Reject(Reject::Malformed(reason)) => format!("no valid answer: {reason}"),
        ReadError::Reject(_) => "an answer that is too large".to_owned(),
        ReadError::Refused | ReadError::Ended => "the server has reset the request".to_owned(),
        ReadError::Io(error) => format!("connection {}", words(&error)),
    }
}
