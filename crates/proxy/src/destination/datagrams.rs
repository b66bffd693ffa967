//! Where datagrams go that name their server themselves: to the same places, by the same rules, as tunnels. Nobody waits for them.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use base::{Fault, Kind, Retry};

use super::{FOREVER, LEAST, MOST, NAMELESS, Origin, Place, judged};
use crate::snapshot::Arm;
use crate::worker::Worker;

/// What came of looking for a server; if nothing, why, in words for a log as well.
pub(crate) type Led = Result<Arc<Arm>, (Fault, Cow<'static, str>)>;

/// A server that is led to, or a question that is asked about its name.
pub(crate) enum Lead {
    Known(Led),
    Asked(Pin<Box<dyn Future<Output = Led>>>),
}

/// Finds the addresses of a server in normal form, and what leads there.
pub(crate) fn lead(worker: &Rc<Worker>, origin: &Arc<Origin>, host: &str, port: u16) -> Lead {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let place = Place { host: host.into(), port, tunnel: true, h2: false, secure: None };
    if !origin.egress.lets_connect_to(port) {
        return Lead::Known(Err((
            Fault::client(Kind::Denied),
            "a port that tunnels may not go to and not in egress.connect_ports".into(),
        )));
    }
    let now = Instant::now();
    if let Some(arm) = worker.origins.known(&place, origin, now) {
        return Lead::Known(Ok(arm));
    }
    let known = match place.host.parse::<IpAddr>() {
        Ok(ip) => Some(vec![ip]),
        Err(_) => origin.names.hosts.get(&*place.host).cloned(),
    };
    match known {
        Some(addresses) => Lead::Known(learn(worker, place, origin, addresses, now + FOREVER)),
        None => Lead::Asked(Box::pin(ask(Rc::clone(worker), place, Arc::clone(origin)))),
    }
}

async fn ask(worker: Rc<Worker>, place: Place, origin: Arc<Origin>) -> Led {
    let resolver = match worker.origins.resolver(&origin.names) {
        Ok(resolver) => resolver,
        Err(error) => return Err((Fault::proxy(Kind::Unresolved), error.to_string().into())),
    };
    let timer = worker.timers.timer();
    let name = format!("{}.", place.host);
    let mut asking = pin!(resolver.addresses(&name));
    timer.arm(Instant::now(), origin.arm.timeouts.connect);
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answer) = asking.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        ready!(timer.poll_expired(cx));
        Poll::Ready(Err(resolver.late()))
    })
    .await;
    match answered {
        Ok(answer) if !answer.found.is_empty() => {
            let until = Instant::now() + answer.ttl.clamp(LEAST, MOST);
            learn(&worker, place, &origin, answer.found, until)
        }
        answered => {
            let why = answered.err().map_or(NAMELESS.into(), |error| error.to_string().into());
            Err((Fault::server(Kind::Unresolved, Retry::Never), why))
        }
    }
}

fn learn(worker: &Worker, place: Place, origin: &Arc<Origin>, addresses: Vec<IpAddr>, until: Instant) -> Led {
    let allowed = judged(origin, addresses, place.port).map_err(|why| (Fault::client(Kind::Denied), why.into()))?;
    Ok(worker.origins.learn(worker, place, origin, allowed, until))
}
