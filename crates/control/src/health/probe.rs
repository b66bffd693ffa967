//! One check: a connection, a conversation, an end in time.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use base::units::print_duration;
use net::Address;
use net::dial::{Call, Security, dial, is_shortage};

use super::shared;
use super::talk::{Script, Step, Talk};

/// Why a check failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's fault.
    Server(String),
    /// We are short of descriptors or ports.
    Ours(io::Error),
}

/// What a server may say in one check; more is read only where a body is looked at.
const AT_ONCE: usize = 4096;

/// Checks once.
pub(super) async fn probe(
    address: &Address,
    prologue: &[u8],
    security: Option<&Security>,
    script: &Script,
    patience: Duration,
) -> Result<(), Failure> {
    match tokio::time::timeout(patience, converse(address, prologue, security, script)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Server(format!("timeout after {}", print_duration(patience)))),
    }
}

async fn converse(
    address: &Address,
    prologue: &[u8],
    security: Option<&Security>,
    script: &Script,
) -> Result<(), Failure> {
    if let Script::Http3(script) = script {
        return shared::ask(address, security, script).await;
    }
    let dialled = match dial(address, &Call { prologue, security, ..Call::default() }).await {
        Ok(dialled) => dialled,
        Err(error) if is_shortage(&error) => return Err(Failure::Ours(error)),
        Err(error) => return Err(Failure::Server(format!("connect {}", words(&error)))),
    };
    let Some(mut talk) = script.begin() else { return Ok(()) };
    let broken = |error: io::Error| Failure::Server(format!("connection {}", words(&error)));
    let (mut heard, mut said, mut stream) = (dialled.greeting, Vec::new(), dialled.stream);
    talk.open(&mut said);
    // A server that has greeted us before TLS does not do it again.
    if !heard.is_empty()
        && let Step::Done(outcome) = hear(&mut talk, &mut heard, &mut said)
    {
        return outcome.map_err(Failure::Server);
    }
    loop {
        stream.write_all(&said).await.map_err(broken)?;
        said.clear();
        let mut block = [0; AT_ONCE];
        let step = match poll_fn(|cx| stream.poll_read(cx, &mut block)).await {
            Ok(0) => Step::Done(talk.ended()),
            Ok(length) => {
                heard.extend_from_slice(&block[..length]);
                hear(&mut talk, &mut heard, &mut said)
            }
            Err(error) => return Err(broken(error)),
        };
        if let Step::Done(outcome) = step {
            // A last word is a courtesy that decides nothing.
            let _ = stream.write_all(&said).await;
            return outcome.map_err(Failure::Server);
        }
    }
}

/// Lets the conversation go on as far as what was heard allows.
fn hear(talk: &mut Talk, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
    let step = talk.hear(heard, said);
    if matches!(step, Step::More) && heard.len() > Talk::MOST {
        return Step::Done(Err("an answer without end".to_owned()));
    }
    step
}

/// An error of a socket in a word or two.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable".to_owned(),
        io::ErrorKind::NotFound => "to no such socket".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        _ => format!("failed: {error}"),
    }
}
