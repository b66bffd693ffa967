//! Checks of one address, again and again, for every pool that asks for them in the same way.

use std::cell::RefCell;
use std::rc::Rc;

use config::spec;
use http::shared::Protocol;
use net::Address;
use net::dial::Security;
use proxy::pool::{Parent, Pool, Server};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use wire::proxy_protocol::{self, Form, Said};

use super::judge::{Judge, Rules, Turn};
use super::probe::{Failure, probe};
use super::talk::Script;
use super::ward::Ward;

/// What is checked, and how: two pools that agree in all of it share the checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    address: Address,
    security: Option<Security>,
    /// The name that the server is told it has.
    host: Box<str>,
    health: spec::Health,
    /// What a request is spoken in, if not HTTP/1.1.
    protocol: Option<Protocol>,
    /// How a page is asked for that is not its own, if it is a proxy.
    parent: Option<Parent>,
    /// How it is said that nobody is behind a check, if the server has to be told who is.
    send_proxy: Option<Form>,
}

/// Checks that run as long as this lives.
#[derive(Debug)]
pub(super) struct Prober {
    state: Rc<State>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    /// Whom the verdict is for.
    wards: RefCell<Vec<Rc<Ward>>>,
    verdict: RefCell<Verdict>,
}

/// What the checks say of the server.
#[derive(Debug, Default)]
enum Verdict {
    /// Waits for the first check: what was known of the server before still holds.
    #[default]
    None,
    /// It is up.
    Up,
    /// It is down, for this reason.
    Down(String),
}

impl Subject {
    /// How a server is checked by what its pool speaks. What answers at another port is no part of the pool, and
    /// speaks what every such thing speaks.
    pub(super) fn of(server: &Server, health: &spec::Health, pool: &Pool) -> Subject {
        let address = match (&server.id.address, health.port) {
            (Address::Tcp(address), Some(port)) => Address::Tcp((address.ip(), port).into()),
            (address, _) => address.clone(),
        };
        let host = match &health.probe {
            spec::Probe::Http(http) => http.host.as_deref().unwrap_or(&server.authority),
            spec::Probe::Grpc { host, .. } => host.as_deref().unwrap_or(&server.authority),
            spec::Probe::Tls { host } => name_of(host.as_deref().unwrap_or(&server.authority)),
            _ => "",
        };
        // These two look at what is below a session.
        let below = matches!(health.probe, spec::Probe::Tcp | spec::Probe::Tls { .. });
        let security = server.security().filter(|_| !below).cloned();
        let protocol = pool.shared.filter(|_| health.port.is_none() && matches!(health.probe, spec::Probe::Http(_)));
        let send_proxy = pool.send_proxy.filter(|_| health.port.is_none());
        let is_asked = health.port.is_none() && matches!(health.probe, spec::Probe::Http(_));
        let parent = pool.parent.clone().filter(|_| is_asked);
        Subject { address, security, host: host.into(), health: health.clone(), protocol, parent, send_proxy }
    }
}

/// The name in an authority; nothing for an IP address, which TLS has no place for (RFC 6066 section 3).
fn name_of(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() { "" } else { host }
}

impl Prober {
    /// Checks at once, and from then on. A server that other checks had down stays down until these have a verdict.
    pub(super) fn start(subject: &Subject, wards: Vec<Rc<Ward>>) -> Prober {
        let state = Rc::new(State { wards: RefCell::new(wards), ..State::default() });
        let task = tokio::task::spawn_local(check(subject.clone(), Rc::clone(&state)));
        Prober { state, task: task.abort_handle() }
    }

    /// Tells these from now on.
    pub(super) fn serve(&self, wards: Vec<Rc<Ward>>) {
        for ward in &wards {
            match &*self.state.verdict.borrow() {
                Verdict::None => {}
                Verdict::Up => ward.unchecked(),
                Verdict::Down(why) => ward.checked_down(why),
            }
        }
        *self.state.wards.borrow_mut() = wards;
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn check(subject: Subject, state: Rc<State>) {
    let Subject { health, host, security, protocol, parent, .. } = &subject;
    let script = Script::of(&health.probe, host, security.is_some(), *protocol, parent.as_ref());
    let mut prologue = Vec::new();
    if let Some(form) = subject.send_proxy {
        proxy_protocol::write(form, Said::Local, None, &mut prologue);
    }
    let mut judge = Judge::new(Rules::of(&subject.health));
    let mut random = fastrand::Rng::new();
    loop {
        let began = Instant::now();
        let failed = match probe(
            &subject.address,
            &prologue,
            subject.security.as_ref(),
            &script,
            subject.health.timeout,
        )
        .await
        {
            Ok(()) => None,
            // A shortage of ours says nothing of the server.
            Err(Failure::Ours(why)) => {
                observe::log::warn(format_args!("cannot check {}: {why}", subject.address));
                sleep_until(began + judge.pause(random.f64())).await;
                continue;
            }
            Err(Failure::Server(why)) => Some(why),
        };
        match judge.hear(failed.is_none()) {
            Some(Turn::Down(checks)) => {
                let why = format!("{} ×{checks}", failed.unwrap_or_default());
                state.wards.borrow().iter().for_each(|ward| ward.checked_down(&why));
                *state.verdict.borrow_mut() = Verdict::Down(why);
            }
            Some(Turn::Up(checks)) => {
                *state.verdict.borrow_mut() = Verdict::Up;
                let why = if checks == 1 { "a check passed".to_owned() } else { format!("{checks} checks passed") };
                state.wards.borrow().iter().for_each(|ward| ward.checked_up(&why));
            }
            Some(Turn::Proven) => {
                *state.verdict.borrow_mut() = Verdict::Up;
                state.wards.borrow().iter().for_each(|ward| ward.checked_up("a check passed"));
            }
            None => {}
        }
        sleep_until(began + judge.pause(random.f64())).await;
    }
}
