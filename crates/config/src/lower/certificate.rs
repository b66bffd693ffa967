//! Where certificates come from, and whom they are for.

use super::{Lower, name};
use crate::diagnostics::did_you_mean;
use crate::interpolate::Piece;
use crate::shape::{Item, Map, Shape, Value};
use crate::spec::{
    Acme, Certificate, CertificateId, CertificateSource, Challenge, Ending, HostPattern, Listener, Predicate, Route,
    Secret, Serves, Site, SiteHost,
};

impl Lower<'_, '_> {
    /// The certificates with names, then those that a listener names without an entry of their own.
    pub(super) fn certificates(&mut self, listeners: &[Listener], sites: &[Site]) -> Vec<Certificate> {
        let items = self.top.named("certificates");
        let mut certificates: Vec<_> = items.iter().filter_map(|item| self.certificate(item)).collect();
        certificates.append(&mut self.implied);
        for (id, certificate) in certificates.iter_mut().enumerate() {
            match &mut certificate.source {
                CertificateSource::Internal(hosts) if hosts.is_empty() => {
                    *hosts = hosts_of(CertificateId(id), listeners, sites);
                }
                CertificateSource::Acme(acme) => {
                    if acme.domains.is_empty() {
                        let hosts = hosts_of(CertificateId(id), listeners, sites);
                        (acme.domains, acme.left_out) = hosts.into_iter().partition(|host| is_public(host));
                    }
                    if acme.challenges.is_empty() {
                        acme.challenges = challenges(listeners);
                    }
                    if acme.domains.is_empty() {
                        let mut showing = showing(CertificateId(id), listeners).peekable();
                        let of_flows = showing.peek().is_some() && showing.all(|one| !one.role.has_requests());
                        let name = &certificate.name;
                        let why = match of_flows {
                            true => format!(
                                "with `role: tcp` nothing says for whom it is, write `certificates: {{ {name}: {{ acme: {{ domains: \
                                 [example.com] }} }} }}`"
                            ),
                            false => "no route has a host that a certificate could be asked for, give `domains`, or routes with `match: \
                                      { host: … }`"
                                .to_owned(),
                        };
                        let why = format!("certificate `{name}` is for nobody: {why}");
                        self.mistakes.note(&certificate.span, why);
                    }
                }
                CertificateSource::Files { .. } | CertificateSource::Folder(_) | CertificateSource::Internal(_) => {}
            }
        }
        certificates
    }

    fn certificate(&mut self, item: &Item) -> Option<Certificate> {
        let map = item.value.map()?;
        let source = match self.source(map)? {
            "folder" => CertificateSource::Folder(self.file(map.get("folder")?)?),
            "acme" => CertificateSource::Acme(Box::new(self.acme(map.map("acme")?)?)),
            "internal" => CertificateSource::Internal(self.hosts_said(map.map("internal")?)),
            _ => CertificateSource::Files {
                cert: self.file(map.get("cert")?)?,
                key: self.file(map.get("key")?)?,
                ocsp: map.get("ocsp").and_then(|value| self.file(value)),
            },
        };
        if let (Some(ocsp), false) = (map.get("ocsp"), matches!(source, CertificateSource::Files { .. })) {
            self.note(ocsp, format!("`ocsp` of {} belongs to `cert`, remove it", map.label));
        }
        let stands_for = match (&*item.key, &source) {
            (INTERNAL, CertificateSource::Internal(_)) | (AUTO, CertificateSource::Acme(_)) => None,
            (INTERNAL, _) => Some("a certificate that is made here"),
            (AUTO, _) => Some("certificates by ACME"),
            (super::tls::OFF, _) => Some("no TLS at all"),
            _ => None,
        };
        if let Some(what) = stands_for {
            self.mistakes.note(&item.span, format!("the name `{}` stands for {what}, choose another one", item.key));
        }
        let default = map.boolean("default")?;
        Some(Certificate { name: item.key.clone(), span: item.span.clone(), source, default })
    }

