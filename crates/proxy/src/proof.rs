//! Answers to authorities that ask for a proof that a domain is ours, by a request (RFC 8555 section 8.3).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::{Listener, Respond};

/// The answers that there are now, by their tokens. All workers look at the same ones, when such a request comes and never else.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    answers: Arc<RwLock<HashMap<String, String>>>,
}

impl Tokens {
    /// These from now on.
    pub fn set(&self, answers: HashMap<String, String>) {
        *self.answers.write().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    fn find(&self, token: &[u8]) -> Option<String> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(std::str::from_utf8(token).ok()?).cloned()
    }
}

/// The answer, if the request is for one of ours and comes without TLS, as authorities ask. Everything else goes its own way: below
/// this path a server may have proofs of its own.
pub(crate) fn answer(session: &Session, x: &Exchange, listener: &Listener) -> Option<Respond> {
    let tokens = listener.tokens.as_ref().filter(|_| session.tls.is_none())?;
    let body = tokens.find(x.facts.path.strip_prefix(WELL_KNOWN)?)?.into_bytes().into();
    let fields = Box::new([("content-type".into(), "application/octet-stream".into())]);
    Some(Respond { status: 200, fields, body })
}

const WELL_KNOWN: &[u8] = b"/.well-known/acme-challenge/";
