//! An authority that is asked by ACME (RFC 8555): it judges signatures and nonces, looks for proofs itself, and signs what it is
//! asked to sign.

mod jws;
mod proof;
mod request;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::jws::Opened;
use crate::absent::Refusing;
use crate::authority::{Authority, Issued};
use crate::message;
use crate::server::{Peer, Server};
use crate::tls::ServerTls;
use crate::wait::Shared;

/// An authority. It listens as long as it lives.
#[derive(Debug)]
pub struct Acme {
    server: Server,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    authority: Authority,
    state: Shared<State>,
}

/// What it is told to do, and what was asked of it.
#[derive(Debug, Default)]
struct State {
    base: String,
    /// Where proofs are looked for: by requests, by handshakes.
    ports: (u16, u16),
    nonces: HashSet<String>,
    drawn: u64,
    accounts: Vec<Value>,
    orders: Vec<Order>,
    /// Requests to come whose nonces are found bad, whatever they are.
    spoils: usize,
    /// Whether proofs convince nobody.
    doubts: bool,
    /// From how long before now, and until how long after it, the next certificates are valid.
    lives: VecDeque<(Duration, Duration)>,
    /// Customers that it wants to know: an identifier and a secret.
    customer: Option<(String, Vec<u8>)>,
    /// The kinds of proofs that were looked for.
    looked: Vec<&'static str>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Order {
    account: usize,
    domain: String,
    status: &'static str,
    token: String,
    error: Option<Value>,
    chain: Option<String>,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Acme {
    /// An authority that shows `shown` when it is asked; `authority` signs what it gives.
    pub fn new(authority: Authority, shown: &Issued) -> Acme {
        Acme::begin(authority, |script| Server::secured(&ServerTls::new(shown), script))
    }

    /// The same at an address that has refused until now.
    pub fn revive(dead: Refusing, authority: Authority, shown: &Issued) -> Acme {
        Acme::begin(authority, |script| Server::revive_secured(dead, &ServerTls::new(shown), script))
    }

    fn begin(authority: Authority, serve: impl FnOnce(Box<dyn Fn(&mut Peer) + Send + Sync>) -> Server) -> Acme {
        let desk = Arc::new(Desk { authority, state: Shared::new(State::default()) });
        let asked = Arc::clone(&desk);
        let server = serve(Box::new(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(asked.answer(&request));
            }
        }));
        desk.state.with(|state| state.base = format!("https://{}", server.address()));
        Acme { server, desk }
    }

    /// Its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/directory", self.server.address())
    }

    /// Its own certificate, which signs the others.
    pub fn root(&self) -> &str {
        self.desk.authority.pem()
    }

    /// From now on proofs are looked for here: requests at one `HOST:PORT`, handshakes at the other.
    pub fn looks_at(&self, requests: &str, handshakes: &str) {
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
        self.desk.state.with(|state| state.ports = (port(requests), port(handshakes)));
    }

    /// The nonces of so many requests to come are found bad.
    pub fn spoils_nonces(&self, count: usize) {
        self.desk.state.with(|state| state.spoils = count);
    }

    /// Whether it doubts every proof from now on.
    pub fn doubts(&self, doubts: bool) {
        self.desk.state.with(|state| state.doubts = doubts);
    }

    /// The next certificate that has no dates yet is valid from so long ago for so long from then.
    pub fn dates(&self, back: Duration, ahead: Duration) {
        self.desk.state.with(|state| state.lives.push_back((back, ahead)));
    }

    /// Accounts are for this customer alone.
    pub fn knows_customer(&self, id: &str, secret: &[u8]) {
        self.desk.state.with(|state| state.customer = Some((id.to_owned(), secret.to_vec())));
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> usize {
        self.desk.state.with(|state| state.accounts.len())
    }

    /// What the accounts say of whom to write to.
    pub fn contacts(&self) -> Vec<Value> {
        self.desk.state.with(|state| state.accounts.iter().map(|account| account["contact"].clone()).collect())
    }

    /// The domains of all orders, in order.
    pub fn orders(&self) -> Vec<String> {
        self.desk.state.with(|state| state.orders.iter().map(|order| order.domain.clone()).collect())
    }

    /// The kinds of proofs that it has looked for.
    pub fn looked(&self) -> Vec<&'static str> {
        self.desk.state.with(|state| state.looked.clone())
    }
}