    /// The one key that says where it comes from.
    fn source(&mut self, map: &Map) -> Option<&'static str> {
        let mut said = SOURCES.into_iter().filter(|key| map.has(key));
        match (said.next(), said.next()) {
            (Some(one), Some(other)) => {
                let why = format!("{} comes from two places, `{one}` and `{other}`, keep one of them", map.label);
                self.mistakes.note(&map.span, why);
                None
            }
            (Some("cert"), None) if !map.has("key") => {
                self.mistakes.note(&map.span, format!("`key` is missing in {}", map.label));
                None
            }
            (Some(one), None) => Some(one),
            (None, _) => {
                let why = format!(
                    "{} comes from nowhere, give it `cert` and `key`, `folder`, `acme` or `internal`",
                    map.label
                );
                self.mistakes.note(&map.span, why);
                None
            }
        }
    }

    fn acme(&mut self, map: &Map) -> Option<Acme> {
        let directory = map.get("directory")?;
        let url = directory.fixed()?;
        // RFC 8555 section 6.1: without TLS anybody on the way could answer.
        let authority = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
        if authority.is_none_or(|authority| authority.is_empty() || authority.contains('@')) {
            self.note(
                directory,
                format!("`directory` of {}: `{url}` is no URL that begins with `https://`", map.label),
            );
        }
        let mut email = Vec::new();
        for value in map.list("email") {
            let text = value.fixed()?;
            if text.split_once('@').is_none_or(|(local, host)| local.is_empty() || name::host(host).is_err()) {
                self.note(value, format!("`email` of {}: `{text}` is no address", map.label));
            }
            email.push(text.to_owned());
        }
        let mut domains = Vec::new();
        for value in map.list("domains") {
            let text = value.fixed()?;
            match name::host(text) {
                _ if text.contains('*') => {
                    let why = "no wildcard can be had in this way, name the hosts";
                    self.note(value, format!("`domains` of {}: {why}: `{text}`", map.label));
                }
                Ok(host) if is_public(&host) => domains.push(host),
                Ok(_) => self.note(value, format!("`domains` of {}: no authority knows `{text}`", map.label)),
                Err(why) => self.note(value, why),
            }
        }
        let challenge = |value: &Value| match value.fixed() {
            Some("tls-alpn-01") => Challenge::TlsAlpn01,
            _ => Challenge::Http01,
        };
        let challenges = map.list("challenges").iter().map(challenge).collect();
        let eab = map.map("eab").and_then(|eab| Some((eab.fixed("id")?.to_owned(), self.binding_key(eab)?)));
        let ca = map.get("ca").and_then(|value| self.file(value));
        Some(Acme { directory: url.to_owned(), email, domains, left_out: Vec::new(), challenges, eab, ca })
    }

    fn binding_key(&mut self, eab: &Map) -> Option<Secret> {
        let value = eab.get("key")?;
        let text = value.fixed()?;
        let Shape::Scalar(written, _) = &value.data else { return None };
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        if written.pieces.iter().any(|piece| !matches!(piece, Piece::Injected(_))) {
            let why =
                format!("`key` of {} must come from outside, write `${{file.PATH}}` or `${{env.NAME}}`", eab.label);
            self.mistakes.note(&value.span, why);
        } else if text.is_empty() || !text.bytes().all(is_base64url) {
            self.mistakes.note(&value.span, format!("`key` of {} is no base64url", eab.label));
        }
        Some(Secret(text.to_owned()))
    }

    fn hosts_said(&mut self, map: &Map) -> Vec<String> {
        let mut hosts = Vec::new();
        for value in map.list("hosts") {
            let Some(text) = value.fixed() else { continue };
            let host = match (name::wildcard(text), text.parse::<std::net::IpAddr>()) {
                (Some(wildcard), _) => wildcard.map(|apex| format!("*.{apex}")),
                (None, Ok(address)) => Ok(address.to_string()),
                (None, Err(_)) => name::host(text),
            };
            match host {
                Ok(host) => hosts.push(host),
                Err(why) => self.note(value, why),
            }
        }
        hosts
    }

    /// The certificate that a listener names.
    pub(super) fn shown_certificate(&mut self, name: &Value) -> Option<CertificateId> {
        let text = name.fixed()?;
        let all = self.top.named("certificates");
        if let Some(found) = all.iter().position(|item| item.key == text) {
            return Some(CertificateId(found));
        }
        if text != INTERNAL && text != AUTO {
            let hint = match text {
                "true" | "on" | "yes" => {
                    ", name one of `certificates`, or `internal` for one for development, or `auto` for one by ACME"
                        .to_owned()
                }
                _ => did_you_mean(text, all.iter().map(|item| item.key.as_str()).chain([INTERNAL, AUTO])),
            };
            self.note(name, format!("there is no certificate `{text}`{hint}"));
            return None;
        }
        let implied = self.implied.iter().position(|one| one.name == text).unwrap_or_else(|| {
            let source = match text {
                AUTO => CertificateSource::Acme(Box::default()),
                _ => CertificateSource::Internal(Vec::new()),
            };
            let (name, span) = (text.to_owned(), name.span.clone());
            self.implied.push(Certificate { name, span, source, default: false });
            self.implied.len() - 1
        });
        Some(CertificateId(all.len() + implied))
    }

    /// The certificate that servers are shown: the one of a pair of files.
    pub(super) fn own_certificate(&mut self, name: &Value) -> Option<CertificateId> {
        let text = name.fixed()?;
        let all = self.top.named("certificates");
        let Some(found) = all.iter().position(|item| item.key == text) else {
            let hint = did_you_mean(text, all.iter().map(|item| item.key.as_str()));
            self.note(name, format!("there is no certificate `{text}`{hint}"));
            return None;
        };
        if let Some(map) = all[found].value.map()
            && SOURCES[1..].iter().any(|key| map.has(key))
        {
            self.note(name, format!("servers are shown one certificate, and `{text}` is none with `cert` and `key`"));
        }
        Some(CertificateId(found))
    }
}

