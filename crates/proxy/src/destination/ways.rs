//! The ways to the server that a client has asked for: to it, by a proxy, or to a pool that stands for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use base::{Fault, Kind};

use super::{Egress, Names, Origin, Place, UNREAD, asked_for, begin_with_lead, find};
use crate::attempt;
use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::{Arm, Ending, Route};

/// One of the ways to the server that a client has asked for.
#[derive(Debug)]
pub enum Way {
    /// To its addresses.
    Origin(Arc<Origin>),
    /// By proxies that lead on to it.
    Parent(Arc<Parent>),
    /// To servers that the operator has put in its place.
    Pool(Arc<Arm>),
}

/// Proxies that are asked for other servers.
#[derive(Debug)]
pub struct Parent {
    /// What leads to them.
    pub arm: Arc<Arm>,
    /// What they may be asked for, as far as it is known here.
    pub egress: Arc<Egress>,
    /// What names mean.
    pub names: Arc<Names>,
}

/// Finds out what leads to the server that a request asks for, by the way that its turn is.
pub(crate) async fn lead(session: &mut Session, x: &mut Exchange, ways: &[Way]) -> Result<Arc<Arm>, Fault> {
    x.beyond = None;
    let arm = match ways.get(x.notes.way) {
        Some(Way::Origin(origin)) => find(session, x, origin).await?,
        Some(Way::Parent(parent)) => {
            let place = Rc::new(parent.judge(x)?);
            if place.secure.is_some() && session.listener.intercept.is_none() {
                x.notes.reason = UNREAD;
                return Err(Fault::client(Kind::Misdirected));
            }
            begin_with_lead(session, &place, &parent.arm, Some(Rc::clone(&place)));
            x.beyond = Some(place);
            Arc::clone(&parent.arm)
        }
        Some(Way::Pool(arm)) => Arc::clone(arm),
        None => return Err(Fault::proxy(Kind::NoServer)),
    };
    x.notes.arm = Some(0);
    x.origin = Some(Arc::clone(&arm));
    Ok(arm)
}

/// Leads by the next way, where the one before has led nowhere.
///
/// # Errors
/// The fault, where it did lead somewhere, or there is no other way; or that of the other way.
pub(crate) async fn lead_elsewhere(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    fault: Fault,
) -> Result<Arc<Arm>, Fault> {
    let Ending::Ways(ways) = &route.ending else { return Err(fault) };
    if !has_another_way(x, route) || !is_dead_end(x, fault) {
        return Err(fault);
    }
    x.notes.way += 1;
    x.notes.free = x.notes.tries;
    x.notes.server = None;
    (x.entry, x.permit) = (None, None);
    attempt::again(x);
    lead(session, x, ways).await
}

/// Whether its route says another way than the one that a request has taken.
pub(crate) fn has_another_way(x: &Exchange, route: &Route) -> bool {
    matches!(&route.ending, Ending::Ways(ways) if x.notes.way + 1 < ways.len())
}

/// What speaks against other ways for datagrams.
pub(crate) const INDIRECT: &str = "datagrams go to the server that is asked for, by no other proxy and to no pool";

/// Whether datagrams may be led there: neither proxies nor pools that stand for a host are known to take any.
pub(crate) fn takes_datagrams(ending: &Ending) -> bool {
    matches!(ending, Ending::Ways(ways) if matches!(**ways, [Way::Origin(_), ..]))
}

/// Whether nobody could be connected to, so that nothing was said to anybody. What somebody refuses who was connected to is an answer:
/// no way leads around it.
fn is_dead_end(x: &Exchange, fault: Fault) -> bool {
    let nobody =
        matches!(fault.kind, Kind::NoServer | Kind::Connect | Kind::Unwelcome | Kind::ServerTls | Kind::ConnectTimeout);
    nobody && !x.notes.interim && x.upload.content <= x.prefix.len() as u64
}

impl Parent {
    /// The server to ask for, if that may be. What a name means is known to the proxy alone, except for the names that we know: so it
    /// is for the proxy to judge, and what is an address for everybody is judged here.
    fn judge(&self, x: &mut Exchange) -> Result<Place, Fault> {
        let mut place = asked_for(x, &self.egress)?;
        // Connections through a proxy are not shared.
        place.h2 = false;
        let judged = match meaning(&place.host) {
            Meaning::Address(ip) => self.judge_all(&[ip], place.port),
            Meaning::Name => self.names.hosts.get(&*place.host).map_or(Ok(()), |all| self.judge_all(all, place.port)),
            Meaning::Number => Err("a number that others take for an address"),
        };
        match judged {
            Ok(()) => Ok(place),
            Err(reason) => {
                x.notes.reason = reason;
                Err(Fault::client(Kind::Denied))
            }
        }
    }

    /// It is not known which of them the proxy will choose.
    fn judge_all(&self, addresses: &[IpAddr], port: u16) -> Result<(), &'static str> {
        addresses
            .iter()
            .try_for_each(|ip| self.egress.judge(SocketAddr::new(*ip, port)).map(drop).map_err(super::Refused::reason))
    }
}

/// What a host is to whoever is told it.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// This address.
    Address(IpAddr),
    /// Whatever name servers say.
    Name,
    /// A number, which many take for an address, each in another way.
    Number,
}

fn meaning(host: &str) -> Meaning {
    if let Ok(ip) = host.parse() {
        return Meaning::Address(ip);
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    // RFC 6761 section 6.3: it is this machine to everybody.
    if last.eq_ignore_ascii_case("localhost") {
        return Meaning::Address(Ipv4Addr::LOCALHOST.into());
    }
    // WHATWG URL, "ends in a number"; inet_aton of every C library reads it like that.
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").or(last.strip_prefix("0X")).is_some_and(is_hexadecimal);
    if is_number { Meaning::Number } else { Meaning::Name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_judged_by_what_others_take_it_for() {
        for host in ["127.0.0.1", "::1", "localhost", "a.LocalHost."] {
            assert!(matches!(meaning(host), Meaning::Address(ip) if ip.is_loopback()), "{host}");
        }
        for host in ["2130706433", "127.1", "0x7f.1", "0177.0.0.1", "0x7f000001", "a.b.7", "127.0.0.0x1", "1.2.3.4."] {
            assert_eq!(meaning(host), Meaning::Number, "{host}");
        }
        for host in ["a.test", "10.0.0.1.example", "0xg", "1a", "localhost.example", "x0x1"] {
            assert_eq!(meaning(host), Meaning::Name, "{host}");
        }
    }
}
