//! Certificates and authorities: from files to what listeners show and pools believe.
//!
//! - [`folder`]: pairs of files by their stems
//! - [`internal`]: an authority of this machine's own
//! - [`intercept`]: what listeners need that read what goes through tunnels
//!
//! Everything is read before anything is put in force, so that a file that is missing or not what it should be is a mistake with
//! its place, and what was in force stays.

mod folder;
mod intercept;
mod internal;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::Mistake;
use config::spec::{
    Algorithms, Certificate, CertificateId, CertificateSource, HttpVersion, Listener, ListenerTls, MinVersion,
    NamedFile, Pool, PoolTls, Protocol, Spec,
};
use net::quic;
use net::tls::{
    Alpn, BadIdentity, ClientCert, Identity, Oldest, Originator, Proofs, Spoken, Terminator, Tickets, Trust,
};
use proxy::proof::Tokens;
use wire::starttls;

use crate::acme::{self, Acme, Storage};
pub use intercept::Reader;
use internal::Internal;
pub(crate) use internal::is_due as ends_soon;
pub(crate) use internal::root;

/// What listeners show and pools believe, by their names.
#[derive(Debug, Default)]
pub struct Keyring {
    /// Of listeners with TLS, by their names; of addresses that differ, by their places in the listener, too.
    pub listeners: HashMap<(String, Option<usize>), Terminator>,
    /// The same over QUIC, where HTTP/3 is served.
    pub quic: HashMap<(String, Option<usize>), quic::Server>,
    /// Of listeners that read what goes through tunnels, by their names.
    pub readers: HashMap<String, Reader>,
    /// Of pools with TLS.
    pub pools: HashMap<String, Way>,
    /// What authorities are answered, where any is asked for certificates.
    pub tokens: Option<Tokens>,
    /// Every certificate, in the order of the configuration.
    pub shown: Vec<Shown>,
}

/// A certificate as operators see it.
#[derive(Debug)]
pub struct Shown {
    /// Its name in the configuration.
    pub name: String,
    /// Where it comes from: `files`, `folder`, `acme`, `internal`.
    pub source: &'static str,
    /// The file that it stands in, if it stands in one.
    pub file: Option<PathBuf>,
    /// Whom it is asked for, if it is by ACME.
    pub asked: Option<(Storage, String)>,
    /// The certificate itself; absent where there is none yet.
    pub identity: Option<Identity>,
}

/// What outlives the configuration: certificates that are made here.
#[derive(Debug, Default)]
pub struct Vault {
    internal: Internal,
    /// Certificates that are asked for.
    pub acme: Acme,
}

impl Vault {
    /// Whether something that is made here should be replaced.
    pub fn is_due(&self) -> bool {
        self.internal.is_due(SystemTime::now())
    }
}

/// TLS on the way to the servers of a pool.
#[derive(Clone, Debug)]
pub struct Way {
    /// Whom we believe, and what we show.
    pub originator: Originator,
    /// The name of all servers; their own if absent.
    pub server_name: Option<String>,
    /// The protocol inside of which it begins; at once if absent.
    pub starttls: Option<starttls::Protocol>,
    /// Whether a server that has none inside of it is spoken to in plain.
    pub lets_plain: bool,
    /// A number for all of this, never 0: connections made in another way are not used again.
    pub transport: u64,
}

