//! `GET /metrics`: what was counted, for Prometheus.

use base::units::Share;
use observe::metrics::{CONTENT_TYPE, Canary, Filter, Listener, Mirror, Pool, Process, Route, Scrape, Server, Version};
use proxy::canary::Variant;
use proxy::filter;
use proxy::mirror::{Dropped, Report};

use super::answer::Answer;
use super::nat::Packets;
use super::pools::state;
use super::{Desk, certificates, listeners, lists, quotas};
use crate::canary::{Kept, Phase};

/// Fills a scrape with the counters of what serves now.
pub(super) fn metrics(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let mut scrape = Scrape {
        turns: plane.fleet.peers().iter().map(|worker| &*worker.turns).collect(),
        spliced: plane.fleet.peers().iter().map(|worker| worker.spliced()).sum(),
        log_dropped: plane.dropped_lines(),
        passwords_verified: plane.fleet.desk().verified(),
        encoders: plane.fleet.encoders(),
        encoders_refused: plane.fleet.encoders_refused(),
        generation: plane.snapshot.generation,
        reloads_ok: plane.reloads.0,
        reloads_failed: plane.reloads.1,
        process: Process::read(desk.started.0),
        ..Scrape::default()
    };
    for listener in plane.snapshot.listeners.iter().flatten() {
        scrape.listeners.push(Listener { listener: &listener.name, stats: &listener.connections });
        let routes = listeners::routes(listener).into_iter();
        scrape.routes.extend(routes.map(|route| Route {
            listener: &listener.name,
            route: &route.name,
            stats: &route.stats,
        }));
    }
    scrape.pools.extend(plane.pools.iter().map(|pool| Pool {
        pool: &pool.name,
        waiting: pool.gate.waiting() as u64,
        concurrency: pool.concurrency.map(|bounds| {
            let limit = &pool.gate.concurrency;
            (u64::from(limit.under_way()), u64::from(limit.limit(bounds)))
        }),
        hedges: pool.gate.hedges.read(),
        met: pool.gate.met.read().map(|(limit, count)| (limit.name(), count)).collect(),
    }));
    let sources = plane.discovery.sources();
    scrape.sources.extend(sources.iter().map(|(source, up)| (source.as_str(), *up)));
    let servers = plane.registry.servers();
    let addresses: Vec<String> = servers.iter().map(|server| server.id.address.to_string()).collect();
    let transitions: Vec<Vec<_>> = servers
        .iter()
        .map(|server| plane.health.ward(server).map(|ward| ward.transitions()).into_iter().flatten().collect())
        .collect();
    let known = servers.iter().zip(&addresses).zip(&transitions);
    scrape.servers.extend(known.map(|((server, address), transitions)| Server {
        pool: &server.id.pool,
        server: &server.id.name,
        address,
        stats: &server.stats,
        in_flight: u64::from(server.in_flight()),
        connections: u64::from(server.open()),
        up: server.is_usable(),
        state: state(server),
        transitions,
    }));
    let packets = Packets::of(&plane);
    scrape.nat = packets.measured();
    scrape.mirrors.extend(plane.registry.mirrors().map(|report| mirror(report)));
    scrape.filters.extend(plane.registry.filters().map(|report| filter(report)));
    scrape.archives = plane.registry.captures.archives();
    scrape.certificates.extend(certificates::measured(&plane));
    scrape.lists.extend(lists::measured(&plane));
    scrape.quotas.extend(quotas::measured(&plane));
    scrape.canaries.extend(plane.registry.canaries.iter().map(canary));
    Answer::new(200, CONTENT_TYPE, scrape.page())
}

fn canary(kept: &Kept) -> Canary<'_> {
    let machine = &kept.machine;
    let phase = machine.phase();
    Canary {
        listener: &kept.listener,
        route: &kept.name,
        share: f64::from(machine.share().unwrap_or(0)) / f64::from(Share::WHOLE),
        states: Phase::ALL.iter().map(|one| (one.name(), *one == phase)).collect(),
        changes: machine.changes().map(|(phase, cause, count)| (phase.name(), cause.name(), count)).collect(),
        versions: Variant::ALL.map(|variant| Version {
            name: variant.name(),
            stats: kept.state.stats(variant),
            diverted: kept.state.diverted(variant),
        }),
    }
}

fn filter(report: &filter::Report) -> Filter<'_> {
    Filter { filter: &report.name, refusals: report.refusals() }
}

fn mirror(report: &Report) -> Mirror<'_> {
    let compared = report.compared();
    let dropped = Dropped::ALL.iter().map(|why| (why.name(), report.dropped_for(*why)));
    Mirror {
        mirror: &report.name,
        copies: [("sent", report.sent())].into_iter().chain(dropped).collect(),
        pairs: compared.pairs,
        latencies: [("real", compared.real), ("shadow", compared.shadow)],
        differences: [("slower", compared.slower), ("faster", compared.faster)],
    }
}
