//! Certificates by ACME (RFC 8555): who needs one, when it is asked for again, and what authorities are answered.
//!
//! - [`storage`]: what is kept, and locked, for all nodes that share the folder
//! - [`order`]: one certificate
//! - [`web`]: requests to the authority
//!
//! Nothing waits for it: a domain without a certificate is refused until there is one, and a certificate that ends is shown until
//! there is a newer one.

mod order;
mod storage;
mod web;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use config::spec::{self, CertificateSource, Challenge, Spec};
use net::tls::{Identity, Proofs};
use proxy::proof::Tokens;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::certificates;
use crate::watch::Watch;
use order::Failure;
use storage::Answer;
pub use storage::Storage;
use web::Reach;

/// Everything that is asked for, and what became of it. It outlives the configuration.
#[derive(Debug, Default)]
pub struct Acme {
    /// What authorities are answered that ask by a request.
    pub tokens: Tokens,
    /// What they are answered that ask by a handshake.
    pub proofs: Proofs,
    /// Woken when there may be something to look at.
    pub news: Rc<Notify>,
    domains: HashMap<(Storage, String), Domain>,
    watch: Watch,
    answers: Vec<Answer>,
    /// Made for answers: a key and a signature are not drawn every second.
    made: HashMap<Vec<u8>, Identity>,
}

/// One domain at one authority.
#[derive(Debug)]
struct Domain {
    /// The certificate that there is.
    identity: Option<Identity>,
    state: Rc<State>,
    order: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    running: Cell<bool>,
    /// Failures in a row.
    failures: Cell<u32>,
    /// Those of them that a proof may be the reason of.
    refusals: Cell<usize>,
    /// Why the last one failed.
    error: RefCell<Option<String>>,
    /// Nothing is asked before.
    next: Cell<Option<Instant>>,
}

/// Orders under way at a time in this process.
const AT_ONCE: usize = 4;
/// How long an order may take, and so how long its lock holds.
const ORDER: Duration = Duration::from_secs(300);
/// How long to wait where another node has the lock.
const BUSY: Duration = Duration::from_secs(5);

impl Acme {
    /// Looks after everything that a configuration wants: answers, certificates that have come, certificates that must be asked
    /// for. Says whether a certificate has come or gone.
    pub fn look(&mut self, spec: &Spec) -> bool {
        let wanted = wanted(spec);
        self.domains.retain(|key, domain| {
            let stays = wanted.iter().any(|one| one.key == *key);
            if let (false, Some(order)) = (stays, &domain.order) {
                order.abort();
            }
            stays
        });
        self.answer(&wanted);
        let files: Vec<_> = wanted.iter().map(|one| one.key.0.certificate(&one.key.1)).collect();
        let now = Watch::of(&files);
        let changed = now != self.watch;
        self.watch = now;
        for one in &wanted {
            let known = self.domains.contains_key(&one.key);
            if changed || !known {
                let identity = certificate(&one.key.0, &one.key.1);
                let fresh = || Domain { identity: None, state: Rc::default(), order: None };
                let domain = self.domains.entry(one.key.clone()).or_insert_with(fresh);
                if !known && identity.is_none() {
                    observe::log::info(format_args!(
                        "no certificate for `{}` yet: handshakes for it are refused until {} has given one",
                        one.key.1, one.acme.directory
                    ));
                }
                domain.identity = identity;
            }
        }
        self.order(spec, &wanted);
        changed
    }

    /// What went wrong last with a domain, as long as nothing went well after it.
    pub fn error(&self, storage: &Storage, domain: &str) -> Option<String> {
        self.domains.get(&(storage.clone(), domain.to_owned()))?.state.error.borrow().clone()
    }