/// Where systems keep the authorities that they believe.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads everything that a configuration names. Without a vault nothing is made that is not there: that is a check.
///
/// # Errors
/// Every file that is missing or not what it should be.
pub fn read(spec: &Spec, tickets: Option<&Tickets>, mut vault: Option<&mut Vault>) -> Result<Keyring, Vec<Mistake>> {
    let mut reading = Reading { mistakes: Vec::new(), identities: Vec::new() };
    let mut keyring = Keyring::default();
    let proofs = vault.as_ref().map(|vault| vault.acme.proofs.clone());
    let is_asked = |one: &Certificate| matches!(one.source, CertificateSource::Acme(_));
    if spec.certificates.iter().any(is_asked) {
        keyring.tokens = vault.as_ref().map(|vault| vault.acme.tokens.clone());
    }
    for certificate in &spec.certificates {
        let shown = reading.certificate(spec, certificate, vault.as_deref_mut());
        reading.identities.push(shown.iter().filter_map(|one| one.identity.clone()).collect());
        keyring.shown.extend(shown);
    }
    if let Some(vault) = vault {
        vault.internal.keep(&keyring.shown.iter().filter_map(|one| one.identity.clone()).collect::<Vec<_>>());
    }
    for listener in &spec.listeners {
        for (at, tls) in listener.all_tls() {
            let http = at.map_or(&listener.http, |at| &listener.binds[at].http);
            if let Some(terminator) = reading.terminator(spec, http, tls, tickets, proofs.as_ref()) {
                if http.contains(&HttpVersion::H3) {
                    match quic::Server::new(&terminator, &terms(listener)) {
                        Ok(server) => _ = keyring.quic.insert((listener.name.clone(), at), server),
                        Err(message) => reading.mistakes.push(Mistake { message, span: listener.span.clone() }),
                    }
                }
                keyring.listeners.insert((listener.name.clone(), at), terminator);
            }
        }
        if let Some(said) = &listener.intercept
            && let Some(reader) = reading.reader(listener, said, tickets)
        {
            keyring.readers.insert(listener.name.clone(), reader);
        }
    }
    for pool in &spec.pools {
        if let Some(tls) = &pool.tls
            && let Some(way) = reading.way(pool, tls)
        {
            keyring.pools.insert(pool.name.clone(), way);
        }
    }
    if reading.mistakes.is_empty() { Ok(keyring) } else { Err(reading.mistakes) }
}

/// What a client may hold of us over QUIC.
fn terms(listener: &Listener) -> quic::Terms {
    quic::Terms {
        // A client that waits for its next request is let go by the session, with a word; this one is for clients that are gone.
        idle: listener.keep_alive_timeout.saturating_add(LINGERS),
        streams: STREAMS,
        early_data: listener.http3.early_data,
        // Elsewhere they lead nowhere.
        datagrams: listener.role == config::spec::Role::Forward,
    }
}

const LINGERS: Duration = Duration::from_secs(5);
/// As many requests at a time as clients may expect (RFC 9114 section 6.1). The library keeps two tables with a place for each from the
/// start: a few more than a hundred would double them, by nearly 4 KiB for each connection that only waits.
const STREAMS: u32 = 100;

/// The files that [`read`] reads: a change of any is a change of the configuration.
pub fn files(spec: &Spec) -> Vec<PathBuf> {
    let own = spec.certificates.iter().flat_map(|one| match &one.source {
        CertificateSource::Files { cert, key, ocsp } => vec![Some(cert), Some(key), ocsp.as_ref()],
        CertificateSource::Folder(folder) => vec![Some(folder)],
        CertificateSource::Acme(acme) => vec![acme.ca.as_ref()],
        CertificateSource::Internal(_) => Vec::new(),
    });
    let own = own.flatten();
    let tls = spec.listeners.iter().flat_map(|listener| listener.all_tls());
    let clients = tls.filter_map(|(_, tls)| Some(&tls.client_cert.as_ref()?.ca));
    let servers = spec.pools.iter().filter_map(|pool| pool.tls.as_ref()?.ca.as_ref());
    let tunnels = spec.listeners.iter().filter_map(|listener| listener.intercept.as_ref()).flat_map(intercept::files);
    own.chain(clients).chain(servers).chain(tunnels).map(|file| file.path.clone()).collect()
}

struct Reading {
    mistakes: Vec<Mistake>,
    /// By [`CertificateId`]; none where it was reported, or where there is none yet.
    identities: Vec<Vec<Identity>>,
}

