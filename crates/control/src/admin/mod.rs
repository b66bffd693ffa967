//! The operator's address: status page, API, metrics, health.
//!
//! The rooms stand in the order in which a request walks through them:
//!
//! - `server`: accepts connections, so many and no more, and serves each of them
//! - `guard`: refuses what a stranger's web page could have sent
//! - `place`: the path, as what is asked for
//! - `ask`: the request as handlers see it: its body, its preconditions, its peer
//! - `status`, `config`, `listeners`, `pools`, `canaries`, `mirrors`, `lists`, `quotas`, `certificates`, `nat`, `metrics`: one room for each noun
//! - `tail`: access records as they come
//! - `counters`: what was counted, since the start and lately
//! - `answer`: what is sent back
//!
//! It runs on the control thread and never makes a worker wait. It is bound once, when the process starts, to a
//! loopback address or a Unix socket; nothing here can bind it anywhere else.

mod answer;
mod ask;
mod canaries;
mod certificates;
mod config;
mod counters;
mod guard;
mod listeners;
mod lists;
mod metrics;
mod mirrors;
mod nat;
mod page;
mod place;
mod pools;
mod quotas;
mod server;
mod status;
mod tail;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ::config::Mistake;
use ::config::spec::{AdminBind, Spec};
use net::Address;
use net::listen::{Bound, Terms, bind};
use proxy::tail::Tail;
use wire::Method;

use crate::process::Process;
use crate::sockets::way_out;
use answer::Answer;
use ask::Ask;
use counters::Recent;
use place::Place;

/// The operator's address, bound.
#[derive(Debug)]
pub struct Admin {
    actual: Address,
    bound: Vec<Bound>,
    /// It is bound when the process starts, so this is when that was.
    started: (SystemTime, Instant),
}

impl Admin {
    /// Binds the address, if the configuration has one.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind(spec: &Spec) -> Result<Option<Admin>, Mistake> {
        let Some(admin) = &spec.admin else { return Ok(None) };
        let wanted = match &admin.bind {
            AdminBind::Loopback(address) => Address::Tcp(*address),
            AdminBind::Unix(path) => Address::Unix(path.clone()),
        };
        let started = (SystemTime::now(), Instant::now());
        let bound = match &wanted {
            Address::Tcp(address) => bind_alone(*address),
            Address::Unix(_) => bind(&wanted, Terms { mode: Some(0o600), ..Terms::default() }, 1),
        };
        match bound {
            Ok((actual, bound)) => Ok(Some(Admin { actual, bound, started })),
            Err(error) => {
                let port = if let Address::Tcp(address) = &wanted { Some(address.port()) } else { None };
                let out = way_out(&error, port);
                Err(Mistake::new(admin.span.clone(), format!("cannot bind admin: {wanted}: {error}{out}")))
            }
        }
    }

    /// Where it is, if that is an address of IP.
    pub fn by_tcp(&self) -> Option<SocketAddr> {
        match &self.actual {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// Where it is.
    pub fn address(&self) -> String {
        self.actual.to_string()
    }
}

/// Binds an address for this process alone. Listeners share theirs, but an operator who asks here must not be answered now
/// by one process and now by another.
fn bind_alone(address: SocketAddr) -> io::Result<(Address, Vec<Bound>)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok((Address::Tcp(listener.local_addr()?), vec![Bound::Tcp(listener)]))
}

/// Serves the operator until the process ends.
pub async fn serve(admin: Admin, process: Rc<Process>) {
    let _file = match &admin.actual {
        Address::Unix(path) => Some(SocketFile(path.clone())),
        Address::Tcp(_) => None,
    };
    let desk = Rc::new(Desk {
        process,
        started: admin.started,
        recent: RefCell::default(),
        generation_put: Cell::new(None),
        connections: Cell::new(0),
        tails: RefCell::default(),
    });
    let Some(bound) = admin.bound.into_iter().next() else { return };
    match bound.attach() {
        Ok(listening) => server::accept(listening, desk).await,
        Err(error) => observe::log::error(format_args!("cannot serve admin: {error}")),
    }
}

/// What all requests of the operator share.
struct Desk {
    process: Rc<Process>,
    started: (SystemTime, Instant),
    recent: RefCell<Recent>,
    /// The generation that this API has put in force, if it has put any.
    generation_put: Cell<Option<u64>>,
    /// Connections of operators that are open.
    connections: Cell<usize>,
    /// Those who look at access records as they come.
    tails: RefCell<Vec<Arc<Tail>>>,
}

/// Answers a request that the guard has let pass and whose place takes its method.
async fn answer(desk: &Desk, place: Place, ask: &Ask<'_>) -> Answer {
    let put = ask.head.method() == Method::Put;
    let answered = match place {
        Place::Page => Ok(page::page()),
        Place::Metrics => Ok(metrics::metrics(desk)),
        Place::Health => Ok(status::health()),
        Place::Ready => Ok(status::ready(desk)),
        Place::Status => Ok(status::status(desk)),
        Place::Config if put => config::put(desk, ask).await,
        Place::Config => config::show(desk),
        Place::Listeners => Ok(listeners::list(desk)),
        Place::Pools => Ok(pools::list(desk)),
        Place::Pool { pool } => pools::show(desk, &pool),
        Place::Canaries => Ok(canaries::list(desk)),
        Place::Lists => Ok(lists::list(desk)),
        Place::Mirrors => Ok(mirrors::list(desk)),
        Place::Quotas => Ok(quotas::list(desk)),
        Place::Quota { quota } => quotas::show(desk, &quota, ask.head.query()),
        Place::Subject { quota, subject } if put => quotas::change(desk, &quota, &subject, ask),
        Place::Subject { quota, subject } => quotas::show_subject(desk, &quota, &subject),
        Place::Nat => Ok(nat::show(desk)),
        // To a GET it is served elsewhere, for it has no end.
        Place::Tail => Ok(Answer::new(200, tail::KIND, "")),
        Place::Certificates => Ok(certificates::list(desk)),
        Place::Canary { listener, route } if put => canaries::change(desk, &listener, &route, ask),
        Place::Canary { listener, route } => canaries::show(desk, &listener, &route),
        Place::Server { pool, server } if put => pools::change(desk, &pool, &server, ask),
        Place::Server { pool, server } => pools::show_server(desk, &pool, &server),
    };
    answered.unwrap_or_else(|refused| refused)
}

/// A Unix socket's file, which goes when nobody serves it any more.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, all the better.
        let _ = std::fs::remove_file(&self.0);
    }
}