    /// Tells the workers what they may be asked for: by this node's orders, or by those of nodes that share the storage.
    fn answer(&mut self, wanted: &[Wanted<'_>]) {
        let mut storages: Vec<&Storage> = wanted.iter().map(|one| &one.key.0).collect();
        storages.dedup();
        let answers: Vec<_> = storages.iter().flat_map(|storage| storage.answers(SystemTime::now())).collect();
        if answers == self.answers {
            return;
        }
        let by_request = answers.iter().filter(|answer| answer.challenge == Challenge::Http01);
        self.tokens.set(by_request.map(|answer| (answer.token.clone(), answer.authorization.clone())).collect());
        let by_handshake = || answers.iter().filter(|answer| answer.challenge == Challenge::TlsAlpn01);
        self.made.retain(|digest, _| by_handshake().any(|answer| answer.digest == *digest));
        for answer in by_handshake() {
            if !self.made.contains_key(&answer.digest)
                && let Some(identity) = proof(&answer.domain, &answer.digest)
            {
                self.made.insert(answer.digest.clone(), identity);
            }
        }
        let shown =
            by_handshake().filter_map(|answer| Some((answer.domain.clone(), self.made.get(&answer.digest)?.clone())));
        self.proofs.set(shown.collect());
        self.answers = answers;
    }

    /// Begins what is due.
    fn order(&mut self, spec: &Spec, wanted: &[Wanted<'_>]) {
        let now = Instant::now();
        let mut running = self.domains.values().filter(|domain| domain.state.running.get()).count();
        for one in wanted {
            let Some(domain) = self.domains.get_mut(&one.key) else { continue };
            let state = &domain.state;
            let is_due =
                domain.identity.as_ref().is_none_or(|identity| certificates::ends_soon(identity, SystemTime::now()));
            let waits = state.next.get().is_some_and(|next| next > now);
            if !is_due || waits || state.running.get() || running >= AT_ONCE {
                continue;
            }
            let reach = match certificates::asks_authority(one.acme.ca.as_ref().map(|ca| &*ca.path)) {
                Ok(originator) => {
                    Reach { originator, hosts: spec.dns.hosts.clone(), servers: spec.dns.servers.clone() }
                }
                Err(why) => {
                    state.failed(&one.key.1, &Failure::Ours(why));
                    continue;
                }
            };
            running += 1;
            state.running.set(true);
            let order = Errand {
                acme: one.acme.clone(),
                storage: one.key.0.clone(),
                domain: one.key.1.clone(),
                reach,
                state: Rc::clone(state),
                news: Rc::clone(&self.news),
            };
            domain.order = Some(tokio::task::spawn_local(order.run()).abort_handle());
        }
    }
}

/// A domain that a certificate is wanted for.
struct Wanted<'a> {
    key: (Storage, String),
    acme: &'a spec::Acme,
}

fn wanted(spec: &Spec) -> Vec<Wanted<'_>> {
    let state = spec.state.as_deref().unwrap_or(Path::new("."));
    let mut all: Vec<Wanted<'_>> = Vec::new();
    for certificate in &spec.certificates {
        let CertificateSource::Acme(acme) = &certificate.source else { continue };
        let storage = Storage::of(state, &acme.directory);
        for domain in &acme.domains {
            let key = (storage.clone(), domain.clone());
            // Two entries may want the same: that is one order.
            if !all.iter().any(|one| one.key == key) {
                all.push(Wanted { key, acme });
            }
        }
    }
    all
}

/// The certificate of a domain, if there is one. One that cannot be read is none: it is asked for again.
pub(crate) fn certificate(storage: &Storage, domain: &str) -> Option<Identity> {
    let content = config::content(&storage.certificate(domain)).ok()?;
    Identity::from_pem(&content, &content).ok()
}

/// A certificate that shows an authority that the domain is ours (RFC 8737 section 3).
fn proof(domain: &str, digest: &[u8]) -> Option<Identity> {
    let mut params = CertificateParams::new([domain.to_owned()]).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().ok()?;
    let signed = params.self_signed(&key).ok()?;
    Identity::proof(signed.pem().as_bytes(), key.serialize_pem().as_bytes()).ok()
}

/// An order that is under way, and all that it needs.
struct Errand {
    acme: spec::Acme,
    storage: Storage,
    domain: String,
    reach: Reach,
    state: Rc<State>,
    news: Rc<Notify>,
}