impl Reading {
    fn certificate(&mut self, spec: &Spec, said: &Certificate, vault: Option<&mut Vault>) -> Vec<Shown> {
        let shown = |source, file, identity| Shown {
            name: said.name.clone(),
            source,
            file,
            asked: None,
            identity: Some(identity),
        };
        let state = spec.state.as_deref().unwrap_or(Path::new("."));
        match &said.source {
            CertificateSource::Files { cert, key, ocsp } => {
                let read = self.pair(cert, key, ocsp.as_ref());
                read.map(|identity| shown("files", Some(cert.path.clone()), identity)).into_iter().collect()
            }
            CertificateSource::Folder(folder) => match folder::read(&folder.path) {
                Ok(members) => members.into_iter().map(|one| shown("folder", Some(one.file), one.identity)).collect(),
                Err(wrong) => {
                    wrong.iter().for_each(|why| self.note(folder, why));
                    Vec::new()
                }
            },
            CertificateSource::Acme(acme) => {
                // Read again when it is used, and by then it may be another; now is when its mistakes are told.
                if let Some(ca) = &acme.ca
                    && let Some(pem) = self.content(ca)
                    && let Err(why) = authority(Trust::Authorities(pem))
                {
                    self.note(ca, &format!("no usable authorities: {why}: {}", ca.path.display()));
                }
                let storage = Storage::of(state, &acme.directory);
                let of = |domain: &String| Shown {
                    name: said.name.clone(),
                    source: "acme",
                    file: Some(storage.certificate(domain)),
                    asked: Some((storage.clone(), domain.clone())),
                    identity: acme::certificate(&storage, domain),
                };
                acme.domains.iter().map(of).collect()
            }
            CertificateSource::Internal(hosts) => {
                let Some(vault) = vault else { return Vec::new() };
                match vault.internal.identity(state, hosts, SystemTime::now()) {
                    Ok(identity) => vec![shown("internal", None, identity)],
                    Err(message) => {
                        self.mistakes.push(Mistake { message, span: said.span.clone() });
                        Vec::new()
                    }
                }
            }
        }
    }

    fn pair(&mut self, cert: &NamedFile, key: &NamedFile, ocsp: Option<&NamedFile>) -> Option<Identity> {
        let (chain, secret) = (self.content(cert), self.content(key));
        let stapled = match ocsp {
            None => None,
            Some(file) => Some(self.ocsp(file)?),
        };
        match Identity::from_pem(&chain?, &secret?) {
            Ok(identity) => Some(identity.stapled(stapled)),
            Err(bad) => {
                let file = if matches!(bad, BadIdentity::Certificate(_)) { cert } else { key };
                self.note(file, &format!("{bad}: {}", file.path.display()));
                None
            }
        }
    }

    fn ocsp(&mut self, file: &NamedFile) -> Option<Vec<u8>> {
        let response = self.content(file)?;
        // RFC 6960 section 4.2.1: a response is a SEQUENCE. Clients judge the rest.
        if response.first() == Some(&0x30) {
            return Some(response);
        }
        self.note(file, &format!("no OCSP response in DER: {}", file.path.display()));
        None
    }

    fn terminator(
        &mut self,
        spec: &Spec,
        http: &[HttpVersion],
        tls: &ListenerTls,
        tickets: Option<&Tickets>,
        proofs: Option<&Proofs>,
    ) -> Option<Terminator> {
        let is_asked = |id: &CertificateId| matches!(spec.certificates[id.0].source, CertificateSource::Acme(_));
        // Where no protocol is offered, an offer of the proof alone would refuse all clients that offer any.
        let proofs = proofs.filter(|_| !http.is_empty() && tls.certificates.iter().any(is_asked));
        let shown: Vec<(Identity, bool)> = tls
            .certificates
            .iter()
            .flat_map(|id| self.identities[id.0].iter().map(|one| (one.clone(), spec.certificates[id.0].default)))
            .collect();
        let asked = match &tls.client_cert {
            None => ClientCert::Off,
            Some(asked) => ClientCert::By(self.content(&asked.ca)?, asked.required),
        };
        let offered = match tls.starttls {
            Some(starttls::Protocol::Postgres) => vec![Alpn::Postgres],
            _ => offer(http),
        };
        match Terminator::new(&shown, &spoken(tls.min_version, &tls.algorithms), &asked, &offered, tickets, proofs) {
            Ok(terminator) => Some(terminator),
            Err(why) => {
                let ca = tls.client_cert.as_ref().map(|asked| &asked.ca)?;
                self.note(ca, &format!("no usable authorities: {why}: {}", ca.path.display()));
                None
            }
        }
    }

