//! A request by HTTP/1.1 (RFC 9112) and what a healthy server answers.

use ::http::BodyReader;
use config::spec;
use proxy::pool::{Credentials, Parent};
use proxy::route::Text;
use wire::Head;
use wire::h1::{self, Asked, Limits, Progress};

use super::{CLOSED, Step};
use crate::compile::text;

/// A request and what its answer must be.
#[derive(Debug)]
pub(in crate::health) struct Script {
    pub(in crate::health) head: Head,
    request: Vec<u8>,
    asked: Asked,
    statuses: Vec<(u16, u16)>,
    body: Vec<Text>,
}

/// One request.
#[derive(Debug)]
pub(in crate::health) struct Talk<'a> {
    script: &'a Script,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for the head of a final response.
    Head,
    /// Waits for as much of the body as is looked at.
    Body { reader: BodyReader, content: Vec<u8> },
}

const HEAD: Limits = Limits { head: 32 * 1024, line: 8 * 1024, fields: 200 };
/// Bytes of a body that are looked at.
pub(in crate::health) const MOST_BODY: usize = 64 * 1024;

impl Script {
    pub(super) fn of(said: &spec::HttpProbe, host: &str, parent: Option<&Parent>) -> Script {
        let mut head = Head::default();
        let (path, query) = match said.path.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (said.path.as_str(), None),
        };
        head.start_request(said.method.as_bytes(), host.as_bytes(), path.as_bytes(), query);
        head.set(b"Host", host.as_bytes());
        head.set(b"User-Agent", b"tidegate-health");
        head.set(b"Connection", b"close");
        for (name, value) in &said.headers {
            head.set(name.as_bytes(), value.as_bytes());
        }
        let mut request = Vec::new();
        match parent {
            Some(Parent::Http(credentials)) => {
                h1::request_head_for_proxy(&head, credentials.as_ref().map(Credentials::basic), &mut request);
            }
            _ => h1::request_head(&head, &mut request),
        }
        let asked = if said.method == "HEAD" { Asked::Head } else { Asked::Other };
        Script { head, request, asked, statuses: said.statuses.clone(), body: said.body.iter().map(text).collect() }
    }

    /// What the status alone says; nothing if the body has to be looked at.
    pub(in crate::health) fn of_status(&self, status: u16) -> Option<Result<(), String>> {
        if !self.is_well(status) {
            return Some(Err(format!("status {status}")));
        }
        self.body.is_empty().then_some(Ok(()))
    }

    fn is_well(&self, status: u16) -> bool {
        self.statuses.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    pub(in crate::health) fn judge(&self, content: &[u8]) -> Result<(), String> {
        let matches = self.body.iter().any(|test| test.holds(content));
        if matches { Ok(()) } else { Err("the body does not match".to_owned()) }
    }
}

