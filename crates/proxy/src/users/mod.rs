//! Who a client is: by a name and a password, by a token, or by the certificate that it has shown. Every way yields one [`User`].
//!
//! - `secret`, `apr1`: what files keep of passwords
//! - `desk`, `verdicts`: where slow hashes are looked at, off the workers, and what is known of them
//! - `settle`: the step of a request
//!
//! Of several ways one is enough. Nothing here reads a file, and no password outlives the question about it.

mod apr1;
mod desk;
mod secret;
mod settle;
mod verdicts;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use net::tls::Subject;
use wire::credentials;

pub use desk::Desk;
pub(crate) use desk::neighbourhood;
pub use secret::Secret;
pub(crate) use settle::{Shown, field, known, prove, settle};
pub(crate) use verdicts::Verdicts;

use crate::worker::Worker;
use desk::Asked;

/// Somebody whom we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Box<str>,
    /// The groups that it belongs to, in the order of their names.
    pub groups: Box<[Box<str>]>,
    /// The file by which it is known; empty if it is by a certificate. The same name may be somebody else's in another.
    pub of: Arc<str>,
}

/// The ways to show who one is, of which one is enough.
#[derive(Debug)]
pub struct Authentication {
    /// They are tried in this order.
    pub schemes: Box<[Arc<Scheme>]>,
}

/// One way.
#[derive(Debug)]
pub enum Scheme {
    /// By name and password.
    Basic(Basic),
    /// By a token.
    Bearer(Bearer),
    /// By the certificate that it has shown in its handshake of TLS.
    Certificate(Certificate),
}

/// By name and password (RFC 7617).
#[derive(Debug)]
pub struct Basic {
    /// What clients are told that it is for.
    pub realm: Box<str>,
    /// Whether servers see the credentials, too.
    pub forward: bool,
    people: HashMap<Box<str>, (Arc<User>, Arc<Secret>)>,
    /// All of their secrets: who is not known is compared with one of them, so that it takes no less time.
    secrets: Box<[Arc<Secret>]>,
}

/// By a token that is good for whoever has it (RFC 6750).
#[derive(Debug)]
pub struct Bearer {
    /// What clients are told that it is for.
    pub realm: Box<str>,
    /// Whether servers see the token, too.
    pub forward: bool,
    /// Users by SHA-256 of their tokens.
    tokens: HashMap<[u8; 32], Arc<User>>,
    people: HashMap<Box<str>, Arc<User>>,
}

/// By a certificate, which an authority has signed that the listener believes.
#[derive(Debug)]
pub struct Certificate {
    /// What of it is the name of the user.
    pub part: Part,
    /// The groups of users, by their names.
    pub groups: HashMap<Box<str>, Box<[Box<str>]>>,
}

/// What of a certificate is the name of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The common name of its subject.
    CommonName,
    /// The first of its DNS names.
    Dns,
    /// The first of its addresses of mail.
    Email,
    /// The first of its URIs.
    Uri,
}

/// What comes of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are this user's.
    Right {
        /// The user.
        user: Arc<User>,
        /// Whether servers see them, too.
        forward: bool,
    },
    /// They are nobody's.
    Wrong,
    /// There is no time to find out: too many others ask.
    Busy,
}

impl Basic {
    /// For these people.
    pub fn new(realm: &str, forward: bool, people: Vec<(User, Secret)>) -> Basic {
        let people: HashMap<_, _> =
            people.into_iter().map(|(user, secret)| (user.name.clone(), (Arc::new(user), Arc::new(secret)))).collect();
        let mut secrets: Vec<_> = people.values().map(|(_, secret)| Arc::clone(secret)).collect();
        // In an order that does not change with each reload: who is nobody is always compared with the same one.
        secrets.sort_by(|one, other| one.bytes().cmp(other.bytes()));
        Basic { realm: realm.into(), forward, people, secrets: secrets.into() }
    }