impl Errand {
    async fn run(self) {
        let failed = match tokio::time::timeout(ORDER, self.obtain()).await {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_) => Some(Failure::Refused(format!("no certificate within {} s", ORDER.as_secs()))),
        };
        if let Some(failure) = failed {
            self.storage.forget(&self.domain);
            self.state.failed(&self.domain, &failure);
        }
        self.state.running.set(false);
        self.news.notify_one();
    }

    async fn obtain(&self) -> Result<(), Failure> {
        let cannot = |error: std::io::Error| Failure::Ours(format!("cannot use the storage: {error}"));
        self.storage.prepare().map_err(cannot)?;
        let now = SystemTime::now();
        let Some(_lock) = self.storage.lock(&self.domain, ORDER, now).map_err(cannot)? else {
            self.state.next.set(Some(Instant::now() + BUSY));
            return Ok(());
        };
        // Another node may have been faster.
        let known = certificate(&self.storage, &self.domain);
        if known.is_some_and(|known| !certificates::ends_soon(&known, now)) {
            return Ok(());
        }
        let challenges = &self.acme.challenges;
        let challenge = challenges[self.state.refusals.get() % challenges.len().max(1)];
        let news = || self.news.notify_one();
        order::obtain(&self.acme, &self.domain, challenge, &self.storage, &self.reach, news).await?;
        let life = certificate(&self.storage, &self.domain).and_then(|new| new.validity());
        let (from, until) = life.unwrap_or_default();
        // Whatever dates it has: an authority is not asked again at once.
        self.state.next.set(Some(Instant::now() + Duration::from_secs(until.saturating_sub(from) / 30)));
        self.state.failures.set(0);
        self.state.refusals.set(0);
        self.state.error.take();
        observe::log::info(format_args!("a certificate for `{}` from {}", self.domain, self.acme.directory));
        Ok(())
    }
}

impl State {
    fn failed(&self, domain: &str, failure: &Failure) {
        let failures = self.failures.get() + 1;
        let pause = pause(failures, failure);
        observe::log::warn(format_args!(
            "no certificate for `{domain}`: {}; the next try in {} s",
            failure.why(),
            pause.as_secs()
        ));
        self.failures.set(failures);
        self.refusals.set(self.refusals.get() + usize::from(matches!(failure, Failure::Refused(_))));
        self.error.replace(Some(failure.why().to_owned()));
        self.next.set(Some(Instant::now() + pause));
    }
}

/// How long to wait after so many failures in a row. Authorities count what they refuse: Let's Encrypt takes five failures an hour
/// for one domain.
fn pause(failures: u32, failure: &Failure) -> Duration {
    let (first, factor, most): (u64, u64, u64) = match failure {
        Failure::Unreachable(_) => (2, 2, 600),
        Failure::Refused(_) | Failure::Ours(_) => (15, 4, 6 * 3600),
        Failure::TooOften(_) => (3600, 2, 24 * 3600),
    };
    Duration::from_secs(factor.saturating_pow(failures.saturating_sub(1)).saturating_mul(first).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_asked_ever_less_often() {
        let seconds = |failure: &Failure| [1, 2, 3, 4, 100].map(|failures| pause(failures, failure).as_secs());
        assert_eq!(seconds(&Failure::Unreachable(String::new())), [2, 4, 8, 16, 600]);
        assert_eq!(seconds(&Failure::Refused(String::new())), [15, 60, 240, 960, 21_600]);
        assert_eq!(seconds(&Failure::TooOften(String::new())), [3600, 7200, 14_400, 28_800, 86_400]);
    }

    #[test]
    fn a_proof_is_a_certificate_for_the_domain_with_the_digest() {
        let identity = proof("a.test", &[7; 32]).expect("a certificate");
        assert!(identity.chain()[0].windows(6).any(|window| window == b"a.test"));
        // RFC 8737 section 3: id-pe-acmeIdentifier, critical, an OCTET STRING of 32 bytes.
        let extension =
            [&[0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20][..], &[7; 32]]
                .concat();
        assert!(identity.chain()[0].windows(extension.len()).any(|window| window == extension));
    }
}