impl<'a> Talk<'a> {
    pub(super) fn new(script: &'a Script) -> Talk<'a> {
        Talk { script, state: State::Head }
    }

    pub(super) fn open(&self, said: &mut Vec<u8>) {
        said.extend_from_slice(&self.script.request);
    }

    pub(super) fn hear(&mut self, heard: &mut Vec<u8>) -> Step {
        while let State::Head = self.state {
            let mut head = Head::default();
            match h1::response(heard, self.script.asked, &HEAD, &mut head) {
                Ok(Progress::Partial) => return Step::More,
                Ok(Progress::Complete(used)) => drop(heard.drain(..used)),
                Err(reject) => return Step::Done(Err(format!("no valid answer: {}", reject.reason()))),
            }
            match head.status() {
                100..200 => {}
                status => match self.script.of_status(status) {
                    Some(outcome) => return Step::Done(outcome),
                    None => self.state = State::Body { reader: BodyReader::new(head.framing()), content: Vec::new() },
                },
            }
        }
        let State::Body { reader, content } = &mut self.state else { return Step::More };
        match reader.take(heard, |bytes| content.extend_from_slice(bytes)) {
            Ok(used) => drop(heard.drain(..used)),
            Err(reject) => return Step::Done(Err(format!("no valid answer: {}", reject.reason()))),
        }
        if reader.is_done() || content.len() >= MOST_BODY {
            content.truncate(MOST_BODY);
            return Step::Done(self.script.judge(content));
        }
        Step::More
    }

    pub(super) fn ended(&mut self) -> Result<(), String> {
        match &mut self.state {
            State::Body { reader, content } => {
                if reader.ended(None) {
                    return self.script.judge(content);
                }
                Err(CLOSED.to_owned())
            }
            State::Head => Err(CLOSED.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(path: &str, statuses: &[(u16, u16)]) -> spec::HttpProbe {
        spec::HttpProbe {
            path: path.to_owned(),
            method: "GET".to_owned(),
            host: None,
            headers: vec![("x-check".to_owned(), "yes".to_owned())],
            statuses: statuses.to_vec(),
            body: Vec::new(),
        }
    }

    /// Gives the answer whole, and byte by byte: both must mean the same.
    fn outcome(script: &Script, answer: &str) -> Result<(), String> {
        let mut whole = Talk::new(script);
        let at_once = match whole.hear(&mut answer.as_bytes().to_vec()) {
            Step::Done(outcome) => outcome,
            Step::More => whole.ended(),
        };
        let (mut talk, mut heard) = (Talk::new(script), Vec::new());
        for byte in answer.bytes() {
            heard.push(byte);
            if let Step::Done(outcome) = talk.hear(&mut heard) {
                assert_eq!(outcome, at_once);
                return at_once;
            }
        }
        assert_eq!(talk.ended(), at_once);
        at_once
    }

    #[test]
    fn a_proxy_is_asked_for_the_page_of_another() {
        let parent = Parent::Http(Some(Credentials::new("me", "pass")));
        let mut said = Vec::new();
        let script = Script::of(&probe("/ok?x", &[(200, 399)]), "app.example", Some(&parent));
        Talk::new(&script).open(&mut said);
        let said = String::from_utf8(said).expect("text");
        assert!(
            said.starts_with("GET http://app.example/ok?x HTTP/1.1\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n"),
            "{said}"
        );
    }

    #[test]
    fn the_request_is_as_configured() {
        let script = Script::of(&probe("/healthz?full=1", &[(200, 399)]), "app.example:80", None);
        let mut said = Vec::new();
        Talk::new(&script).open(&mut said);
        let text = String::from_utf8(said).expect("text");
        assert!(text.starts_with("GET /healthz?full=1 HTTP/1.1\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        for field in ["Host: app.example:80\r\n", "x-check: yes\r\n", "Connection: close\r\n"] {
            assert!(text.contains(field), "{text}");
        }
    }

    #[test]
    fn the_status_decides() {
        let script = Script::of(&probe("/", &[(200, 299), (401, 401)]), "a", None);
        assert_eq!(outcome(&script, "HTTP/1.1 204 No Content\r\n\r\n"), Ok(()));
        assert_eq!(outcome(&script, "HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\n"), Ok(()));
        assert_eq!(outcome(&script, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\n\r\n"), Ok(()));
        assert_eq!(outcome(&script, "HTTP/1.1 302 Found\r\n\r\n"), Err("status 302".to_owned()));
        assert_eq!(outcome(&script, "HTTP/1.1 200 OK\r\n"), Err("connection closed".to_owned()));
        assert!(outcome(&script, "220 mail.example ESMTP\r\n").is_err_and(|why| why.starts_with("no valid answer")));
    }

    #[test]
    fn the_body_decides_where_it_is_looked_at() {
        let test = spec::TextMatch { tests: vec![spec::TextTest::Contains("ready".to_owned())], ignore_case: false };
        let said = spec::HttpProbe { body: vec![test], ..probe("/", &[(200, 200)]) };
        let script = Script::of(&said, "a", None);
        let no_match = Err("the body does not match".to_owned());
        assert_eq!(outcome(&script, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall ready"), Ok(()));
        assert_eq!(outcome(&script, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbusy"), no_match);
        assert_eq!(outcome(&script, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), no_match);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3\r\nady\r\n0\r\n\r\n";
        assert_eq!(outcome(&script, chunked), Ok(()));
        assert_eq!(outcome(&script, "HTTP/1.0 200 OK\r\n\r\nready"), Ok(()));
        assert_eq!(
            outcome(&script, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nready"),
            Err("connection closed".to_owned())
        );
        let endless = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(2 * MOST_BODY));
        assert_eq!(outcome(&script, &endless), no_match);
    }
}
