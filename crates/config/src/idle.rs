//! What is allowed and does nothing where it stands: its author has probably meant something else.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::diagnostics::Mistake;
use crate::lower::{is_loopback, reached};
use crate::spec::{
    Algorithm, Certificate, CertificateSource, Ending, Filter, Http3, HttpVersion, List, ListId, Listener, PolicyKind,
    Pool, PoolId, Predicate, Role, Route, Serves, Spec,
};

/// Keys without an effect.
pub(crate) fn idle_keys(spec: &Spec) -> impl Iterator<Item = Mistake> {
    let listeners = spec.listeners.iter().filter_map(|listener| {
        let is_said = listener.http3 != Http3::UNSAID;
        let is_spoken = listener.binds.iter().any(|bind| bind.http.contains(&HttpVersion::H3));
        let said = format!("`http3` of listener `{}` does nothing without `h3` in `http`", listener.name);
        (is_said && !is_spoken).then(|| Mistake::new(listener.span.clone(), said))
    });
    let inspected = spec.listeners.iter().filter_map(|listener| of_inspection(spec, listener));
    let led = spec.listeners.iter().filter(|listener| !listener.is_known()).flat_map(of_led);
    let of_datagrams = |listener: &&Listener| matches!(listener.role, Role::Udp | Role::Nat);
    let by_datagrams = reached(spec.listeners.iter().filter(of_datagrams), &[]);
    let flows = spec.pools.iter().enumerate().filter_map(move |(n, pool)| {
        let is_idle = pool.timeouts.flow.is_some() && !by_datagrams.contains(&PoolId(n));
        let said = || {
            format!("`timeouts.flow` of pool `{}` does nothing without a listener with `role: udp` or `nat`", pool.name)
        };
        is_idle.then(|| Mistake::new(pool.span.clone(), said()))
    });
    let certificates = spec.certificates.iter().flat_map(of_certificate);
    let pools = spec.pools.iter().flat_map(|pool| {
        let of_pool = of_pool(pool).into_iter().map(|said| Mistake::new(pool.span.clone(), said));
        of_pool.chain(of_servers(spec, pool))
    });
    let has_packets = spec.listeners.iter().any(|listener| listener.role == Role::Nat);
    let connections = spec.nat_connections.filter(|_| !has_packets).and(spec.listeners.first()).map(|listener| {
        let said = "`nat.connections` does nothing without a listener with `role: nat`".to_owned();
        Mistake::new(listener.span.clone(), said)
    });
    let packets = spec.listeners.iter().filter(|listener| listener.role == Role::Nat);
    listeners
        .chain(connections)
        .chain(packets.flat_map(|listener| of_loopback(spec, listener)))
        .chain(inspected)
        .chain(led)
        .chain(flows)
        .chain(certificates)
        .chain(pools)
        .chain(of_lists(spec))
}

/// Servers that a proxy would reach which stands in for the kernel, and the kernel does not.
fn of_loopback<'s>(spec: &'s Spec, listener: &'s Listener) -> impl Iterator<Item = Mistake> + use<'s> {
    let pool = listener.packets_to().map(|id| spec.pool(id));
    pool.into_iter().flat_map(move |pool| {
        pool.servers.iter().filter(|server| is_loopback(&server.address)).map(move |server| {
            let said = format!(
                "server `{}` of pool `{}` is at loopback and gets no packets of listener `{}` while the kernel rewrites them, but through a \
                 proxy alone: put it on another host, or use `role: tcp` or `udp`",
                server.name, pool.name, listener.name
            );
            Mistake::new(server.span.clone(), said)
        })
    })
}

/// What is for clients that know of a proxy, where every address is for those that know of none.
fn of_led(listener: &Listener) -> impl Iterator<Item = Mistake> + use<'_> {
    let of_tunnels = (!listener.inspect.is_empty()).then_some("`inspect`");
    of_tunnels.into_iter().chain(listener.pac.as_ref().map(|_| "`pac`")).map(|key| {
        let name = &listener.name;
        let said = format!(
            "{key} of listener `{name}` does nothing, for all of its addresses have `transparent`: nobody comes there who knows of a proxy"
        );
        Mistake::new(listener.span.clone(), said)
    })
}