    fn way(&mut self, pool: &Pool, tls: &PoolTls) -> Option<Way> {
        let trust = match (&tls.ca, tls.verify) {
            (_, false) => Trust::Anybody,
            (Some(ca), true) => Trust::Authorities(self.content(ca)?),
            (None, true) => match system() {
                Ok(pem) => Trust::Authorities(pem),
                Err(message) => {
                    self.mistakes.push(Mistake { message, span: pool.span.clone() });
                    return None;
                }
            },
        };
        let identity = match tls.certificate {
            None => None,
            Some(id) => Some(self.named(id)?),
        };
        let mut number = DefaultHasher::new();
        let settled = (tls.verify, tls.min_version == MinVersion::Tls13, &tls.algorithms, tls.starttls, tls.lets_plain);
        (pool.protocol, &tls.server_name, settled).hash(&mut number);
        if let Trust::Authorities(pem) = &trust {
            pem.hash(&mut number);
        }
        identity.as_ref().map(Identity::chain).hash(&mut number);
        let wanted = match pool.protocol {
            Protocol::H1 if tls.starttls == Some(starttls::Protocol::Postgres) => &[Alpn::Postgres][..],
            Protocol::H1 if tls.starttls.is_some() => &[],
            Protocol::H1 | Protocol::HttpProxy => &[Alpn::H1],
            Protocol::Socks5 => &[],
            Protocol::H2 => &[Alpn::H2],
            Protocol::H3 => &[Alpn::H3],
        };
        match Originator::new(&trust, identity.as_ref(), &spoken(tls.min_version, &tls.algorithms), wanted) {
            Ok(originator) => {
                let (server_name, transport) = (tls.server_name.clone(), number.finish() | 1);
                Some(Way { originator, server_name, starttls: tls.starttls, lets_plain: tls.lets_plain, transport })
            }
            Err(why) => {
                let (span, path) = match &tls.ca {
                    Some(ca) => (ca.span.clone(), format!(": {}", ca.path.display())),
                    None => (pool.span.clone(), String::new()),
                };
                self.mistakes.push(Mistake { message: format!("no usable authorities: {why}{path}"), span });
                None
            }
        }
    }

    fn named(&self, id: CertificateId) -> Option<Identity> {
        self.identities.get(id.0)?.first().cloned()
    }

    fn content(&mut self, file: &NamedFile) -> Option<Vec<u8>> {
        match config::content(&file.path) {
            Ok(content) => Some(content),
            Err(error) => {
                self.note(file, &cannot("file", &error, &file.path));
                None
            }
        }
    }

    fn note(&mut self, file: &NamedFile, why: &str) {
        self.mistakes.push(Mistake { message: why.to_owned(), span: file.span.clone() });
    }
}

fn cannot(what: &str, error: &io::Error, path: &Path) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no such {what}"),
        io::ErrorKind::PermissionDenied => "it may not be read by this user".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot read the {what}: {why}: {}", path.display())
}

/// The list of authorities that this system believes.
fn system() -> Result<Vec<u8>, String> {
    let found = SYSTEM.iter().find_map(|path| std::fs::read(path).ok());
    found.ok_or_else(|| "this system has no list of authorities, name a `ca`".to_owned())
}

/// How an authority is asked: it must be who one of these says, or one of those that the system believes.
pub(crate) fn asks_authority(ca: Option<&Path>) -> Result<Originator, String> {
    let pem = match ca {
        Some(path) => config::content(path).map_err(|error| cannot("file", &error, path))?,
        None => system()?,
    };
    authority(Trust::Authorities(pem))
}

fn authority(trust: Trust) -> Result<Originator, String> {
    Originator::new(&trust, None, &Spoken::since(Oldest::Tls12), &[Alpn::H1])
}

/// What clients are offered over TCP: of what both speak, the newest is chosen, in whatever order it was written.
fn offer(http: &[HttpVersion]) -> Vec<Alpn> {
    let over_tcp = [(HttpVersion::H2, Alpn::H2), (HttpVersion::H1, Alpn::H1)];
    over_tcp.into_iter().filter(|(version, _)| http.contains(version)).map(|(_, alpn)| alpn).collect()
}

fn spoken(oldest: MinVersion, algorithms: &Algorithms) -> Spoken {
    let spoken = Spoken::since(match oldest {
        MinVersion::Tls12 => Oldest::Tls12,
        MinVersion::Tls13 => Oldest::Tls13,
    });
    match spoken.only(algorithms.suites.as_deref(), algorithms.prefers, algorithms.groups.as_deref()) {
        Ok(spoken) => spoken,
        Err(name) => unreachable!("an algorithm that the configuration knows: {name}"),
    }
}

#[cfg(test)]
mod tests {
    use config::spec::{GROUPS, SUITES};

    use super::*;

    #[test]
    fn every_algorithm_that_may_be_configured_is_there() {
        let known = SUITES.map(|suite| suite.name);
        Spoken::since(Oldest::Tls12).only(Some(&known), true, Some(&GROUPS)).expect("all of them");
        assert_eq!(Spoken::since(Oldest::Tls12).only(Some(&["x"]), true, None).expect_err("an unknown one"), "x");
    }
}
