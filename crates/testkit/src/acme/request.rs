//! What an authority does when it is asked: accounts, orders, proofs, certificates (RFC 8555 section 7).

use serde_json::{Value, json};

use super::jws::{self, Opened};
use super::{DAY, Desk, Headers, Order, Parts, State, proof};

/// A status, fields, and a body: text is a chain of certificates.
pub(super) type Said = (u16, Headers, Value);

impl Desk {
    pub(super) fn serve(&self, path: &str, account: Option<usize>, opened: &Opened) -> Said {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if let (["account"], None) = (&parts[..], account) {
            return self.account(opened);
        }
        let Some(account) = account else { return self.problem("unauthorized", "no account") };
        if let ["order"] = parts[..] {
            return self.order(account, opened);
        }
        let number = parts.get(1).and_then(|number| number.parse::<usize>().ok());
        let owner = number.and_then(|number| self.state.with(|state| state.orders.get(number).map(|one| one.account)));
        let Some(number) = number.filter(|_| owner == Some(account)) else {
            return self.problem("unauthorized", "somebody else's order");
        };
        match parts[..] {
            ["order", _] => (200, Vec::new(), self.state.with(|state| state.shown(number))),
            ["authz", _] => (200, Vec::new(), self.state.with(|state| state.authorization(number))),
            ["challenge", _, kind] => self.challenge(number, kind),
            ["finalize", _] => self.finalize(number, opened),
            ["certificate", _] => {
                let chain = self.state.with(|state| state.orders[number].chain.clone());
                (200, Vec::new(), Value::String(chain.expect("a certificate that is there")))
            }
            _ => self.problem("malformed", path),
        }
    }

    fn account(&self, opened: &Opened) -> Said {
        let jwk = opened.protected["jwk"].clone();
        let payload = opened.payload.clone().unwrap_or_default();
        assert_eq!(payload["termsOfServiceAgreed"], true, "{payload}");
        if let Some((id, secret)) = self.state.with(|state| state.customer.clone()) {
            let binding = &payload["externalAccountBinding"];
            if binding.is_null() {
                return self.problem("externalAccountRequired", "who are you?");
            }
            let binding = Opened::from(binding);
            let is_it = binding.protected["kid"] == id && binding.payload.as_ref() == Some(&jwk);
            if !is_it || !binding.is_keyed_by(&secret) {
                return self.problem("unauthorized", "this is nobody that we know");
            }
        }
        self.state.with(|state| {
            let known = state.accounts.iter().position(|known| known["jwk"] == jwk);
            let number = known.unwrap_or_else(|| {
                state.accounts.push(json!({ "jwk": jwk, "contact": payload["contact"] }));
                state.accounts.len() - 1
            });
            let status = if known.is_some() { 200 } else { 201 };
            let location = vec![("Location", format!("{}/account/{number}", state.base))];
            (status, location, json!({ "status": "valid", "contact": payload["contact"] }))
        })
    }

    fn order(&self, account: usize, opened: &Opened) -> Said {
        let identifiers = opened.payload.as_ref().map(|payload| payload["identifiers"].clone()).unwrap_or_default();
        let [only] = identifiers.as_array().map(Vec::as_slice).unwrap_or_default() else {
            return self.problem("malformed", "one identifier");
        };
        let domain = only["value"].as_str().expect("a domain").to_owned();
        self.state.with(|state| {
            let (number, token) = (state.orders.len(), format!("token-{}", state.nonce()));
            state.orders.push(Order { account, domain, status: "pending", token, error: None, chain: None });
            (201, vec![("Location", format!("{}/order/{number}", state.base))], state.shown(number))
        })
    }

    /// Looks for the proof while whoever has asked waits: it must be there when it was said to be.
    fn challenge(&self, number: usize, kind: &str) -> Said {
        let (domain, token, jwk, ports, doubts) = self.state.with(|state| {
            let order = &state.orders[number];
            let jwk = state.accounts[order.account]["jwk"].clone();
            (order.domain.clone(), order.token.clone(), jwk, state.ports, state.doubts)
        });
        let wanted = format!("{token}.{}", jws::thumbprint(&jwk));
        let (kind, found) = match kind {
            "http" => ("http-01", proof::by_request(ports.0, &domain, &token, &wanted)),
            _ => ("tls-alpn-01", proof::by_handshake(ports.1, &domain, &jws::sha256(wanted.as_bytes()))),
        };
        let found = if doubts { Err("we doubt it".to_owned()) } else { found };
        self.state.with(|state| {
            state.looked.push(kind);
            let order = &mut state.orders[number];
            order.status = if found.is_ok() { "ready" } else { "invalid" };
            order.error =
                found.err().map(|why| json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": why }));
            (200, Vec::new(), state.challenges(number)[usize::from(kind != "http-01")].clone())
        })
    }

    fn finalize(&self, number: usize, opened: &Opened) -> Said {
        let (status, domain) = self.state.with(|state| {
            let order = &state.orders[number];
            (order.status, order.domain.clone())
        });
        if status != "ready" {
            return self.problem("orderNotReady", status);
        }
        let csr = opened.payload.as_ref().and_then(|payload| payload["csr"].as_str().map(jws::decoded));
        let csr = csr.expect("a request for a certificate");
        let parts: Parts<'_> = proof::request_parts(&csr).expect("a request for a certificate");
        let names_it = parts["info"].windows(domain.len()).any(|window| window == domain.as_bytes());
        if !names_it || !jws::is_signed(parts["point"], parts["info"], parts["signature"]) {
            return self.problem("badCSR", "not for this domain, or not signed by its key");
        }
        let life = self.state.with(|state| state.lives.pop_front()).unwrap_or((DAY, 90 * DAY));
        let chain = self.authority.certify(&domain, parts["point"], life) + self.authority.pem();
        self.state.with(|state| {
            (state.orders[number].status, state.orders[number].chain) = ("valid", Some(chain));
            (200, Vec::new(), state.shown(number))
        })
    }
}

impl State {
    fn shown(&self, number: usize) -> Value {
        let (order, base) = (&self.orders[number], &self.base);
        let mut shown = json!({
            "status": order.status,
            "identifiers": [{ "type": "dns", "value": order.domain }],
            "authorizations": [format!("{base}/authz/{number}")],
            "finalize": format!("{base}/finalize/{number}"),
        });
        if order.chain.is_some() {
            shown["certificate"] = format!("{base}/certificate/{number}").into();
        }
        shown
    }

    fn authorization(&self, number: usize) -> Value {
        let order = &self.orders[number];
        json!({
            "identifier": { "type": "dns", "value": order.domain },
            "status": match order.status {
                "pending" => "pending",
                "invalid" => "invalid",
                _ => "valid",
            },
            "challenges": self.challenges(number),
        })
    }

    fn challenges(&self, number: usize) -> Vec<Value> {
        let order = &self.orders[number];
        let status = match order.status {
            "pending" => "pending",
            "invalid" => "invalid",
            _ => "valid",
        };
        let challenge = |kind: &str, place: &str| {
            let url = format!("{}/challenge/{number}/{place}", self.base);
            let mut shown = json!({ "type": kind, "url": url, "token": order.token, "status": status });
            if let Some(error) = &order.error {
                shown["error"] = error.clone();
            }
            shown
        };
        vec![challenge("http-01", "http"), challenge("tls-alpn-01", "alpn")]
    }
}