/// The hosts of all routes and sites of the listeners that show a certificate, in order.
fn hosts_of(id: CertificateId, listeners: &[Listener], sites: &[Site]) -> Vec<String> {
    let mut hosts = Vec::new();
    for listener in showing(id, listeners) {
        match &listener.serves {
            Serves::Routes(routes) => of_routes(routes, &mut hosts),
            Serves::Sites(served) => {
                for site in served.iter().map(|id| &sites[id.0]) {
                    hosts.extend(site.hosts.iter().filter_map(|host| match host {
                        SiteHost::Exact(name) => Some(unbracketed(name)),
                        SiteHost::Wildcard(apex) => Some(format!("*.{apex}")),
                        SiteHost::Default => None,
                    }));
                    of_routes(&site.routes, &mut hosts);
                }
            }
        }
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The listeners that show a certificate.
fn showing(id: CertificateId, listeners: &[Listener]) -> impl Iterator<Item = &Listener> {
    listeners.iter().filter(move |one| one.all_tls().any(|(_, tls)| tls.certificates.contains(&id)))
}

fn of_routes(routes: &[Route], hosts: &mut Vec<String>) {
    for route in routes {
        route.matches.iter().for_each(|predicate| of_predicate(predicate, hosts));
        if let Ending::Routes(inner) = &route.ending {
            of_routes(inner, hosts);
        }
    }
}

fn of_predicate(predicate: &Predicate, hosts: &mut Vec<String>) {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().for_each(|one| of_predicate(one, hosts)),
        Predicate::Host(HostPattern::Exact(name)) => hosts.push(unbracketed(name)),
        Predicate::Host(HostPattern::Wildcard(apex)) => hosts.push(format!("*.{apex}")),
        _ => {}
    }
}

/// A host as a certificate has it: an IPv6 address stands without brackets there.
fn unbracketed(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}

/// Whether an authority could know the name: no address, no wildcard, and no name without a dot.
fn is_public(host: &str) -> bool {
    !host.contains('*') && host.contains('.') && host.parse::<std::net::IpAddr>().is_err()
}

/// How domains are proved where nothing is said.
fn challenges(listeners: &[Listener]) -> Vec<Challenge> {
    let is_plain = |listener: &Listener| listener.binds.iter().any(|bind| listener.tls_at(bind).is_none());
    if listeners.iter().any(is_plain) {
        vec![Challenge::Http01, Challenge::TlsAlpn01]
    } else {
        vec![Challenge::TlsAlpn01]
    }
}

/// What says where a certificate comes from.
const SOURCES: [&str; 4] = ["cert", "folder", "acme", "internal"];

/// The name of the certificates that are asked for.
const AUTO: &str = "auto";

/// The name of the certificate that is made here.
const INTERNAL: &str = "internal";