impl Desk {
    fn answer(&self, request: &message::Request) -> Vec<u8> {
        let path = request.target.as_str();
        let (status, fields, body) = match (request.method.as_str(), path) {
            ("GET", "/directory") => (200, Vec::new(), self.directory()),
            ("HEAD", "/nonce") => (200, Vec::new(), Value::Null),
            ("POST", _) => match self.signed(request) {
                Ok((account, opened)) => self.serve(path, account, &opened),
                Err((kind, why)) => self.problem(kind, &why),
            },
            (method, _) => self.problem("malformed", &format!("{method} {path}")),
        };
        let nonce = self.state.with(State::nonce);
        let (kind, body) = match body {
            Value::String(text) => ("application/pem-certificate-chain", text),
            Value::Null => ("text/plain", String::new()),
            json => ("application/json", json.to_string()),
        };
        let mut head = format!("HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nReplay-Nonce: {nonce}\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        let body = if request.method == "HEAD" { String::new() } else { body };
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn directory(&self) -> Value {
        let base = self.state.with(|state| state.base.clone());
        json!({
            "newNonce": format!("{base}/nonce"),
            "newAccount": format!("{base}/account"),
            "newOrder": format!("{base}/order"),
            "revokeCert": format!("{base}/revoke"),
            "keyChange": format!("{base}/change"),
        })
    }

    /// RFC 8555 section 6: who has signed it, for this URL, with a nonce of ours that was not used before.
    fn signed(&self, request: &message::Request) -> Result<(Option<usize>, Opened), (&'static str, String)> {
        let bad = |why: &str| ("malformed", why.to_owned());
        if request.fields.value("content-type") != Some("application/jose+json") {
            return Err(bad("the content type"));
        }
        let opened = Opened::of(&request.body);
        let nonce = opened.protected["nonce"].as_str().unwrap_or_default().to_owned();
        let (is_known, base) = self.state.with(|state| {
            let is_spoiled = state.spoils > 0;
            state.spoils = state.spoils.saturating_sub(1);
            (state.nonces.remove(&nonce) && !is_spoiled, state.base.clone())
        });
        if !is_known {
            return Err(("badNonce", nonce));
        }
        if opened.protected["url"] != format!("{base}{}", request.target) {
            return Err(bad("another URL was signed"));
        }
        let (account, jwk) = match opened.protected["kid"].as_str() {
            None => (None, opened.protected["jwk"].clone()),
            Some(url) => {
                let known = self.state.with(|state| {
                    let number: usize = url.strip_prefix(&format!("{base}/account/"))?.parse().ok()?;
                    Some((number, state.accounts.get(number)?["jwk"].clone()))
                });
                let (number, jwk) = known.ok_or(("accountDoesNotExist", url.to_owned()))?;
                (Some(number), jwk)
            }
        };
        if !opened.is_by(&jwk) {
            return Err(bad("the signature is not the account's"));
        }
        Ok((account, opened))
    }

    fn problem(&self, kind: &str, why: &str) -> request::Said {
        self.state.with(|state| state.problems.push(format!("{kind}: {why}")));
        let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": why });
        (400, Vec::new(), body)
    }
}

impl State {
    fn nonce(&mut self) -> String {
        self.drawn += 1;
        let nonce = format!("nonce-{}", self.drawn);
        self.nonces.insert(nonce.clone());
        nonce
    }
}

/// The headers of an answer.
type Headers = Vec<(&'static str, String)>;

/// What is known of the parts of a request for a certificate.
type Parts<'a> = HashMap<&'static str, &'a [u8]>;
