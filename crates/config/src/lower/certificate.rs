//! Where certificates come from, and whom they are for.

use super::{Lower, name};
use crate::diagnostics::did_you_mean;
use crate::shape::{Item, Map, Value};
use crate::spec::{
    Certificate, CertificateId, CertificateSource, Ending, HostPattern, Listener, Predicate, Route, Serves, Site,
    SiteHost,
};

impl Lower<'_, '_> {
    /// The certificates with names, then those that a listener names without an entry of their own.
    pub(super) fn certificates(&mut self, listeners: &[Listener], sites: &[Site]) -> Vec<Certificate> {
        let items = self.top.named("certificates");
        let mut certificates: Vec<_> = items.iter().filter_map(|item| self.certificate(item)).collect();
        certificates.append(&mut self.implied);
        for (id, certificate) in certificates.iter_mut().enumerate() {
            if let CertificateSource::Internal(hosts) = &mut certificate.source
                && hosts.is_empty()
            {
                *hosts = hosts_of(CertificateId(id), listeners, sites);
            }
        }
        certificates
    }

    fn certificate(&mut self, item: &Item) -> Option<Certificate> {
        let map = item.value.map()?;
        let source = match self.source(map)? {
            "folder" => CertificateSource::Folder(self.file(map.get("folder")?)?),
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
        if item.key == INTERNAL && !matches!(source, CertificateSource::Internal(_)) {
            let why = "the name `internal` stands for a certificate that is made here, choose another one";
            self.mistakes.note(&item.span, why);
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
                let why = format!("{} comes from nowhere, give it `cert` and `key`, `folder` or `internal`", map.label);
                self.mistakes.note(&map.span, why);
                None
            }
        }
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
        if text != INTERNAL {
            let hint = did_you_mean(text, all.iter().map(|item| item.key.as_str()).chain([INTERNAL]));
            self.note(name, format!("there is no certificate `{text}`{hint}"));
            return None;
        }
        let implied = self.implied.iter().position(|one| one.name == text).unwrap_or_else(|| {
            let source = CertificateSource::Internal(Vec::new());
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
    for listener in listeners.iter().filter(|one| one.all_tls().any(|(_, tls)| tls.certificates.contains(&id))) {
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

/// What says where a certificate comes from.
const SOURCES: [&str; 3] = ["cert", "folder", "internal"];

/// The name of the certificate that is made here.
const INTERNAL: &str = "internal";