    async fn check(&self, worker: &Worker, client: IpAddr, name: &[u8], password: &[u8]) -> Verdict {
        let known = std::str::from_utf8(name).ok().and_then(|name| self.people.get(name));
        let desk = worker.fleet.desk();
        let secret = match known {
            Some((_, secret)) => secret,
            None => match self.secrets.get(desk.draw(name, self.secrets.len())) {
                Some(secret) => secret,
                None => return Verdict::Wrong,
            },
        };
        let right = if secret.is_slow() {
            let key = desk.key(secret, password);
            let now = Instant::now();
            let remembered = worker.verdicts.borrow().find(&key, now);
            match remembered {
                Some(right) => right,
                None => {
                    let right = match desk.ask(key, client, secret, password) {
                        Asked::Known(right) => right,
                        Asked::Busy => return Verdict::Busy,
                        // Whoever should answer is gone: so is the process, soon.
                        Asked::Later(hear) => match hear.await {
                            Ok(right) => right,
                            Err(_) => return Verdict::Busy,
                        },
                    };
                    worker.verdicts.borrow_mut().note(key, right, now);
                    right
                }
            }
        } else {
            secret.is_of(password)
        };
        match known {
            Some((user, _)) if right => Verdict::Right { user: Arc::clone(user), forward: self.forward },
            _ => Verdict::Wrong,
        }
    }
}

impl Bearer {
    /// For these people, by SHA-256 of their tokens.
    pub fn new(realm: &str, forward: bool, tokens: HashMap<[u8; 32], Arc<User>>) -> Bearer {
        let people = tokens.values().map(|user| (user.name.clone(), Arc::clone(user))).collect();
        Bearer { realm: realm.into(), forward, tokens, people }
    }
}

impl Authentication {
    /// Which of those who have shown who they are elsewhere it knows; else whom their certificate names.
    pub(crate) fn whom(&self, shown: &[Arc<User>], subject: Option<&Subject>) -> Option<Arc<User>> {
        let known = shown.iter().find(|user| self.knows(user)).cloned();
        known.or_else(|| self.by_certificate(subject?))
    }

    fn knows(&self, user: &User) -> bool {
        self.schemes.iter().any(|scheme| match &**scheme {
            Scheme::Basic(basic) => basic.people.get(&user.name).is_some_and(|(known, _)| **known == *user),
            Scheme::Bearer(bearer) => bearer.people.get(&user.name).is_some_and(|known| **known == *user),
            // Who has shown one is known by it.
            Scheme::Certificate(_) => false,
        })
    }

    /// Whether the same ways are meant.
    pub(crate) fn is_like(&self, other: &Authentication) -> bool {
        self.schemes.len() == other.schemes.len()
            && self.schemes.iter().zip(&other.schemes).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The user of this name and password, asked for by a client, whatever protocol it speaks. It takes as long as the hash does and
    /// as others are in front; who does not want to wait for the answer any more drops it.
    pub(crate) async fn by_password(&self, worker: &Worker, client: IpAddr, name: &[u8], password: &[u8]) -> Verdict {
        for scheme in &self.schemes {
            let Scheme::Basic(basic) = &**scheme else { continue };
            match basic.check(worker, client, name, password).await {
                Verdict::Wrong => {}
                verdict => return verdict,
            }
        }
        Verdict::Wrong
    }

    /// The user of the certificate that was shown.
    fn by_certificate(&self, subject: &Subject) -> Option<Arc<User>> {
        self.schemes.iter().find_map(|scheme| {
            let Scheme::Certificate(certificate) = &**scheme else { return None };
            let name = match certificate.part {
                Part::CommonName => subject.common_name.as_ref(),
                Part::Dns => subject.dns.as_ref(),
                Part::Email => subject.email.as_ref(),
                Part::Uri => subject.uri.as_ref(),
            };
            let name = name?.clone();
            let groups = certificate.groups.get(&name).cloned().unwrap_or_default();
            Some(Arc::new(User { name, groups, of: "".into() }))
        })
    }

    /// The user of this token.
    fn by_token(&self, token: &[u8]) -> Verdict {
        // What is looked up is a hash: how long that takes says nothing of a token.
        let hash = secret::of_token(token);
        let found = self.schemes.iter().find_map(|scheme| match &**scheme {
            Scheme::Bearer(bearer) => Some((bearer.tokens.get(&hash)?, bearer.forward)),
            Scheme::Basic(_) | Scheme::Certificate(_) => None,
        });
        found.map_or(Verdict::Wrong, |(user, forward)| Verdict::Right { user: Arc::clone(user), forward })
    }

    /// What clients are asked for, a line each; `was_wrong` if they have shown something that is nobody's.
    fn challenges(&self, was_wrong: bool) -> Vec<String> {
        let challenge = |scheme: &Arc<Scheme>| match &**scheme {
            Scheme::Basic(basic) => Some(credentials::basic_challenge(&basic.realm)),
            Scheme::Bearer(bearer) => Some(credentials::bearer_challenge(&bearer.realm, was_wrong)),
            Scheme::Certificate(_) => None,
        };
        let mut lines: Vec<_> = self.schemes.iter().filter_map(challenge).collect();
        lines.dedup();
        lines
    }
}