/// Ports at which tunnels are looked into, to none of which any may go. What the operator has put in a server's place takes those to any port.
fn of_inspection(spec: &Spec, listener: &Listener) -> Option<Mistake> {
    let first = listener.inspect.first().filter(|_| listener.is_known())?;
    let egress = listener.egress.as_ref()?;
    let meets = |ports: &RangeInclusive<u16>| {
        let goes = |to: &RangeInclusive<u16>| ports.start() <= to.end() && to.start() <= ports.end();
        egress.connect_ports.iter().any(goes)
    };
    let to_pools = reached(std::iter::once(listener), &[]);
    let is_idle = !listener.inspect.iter().any(meets)
        && to_pools.into_iter().all(|PoolId(n)| spec.pools.get(n).is_some_and(|pool| pool.protocol.is_of_parents()));
    let said = || {
        let (name, port) = (&listener.name, first.start());
        format!(
            "`inspect` of listener `{name}` does nothing, for no tunnel may go to port {port}: add it to `egress.connect_ports`"
        )
    };
    is_idle.then(|| Mistake::new(listener.span.clone(), said()))
}

/// Lists that take memory and that nobody asks.
fn of_lists(spec: &Spec) -> impl Iterator<Item = Mistake> + use<'_> {
    let mut asked = BTreeSet::new();
    for listener in &spec.listeners {
        if let Serves::Routes(routes) = &listener.serves {
            ask(routes, &mut asked);
        }
    }
    spec.sites.iter().for_each(|site| ask(&site.routes, &mut asked));
    for policy in &spec.policies {
        if let PolicyKind::Filter(Filter { words: Some(words), .. }) = &policy.kind {
            asked.extend(&words.lists);
        }
    }
    let idle = move |(n, list): (usize, &List)| {
        let said = format!("list `{}` is named by no `match` or `filter`, and takes memory for nothing", list.name);
        (!asked.contains(&ListId(n))).then(|| Mistake::new(list.span.clone(), said))
    };
    spec.lists.iter().enumerate().filter_map(idle)
}

fn ask(routes: &[Route], asked: &mut BTreeSet<ListId>) {
    for route in routes {
        route.matches.iter().for_each(|predicate| ask_by(predicate, asked));
        if let Ending::Routes(inner) = &route.ending {
            ask(inner, asked);
        }
    }
}

fn ask_by(predicate: &Predicate, asked: &mut BTreeSet<ListId>) {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().for_each(|one| ask_by(one, asked)),
        Predicate::Not(inner) => ask_by(inner, asked),
        Predicate::Listed { lists, .. } => asked.extend(lists),
        _ => {}
    }
}

fn of_certificate(certificate: &Certificate) -> impl Iterator<Item = Mistake> {
    let left_out = match &certificate.source {
        CertificateSource::Acme(acme) => &acme.left_out[..],
        _ => &[],
    };
    left_out.iter().map(|host| {
        let said =
            format!("certificate `{}` cannot be had for `{host}` by ACME as it is spoken here", certificate.name);
        Mistake::new(certificate.span.clone(), said)
    })
}

fn of_pool(pool: &Pool) -> Vec<String> {
    let (name, balance) = (&pool.name, pool.balance.algorithm);
    let mut said = Vec::new();
    let ramps = !matches!(balance, Algorithm::First | Algorithm::Source | Algorithm::Maglev | Algorithm::RingHash);
    if pool.slow_start.is_some() && !ramps {
        said.push(format!("`slow_start` of pool `{name}` does nothing with `balance: {}`", balance.word()));
    }
    if let Some(outlier) = &pool.outlier
        && outlier.every != COMPARED_EVERY
        && outlier.success_rate.is_none()
        && outlier.latency.is_none()
    {
        said.push(format!("`outlier.every` of pool `{name}` does nothing without `success_rate` or `latency`"));
    }
    // A list that somebody else keeps may have limits of its own.
    let is_limited = pool.breaker.connections.is_some()
        || pool.servers.iter().any(|server| server.max_connections.is_some() || server.address.is_source());
    if pool.queue_length != QUEUE_LENGTH && !is_limited {
        said.push(format!(
            "`queue` of pool `{name}` does nothing without `max_connections` or `circuit_breaker.connections`"
        ));
    }
    said
}

fn of_servers<'a>(spec: &'a Spec, pool: &'a Pool) -> impl Iterator<Item = Mistake> + use<'a> {
    let is_first = pool.balance.algorithm == Algorithm::First;
    pool.servers.iter().flat_map(move |server| {
        let (name, of) = (&server.name, &pool.name);
        let zone = (server.tier.zone.is_some() && spec.zone.is_none())
            .then(|| format!("`zone` of server `{name}` in pool `{of}` does nothing without the document's `zone`"));
        let weight = (server.weight != 1 && is_first)
            .then(|| format!("`weight` of server `{name}` in pool `{of}` does nothing with `balance: first`"));
        zone.into_iter().chain(weight).map(|said| Mistake::new(server.span.clone(), said))
    })
}

/// The defaults: what is as it would be without a word needs none.
const COMPARED_EVERY: Duration = Duration::from_secs(10);
const QUEUE_LENGTH: u32 = 100;
