//! What listeners need that read what clients say in tunnels: the owner's authority, and whom we believe at the other end.

use std::sync::Arc;

use config::Mistake;
use config::spec::{Intercept, Listener, NamedFile};
use net::tls::{Alpn, Authority, BadIdentity, ClientCert, Oldest, Originator, Spoken, Terminator, Tickets, Trust};
use proxy::destination::Originators;

use super::{Reading, system};

/// The same, read and settled.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Who signs what clients are shown.
    pub authority: Arc<Authority>,
    /// TLS towards clients, which shows nothing yet.
    pub terminator: Terminator,
    /// TLS towards servers.
    pub originators: Arc<Originators>,
}

/// The files that it names.
pub(super) fn files(said: &Intercept) -> impl Iterator<Item = &NamedFile> {
    [&said.cert, &said.key].into_iter().chain(&said.upstream_ca)
}

impl Reading {
    /// Reads it.
    pub(super) fn reader(
        &mut self,
        listener: &Listener,
        said: &Intercept,
        tickets: Option<&Tickets>,
    ) -> Option<Reader> {
        let authority = self.authority(said);
        let trust = self.believed(listener, said);
        let (authority, trust) = (authority?, trust?);
        let spoken = Spoken::since(Oldest::Tls12);
        let both = [Alpn::H2, Alpn::H1];
        let mut way = |protocols: &[Alpn], settles| match Originator::new(&trust, None, &spoken, protocols) {
            Ok(originator) => Some(if settles { originator.settling() } else { originator }),
            Err(why) => {
                match &said.upstream_ca {
                    Some(file) => self.note(file, &format!("no usable authorities: {why}: {}", file.path.display())),
                    None => self.mistakes.push(Mistake { message: why, span: listener.span.clone() }),
                }
                None
            }
        };
        let originators =
            Originators { either: way(&both, true)?, h1: way(&both[1..], true)?, h2: way(&both[..1], false)? };
        let terminator = Terminator::new(&[], &spoken, &ClientCert::Off, &both, tickets, None);
        let terminator =
            terminator.map_err(|message| self.mistakes.push(Mistake { message, span: listener.span.clone() }));
        Some(Reader {
            authority: Arc::new(authority),
            terminator: terminator.ok()?,
            originators: Arc::new(originators),
        })
    }

    fn authority(&mut self, said: &Intercept) -> Option<Authority> {
        let (certificate, key) = (self.content(&said.cert), self.content(&said.key));
        match Authority::from_pem(&certificate?, &key?) {
            Ok(authority) => Some(authority),
            Err(bad) => {
                let file = if matches!(bad, BadIdentity::Certificate(_)) { &said.cert } else { &said.key };
                self.note(file, &format!("{bad}: {}", file.path.display()));
                None
            }
        }
    }

    /// Servers are believed that the system would believe, and those of the operator's own authorities.
    fn believed(&mut self, listener: &Listener, said: &Intercept) -> Option<Trust> {
        match (system(), &said.upstream_ca) {
            (Ok(mut all), Some(file)) => {
                // By itself first: what is wrong with it would go under among so many.
                let own = self.content(file)?;
                if let Err(why) =
                    Originator::new(&Trust::Authorities(own.clone()), None, &Spoken::since(Oldest::Tls12), &[])
                {
                    self.note(file, &format!("no usable authorities: {why}: {}", file.path.display()));
                    return None;
                }
                all.push(b'\n');
                all.extend(own);
                Some(Trust::Authorities(all))
            }
            (Ok(all), None) => Some(Trust::Authorities(all)),
            (Err(_), Some(file)) => self.content(file).map(Trust::Authorities),
            (Err(_), None) => {
                let message =
                    "this system has no list of authorities, name those of servers in `intercept.upstream_ca`"
                        .to_owned();
                self.mistakes.push(Mistake { message, span: listener.span.clone() });
                None
            }
        }
    }
}
